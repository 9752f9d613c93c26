"""The main path: one picture at a time, many at once.

    a place in flight -> no hold -> the pace's turn -> reserve (durable) -> send once -> outcome
      picture            -> spool (durable) -> post -> a look at it
      certainly unbilled -> void, and again if the rule says so
      perhaps billed     -> unknown, and again only within policy and quota

The order spool, then post is the promise: a booked picture is on the disk.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from fluxbatch.budget import ledger
from fluxbatch.budget.entries import AttemptId, Denied, End, History, Resolution, State
from fluxbatch.budget.journal import Journal
from fluxbatch.cloudflare.outcome import (
    Broken,
    Delivered,
    Failed,
    Fatal,
    Lost,
    Outcome,
    Reply,
    Throttled,
)
from fluxbatch.cloudflare.wire import fields_of
from fluxbatch.dataset.spool import Spooled
from fluxbatch.dispatch.keep import Answer, Keeper, look, resolution_of
from fluxbatch.dispatch.lane import Flying, Lane
from fluxbatch.dispatch.place import Exposure, Place
from fluxbatch.dispatch.retry import Finish, Quota, RetryPolicy, next_step
from fluxbatch.dispatch.stop import Stop, StoppedBy
from fluxbatch.dispatch.tally import Tally
from fluxbatch.errors import LedgerError, StorageError, UsageError
from fluxbatch.manifest.references import fitted_bytes
from fluxbatch.manifest.request import ImageRequest
from fluxbatch.models.catalogue import Model
from fluxbatch.models.money import ZERO, Money

log = logging.getLogger(__name__)

LOOKS_MAX = 64
"""So many pictures are held in memory to be looked at; sealing looks at the others, from the spool."""


class Sender(Protocol):
    """What sends one request, once."""

    async def send(self, model: Model, fields: dict[str, str], images: Sequence[bytes]) -> Reply | Broken: ...


class Offload(Protocol):
    """Runs a function off the event loop."""

    def __call__(self, function: Callable[..., Any], *args: Any) -> Awaitable[Any]: ...


@dataclass(frozen=True, slots=True)
class Due:
    """A picture that is to be sent, and how it has fared so far."""

    request: ImageRequest
    history: History


@dataclass(frozen=True, slots=True)
class Ended:
    """A picture's end in this run: `end` is None when it was not reached."""

    request: ImageRequest
    end: End | None
    attempts: int
    kept: Spooled | None = None
    code: str | None = None
    message: str | None = None
    unknown: Money = ZERO


@dataclass(slots=True)
class _Course:
    """One picture's way through its attempts."""

    request: ImageRequest
    number: int
    tries: int = 0
    failed: int = 0
    lost: int = 0
    unknown: Money = ZERO

    def ended(self, end: End | None, outcome: Outcome | None = None, kept: Spooled | None = None) -> Ended:
        code = outcome.code if outcome is not None else None
        message = outcome.message if outcome is not None and not isinstance(outcome, Delivered) else None
        return Ended(self.request, end, self.number, kept, code, message, self.unknown)


@dataclass(slots=True)
class Engine:
    """Sends what is due. Everything that touches the world is handed in."""

    dataset: str
    run: str
    sender: Sender
    journal: Journal
    lane: Lane
    keeper: Keeper
    offload: Offload
    behind: Offload
    """For what nobody waits for, so that it never stands before a picture that is not safe yet."""
    stop: Stop
    tally: Tally
    quota: Quota
    policy: RetryPolicy
    now: Callable[[], float]
    exposed: asyncio.Semaphore
    """As many as may be in flight: held from the reservation until the picture is on the disk. It bounds what a crash
    can lose, and stops the sending when the disk is slow."""
    chance: random.Random = field(default_factory=random.Random)
    passes_over: bool = False
    """A picture that the dataset's budget has no room for is not reached, and the run goes on to others."""
    passed_over: int = 0
    _tight: asyncio.Lock = field(default_factory=asyncio.Lock)
    _settled: asyncio.Event = field(default_factory=asyncio.Event)
    _unsettled: int = 0
    _looks: int = 0

    async def send_all(self, due: Iterable[Due], ended: Callable[[Ended], None], all_out: asyncio.Event) -> None:
        """Send each, in order, as places become free; `ended` hears of each, `all_out` is set when none waits to start.

        After a stop nothing more is sent and the rest is told as not reached.
        """
        async with asyncio.TaskGroup() as group:
            for one in due:
                if await self.lane.gate.enter():
                    group.create_task(self._see_through(one, ended))
                else:
                    ended(Ended(one.request, None, one.history.attempts))
            all_out.set()

    async def _see_through(self, due: Due, ended: Callable[[Ended], None]) -> None:
        try:
            ended(await self._picture(due))
        except (StorageError, LedgerError) as error:
            # What came back cannot be kept, or what goes out not be counted: nothing more may be bought. The attempt
            # stays as it stands in the ledger; the next start finds it.
            self.stop.request(StoppedBy.PLATFORM, str(error), error)
            ended(Ended(due.request, None, due.history.attempts))

    async def _picture(self, due: Due) -> Ended:
        history = due.history
        course = _Course(due.request, history.attempts, 0, history.failed, history.lost, history.unknown)
        while True:
            try:
                answer = await self._attempt(course)
            except UsageError as error:
                return Ended(due.request, End.INVALID, course.number, message=str(error))
            if answer is None:
                return course.ended(None)
            if answer.kept is not None:
                kept = await self._looked_at(answer.kept, answer.outcome, due.request)
                return course.ended(End.MADE, answer.outcome, kept)
            step = self._next(course, answer.outcome)
            if isinstance(step, Finish):
                return course.ended(step.end, answer.outcome)
            if await self.stop.sleep(step.after_s) or not await self.lane.gate.enter():
                return course.ended(None, answer.outcome)

    async def _looked_at(self, kept: Spooled, outcome: Outcome, request: ImageRequest) -> Spooled:
        """The picture is safe and paid for: looking at it holds nothing up, and waits behind what comes back."""
        if not isinstance(outcome, Delivered) or self._looks >= LOOKS_MAX:
            return kept
        self._looks += 1
        try:
            seen: Spooled = await self.behind(look, kept, outcome.content, request)
            return seen
        finally:
            self._looks -= 1

    async def _attempt(self, course: _Course) -> Answer | None:
        """One attempt, from a place in flight that is held on entry to the entry in the books. None: not sent."""
        request = course.request
        exposure = Exposure(self.exposed)
        try:
            async with Place(self.lane) as place:
                images = await self._images(request)
                await exposure.begin()
                attempt = AttemptId(self.dataset, request.key, course.number + 1)
                cleared = await self._cleared(attempt, request)
                if cleared is None:
                    return None
                probe, turn = cleared
                course.number, course.tries = attempt.number, course.tries + 1
                await self.lane.pace.depart(turn)
                if self.stop.is_set:
                    await self._take_back(attempt, probe, request.quote.bound)
                    return None
                flying, reply = await self._send(place, probe, request, images)
            return await self._settle(attempt, course, flying, reply, exposure)
        finally:
            exposure.end()

    async def _cleared(self, attempt: AttemptId, request: ImageRequest) -> tuple[bool, float | None] | None:
        """Wait for the hold, the pace and the budget: (is the probe, the turn), or None when the run is to end."""
        cleared = await self.lane.clear()
        if cleared is None or await self._reserve(attempt, request):
            return cleared
        if cleared[0]:
            self.lane.hold.withdrawn()
        return None

    async def _images(self, request: ImageRequest) -> Sequence[bytes]:
        if not request.references:
            return ()
        return [await self.offload(fitted_bytes, one, request.model) for one in request.references]

    async def _reserve(self, attempt: AttemptId, request: ImageRequest) -> bool:
        """Take the bound out of the budget. False when the run is over; near the end of the budget it waits in line
        for what is in flight, because an actual charge below its bound leaves room for one more."""
        if self._tight.locked():
            async with self._tight:
                pass
        if await self._try_reserve(attempt, request) is None:
            return True
        async with self._tight:
            while not self.stop.is_set:
                settled = self._settled
                denied = await self._try_reserve(attempt, request)
                if denied is None:
                    return True
                balance, bound = denied.balance, request.quote.bound.nano_usd
                if self._unsettled == 0 or bound > balance.free_nano_usd + balance.reserved.nano_usd:
                    if denied.window is None and self.passes_over:
                        self.passed_over += 1
                    else:
                        self.stop.request(StoppedBy.BUDGET, denied.reason)
                    return False
                await settled.wait()
        return False

    async def _try_reserve(self, attempt: AttemptId, request: ImageRequest) -> Denied | None:
        bound, now_us = request.quote.bound, round(self.now() * 1e6)
        if self.stop.is_set:
            return Denied(self.tally.balance)
        answer = await self.journal.do(
            lambda tx: ledger.reserve(tx, attempt, self.run, request.model.id, bound, now_us)
        )
        if isinstance(answer, Denied):
            return answer
        self._unsettled += 1
        self.tally.moved(reserved=bound)
        return None

    async def _send(
        self, place: Place, probe: bool, request: ImageRequest, images: Sequence[bytes]
    ) -> tuple[Flying, Reply | Broken]:
        flying = self.lane.departed(probe, self.now(), request.quote.expected.centineurons)
        place.flying = flying
        self.tally.requests += 1
        self.tally.in_flight = self.lane.in_flight
        self.tally.peak_in_flight = max(self.tally.peak_in_flight, self.lane.in_flight)
        return flying, await self.sender.send(request.model, fields_of(request), images)

    async def _settle(
        self, attempt: AttemptId, course: _Course, flying: Flying, reply: Reply | Broken, exposure: Exposure
    ) -> Answer:
        """What the answer means, kept and booked."""
        self.tally.in_flight = self.lane.in_flight
        bound = course.request.quote.bound
        at = datetime.fromtimestamp(self.now(), UTC)
        try:
            answer = await self._keep(course.request, attempt, reply, at)
            if answer.kept is not None:
                exposure.end()
            self.lane.answered(flying, answer.outcome, reply.latency_s)
            resolution = resolution_of(answer)
            await self._resolve(attempt, resolution)
        finally:
            self._one_settled()
        unknown = bound if resolution.state == State.UNKNOWN else ZERO
        course.unknown += unknown
        self.tally.moved(spent=resolution.actual, reserved=ZERO - bound, unknown=unknown)
        self._tell(answer, bound)
        return answer

    async def _take_back(self, attempt: AttemptId, probe: bool, bound: Money) -> None:
        """The run was ended while this one waited for its moment: nothing new is sent, so its bound is free again."""
        if probe:
            self.lane.hold.withdrawn()
        try:
            await self._resolve(
                attempt, Resolution(State.VOID, End.NOT_SENT, message="the run ended before it was sent")
            )
        finally:
            self._one_settled()
        self.tally.moved(reserved=ZERO - bound)

    async def _resolve(self, attempt: AttemptId, resolution: Resolution) -> None:
        now_us = round(self.now() * 1e6)
        await self.journal.do(lambda tx: ledger.resolve(tx, attempt, resolution, now_us), may_wait=True)

    def _one_settled(self) -> None:
        self._unsettled -= 1
        self._settled.set()
        self._settled = asyncio.Event()

    async def _keep(self, request: ImageRequest, attempt: AttemptId, reply: Reply | Broken, at: datetime) -> Answer:
        if isinstance(reply, Broken) or not 200 <= reply.status < 300:
            return self.keeper.keep(request, attempt, reply, at)  # small, and the lane should hear of it at once
        answer: Answer = await self.offload(self.keeper.keep, request, attempt, reply, at)
        return answer

    def _tell(self, answer: Answer, bound: Money) -> None:
        outcome = answer.outcome
        if isinstance(outcome, Delivered):
            self.quota.refund()
            self.tally.picture(self.now())
            if answer.actual.nano_usd > bound.nano_usd:
                self.stop.request(
                    StoppedBy.PLATFORM,
                    f"a picture was charged ${answer.actual.usd:f}, more than its bound ${bound.usd:f}: the price has "
                    "changed, so the budget can no longer be promised; update fluxbatch's price table",
                )
            return
        self.tally.codes[outcome.code or type(outcome).__name__.lower()] += 1
        self.tally.refusals += isinstance(outcome, Throttled)
        if isinstance(outcome, Fatal):
            self.stop.request(StoppedBy.ACCOUNT, f"{outcome.message}; {outcome.remedy}")

    def _next(self, course: _Course, outcome: Outcome) -> Any:
        course.failed += isinstance(outcome, Failed)
        course.lost += isinstance(outcome, Lost)
        chance = self.chance.random()
        return next_step(outcome, course.tries, course.failed, course.lost, self.policy, self.quota, chance)
