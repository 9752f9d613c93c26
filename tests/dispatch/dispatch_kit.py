"""An engine with fakes at its edges: a platform from a script, a ledger on a real file, pictures kept in a dict."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.engine import Connection

from fluxbatch.budget import ledger, wishes
from fluxbatch.budget.entries import NEVER_SENT, AttemptId, Balance, End, History, Learned
from fluxbatch.budget.store import Store
from fluxbatch.cloudflare.outcome import Broken, Delivered, Reply, read_outcome
from fluxbatch.dataset.spool import Spooled
from fluxbatch.dispatch.adapt import Gate, first_flight
from fluxbatch.dispatch.ahead import Line
from fluxbatch.dispatch.distance import Grid
from fluxbatch.dispatch.engine import Due, Ended, Engine
from fluxbatch.dispatch.fair import Shares
from fluxbatch.dispatch.halt import Halt
from fluxbatch.dispatch.hold import Hold
from fluxbatch.dispatch.keep import Answer
from fluxbatch.dispatch.lane import Lane
from fluxbatch.dispatch.lanes import Lanes
from fluxbatch.dispatch.pace import Pace
from fluxbatch.dispatch.retry import Quota, RetryPolicy
from fluxbatch.dispatch.steering import Steering
from fluxbatch.dispatch.stop import Stop
from fluxbatch.dispatch.tally import Tally
from fluxbatch.manifest.request import ImageRequest, content_digest, request_key
from fluxbatch.models.catalogue import FLUX_2_DEV, Model
from fluxbatch.models.money import Money, exact
from tests.dispatch.virtual import Clock, now

T = TypeVar("T")

SENDS_MAX = 2_000
"""No test here needs more; a run that sends more is a storm, and would go on for ever."""
DATASET = "d1"
ACCOUNT = "a" * 32
JPEG = b"\xff\xd8\xff\xe0 a picture, as far as anybody here looks"


def request(
    number: int, width: int = 512, height: int = 512, steps: int = 25, model: Model = FLUX_2_DEV
) -> ImageRequest:
    prompt = f"picture {number}"
    content = content_digest(model, prompt, width, height, steps, None, None, ())
    key = request_key(content, 0)
    return ImageRequest(number, None, model, prompt, width, height, steps, None, None, (), 0, key)


def requests(count: int, width: int = 512, height: int = 512, steps: int = 25) -> list[ImageRequest]:
    return [request(number, width, height, steps) for number in range(1, count + 1)]


# Answers, as the wire would bring them.


def picture(neurons: str | None = None, content: bytes = JPEG, **headers: str) -> Reply:
    """A picture. Without a charge the header is left out."""
    body = {"result": {"image": base64.b64encode(content).decode()}, "success": True, "errors": [], "messages": []}
    charge = {} if neurons is None else {"cf-ai-neurons": neurons}
    return Reply(200, {"content-type": "application/json", **charge, **headers}, json.dumps(body).encode(), 0.0)


def error(status: int, code: int, message: str = "AiError", **headers: str) -> Reply:
    body = {"errors": [{"code": code, "message": message}], "success": False, "result": {}, "messages": []}
    return Reply(status, headers, json.dumps(body).encode(), 0.0)


RATE = error(429, 3021, "inference request per min rate reached")
ROOM = error(429, 3040, "capacity temporarily exceeded")
INTERNAL = error(500, 3043, "internal error")
TIMED_OUT = error(408, 3046, "Request timeout")
REFUSED = error(400, 8007, "Input prompt contains NSFW content")
REFUSED_OUTPUT = error(400, 3030, "the output was flagged")
INVALID = error(400, 5006, "bad input")
BAD_TOKEN = error(401, 10000, "Authentication error")
LOST = Broken("lost", "the connection was closed", 0.0)
NOT_SENT = Broken("not_sent", "connection refused", 0.0)


@dataclass(frozen=True, slots=True)
class Sent:
    """One request as the platform sees it: `try_` counts this prompt's, `number` all, from 1."""

    number: int
    prompt: str
    try_: int
    at_s: float
    others: int
    """How many are being answered at this moment."""
    model: str = FLUX_2_DEV.name


Script = Callable[[Sent], tuple[float, Reply | Broken | BaseException]]


def always(answer: Reply | Broken, latency_s: float = 0.3) -> Script:
    return lambda sent: (latency_s, answer)


def charged(one: ImageRequest) -> Reply:
    """The picture at its expected price."""
    return picture(exact(one.quote.expected.neurons))


class ScriptedSender:
    """Answers by the script, and writes down what was sent."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.sent: list[Sent] = []
        self.in_flight = 0
        self.peak = 0
        self._tries: dict[str, int] = {}

    async def send(self, asked: ImageRequest, images: Sequence[bytes]) -> Reply | Broken:
        prompt = asked.prompt
        self._tries[prompt] = self._tries.get(prompt, 0) + 1
        sent = Sent(len(self.sent) + 1, prompt, self._tries[prompt], now(), self.in_flight, asked.model.name)
        self.sent.append(sent)
        assert len(self.sent) <= SENDS_MAX, "a storm"
        latency_s, answer = self.script(sent)
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            await asyncio.sleep(latency_s)
        finally:
            self.in_flight -= 1
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, Broken):
            return Broken(answer.kind, answer.message, latency_s)
        return Reply(answer.status, answer.headers, answer.body, latency_s)

    @property
    def departures(self) -> list[float]:
        return [sent.at_s for sent in self.sent]


class InlineJournal:
    """Runs each operation in a transaction at once; the caller hears a little later, as from the thread."""

    def __init__(self, store: Store, delay_s: float = 0.0, after: Callable[[Connection], None] | None = None) -> None:
        self.store = store
        self.delay_s = delay_s
        self.after = after
        self.commits = 0

    async def do(self, operation: Callable[[Connection], T], *, may_wait: bool = False) -> T:
        await asyncio.sleep(self.delay_s)
        with self.store.transaction() as tx:
            result = operation(tx)
            if self.after is not None:
                self.after(tx)
        self.commits += 1
        await asyncio.sleep(0)
        return result


@dataclass(slots=True)
class MemoryKeeper:
    """Keeps pictures in a dict; `fails` is asked first and may raise StorageError."""

    kept: dict[tuple[str, int], bytes] = field(default_factory=dict)
    fails: Callable[[], None] = lambda: None

    def keep(self, request: ImageRequest, attempt: AttemptId, reply: Reply | Broken, at: datetime) -> Answer:
        outcome = read_outcome(reply, at)
        if not isinstance(outcome, Delivered):
            return Answer(outcome, None, Money())
        self.fails()
        actual = request.quote.bound if outcome.charge is None else outcome.charge
        self.kept[attempt.key, attempt.number] = outcome.content
        name = Path(f"{attempt.key}-{attempt.number:04d}.row")
        size = len(outcome.content)
        return Answer(outcome, Spooled(attempt.key, attempt.number, actual, name, size, request.row, 0), actual)


async def inline(function: Callable[..., Any], *args: Any) -> Any:
    """Off the event loop, as far as the engine can tell."""
    await asyncio.sleep(0)
    return function(*args)


@dataclass(slots=True)
class Came:
    """What a run brought."""

    ended: list[Ended]
    balance: Balance
    seconds: float

    def count(self, end: End | None) -> int:
        return sum(one.end == end for one in self.ended)

    @property
    def made(self) -> int:
        return self.count(End.MADE)


class World:
    """One dataset in one ledger, and engines that send for it. Opened inside the virtual loop."""

    def __init__(
        self,
        store: Store,
        script: Script,
        *,
        cap_usd: float = 1000.0,
        most: int = 32,
        learned: Learned | None = None,
        rate: float | None = None,
        patience_s: float = 900.0,
        pictures: int = 200,
        policy: RetryPolicy | None = None,
        keeper: Any = None,
        journal: Any = None,
        clock: Clock | None = None,
        seed: int = 1,
        models: Sequence[Model] = (FLUX_2_DEV,),
    ) -> None:
        self.store = store
        self.most = most
        self.clock = clock or Clock()
        self.sender = ScriptedSender(script)
        self.stop = Stop()
        self.journal = journal or InlineJournal(store)
        self.keeper = keeper or MemoryKeeper()
        with store.transaction() as tx:
            balance = ledger.open_budget(tx, DATASET, ACCOUNT, "/pictures", round(cap_usd * 1e9))
        self.tally = Tally(balance, asked=pictures)
        self.halt = Halt()
        self.pace = Pace(self.journal, ACCOUNT, rate, None, self.clock, grid=Grid(DATASET, "run-1"))
        self.stop.tell(self.pace.close)

        def open_lane(model: Model, its_stop: Stop, give_up: Callable[[str], None]) -> Lane:
            gate = Gate(first_flight(most, learned, rate is not None))
            hold = Hold(patience_s, give_up, self.halt.awake_s)
            return Lane(gate, self.pace, hold, its_stop, Quota(pictures // len(models)), halt=self.halt)

        self.lanes = Lanes(open_lane, self.stop, [model.id for model in models])
        self.lane = self.lanes.of(models[0])
        self.gate, self.hold = self.lane.gate, self.lane.hold
        self.engine = Engine(
            dataset=DATASET,
            run="run-1",
            sender=self.sender,
            journal=self.journal,
            lanes=self.lanes,
            keeper=self.keeper,
            offload=inline,
            behind=inline,
            stop=self.stop,
            tally=self.tally,
            policy=policy or RetryPolicy(),
            now=self.clock,
            exposed=Shares(most),
            chance=random.Random(seed),
        )
        self.steering = Steering(self.halt, self.pace, self.engine.exposed, self.stop, most)

    def wish(self, **changed: Any) -> None:
        """Somebody says it, and the run hears it in the same moment."""
        with self.store.transaction() as tx:
            said = wishes.say(tx, DATASET, "run-1", lambda before: replace(before, **changed))
        self.steering.follow(said)

    async def send(self, due: Sequence[ImageRequest], histories: Mapping[str, History] | None = None) -> Came:
        """Send them all; afterwards the tally and the ledger say the same, and nothing is left in flight."""
        ended: list[Ended] = []
        line = self.line(due)
        began = now()
        waiting = [Due(one, (histories or {}).get(one.key, NEVER_SENT)) for one in due]
        await self.engine.send_all(waiting, ended.append, line)
        balance = self.balance
        assert line.is_out
        assert sorted(one.request.row for one in ended) == sorted(one.row for one in due)
        assert self.tally.balance == balance
        for _, lane in self.lanes:
            assert (lane.gate.in_use, lane.in_flight, self.sender.in_flight) == (0, 0, 0)
        assert self.engine.exposed.free == self.engine.exposed.most
        return Came(ended, balance, now() - began)

    def line(self, due: Sequence[ImageRequest]) -> Line:
        """They have been read, and wait to start."""
        return self.engine.ahead.line(one.model.id for one in due)

    @property
    def balance(self) -> Balance:
        with self.store.reading() as tx:
            found, folded = ledger.balance(tx, DATASET), ledger.audit(tx, DATASET)
        assert found is not None
        assert found == folded
        return found

    def states(self) -> dict[str, int]:
        """How many attempts are in each state."""
        with self.store.reading() as tx:
            rows = tx.exec_driver_sql("SELECT state, count(*) FROM attempts GROUP BY state")
            return {row[0]: row[1] for row in rows}

    def attempts(self, one: ImageRequest) -> list[tuple[int, str, str | None]]:
        """Number, state and end of each attempt at this picture."""
        with self.store.reading() as tx:
            rows = tx.exec_driver_sql('SELECT number, state, "end" FROM attempts WHERE key = ? ORDER BY 1', (one.key,))
            return [tuple(row) for row in rows]  # type: ignore[misc]

    def history(self, one: ImageRequest) -> History:
        with self.store.reading() as tx:
            return ledger.histories(tx, DATASET, [one.key]).get(one.key, NEVER_SENT)


def guard_holds(tx: Connection) -> None:
    """At every commit: what is gone, reserved and unknown is within the cap."""
    found = ledger.balance(tx, DATASET)
    assert found is None or found.free_nano_usd >= 0


@contextmanager
def ledger_in(folder: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{folder / 'ledger.sqlite3'}")
    try:
        yield store
    finally:
        store.close()
