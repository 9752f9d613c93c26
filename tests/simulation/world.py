"""The world around the program: its time, its log, and the ways in which a life of the program ends."""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from fluxbatch.dispatch.rate import WINDOW_S
from tests.dispatch.virtual import EPOCH_S, VirtualLoop
from tests.power import tap
from tests.power.tap import Touch
from tests.simulation.provider import Asked, Provider
from tests.simulation.scenario import Ending, Life, Scenario

NANO_USD_PER_CENTINEURON = 110
"""$0.011 for 1,000 neurons (CLOUDFLARE.md section 3)."""
EVENTS_MAX = 100_000
SENDS_MAX_PER_PICTURE = 60


class Killed(tap.Killed, SystemExit):
    """The program dies here. asyncio lets a SystemExit through every task, to whoever runs the loop."""


@dataclass(frozen=True, slots=True)
class Books:
    """The dataset's money as of the last commit, in nano-dollars."""

    cap: int = 0
    spent: int = 0
    reserved: int = 0
    unknown: int = 0

    @property
    def gone(self) -> int:
        return self.spent + self.reserved + self.unknown


@dataclass(slots=True)
class World:
    """One seed's world. It lives on while the program comes and goes."""

    scenario: Scenario
    provider: Provider = field(init=False)
    rng: random.Random = field(init=False)
    loop: VirtualLoop | None = None
    life: Life | None = None
    number: int = 0
    """Of the life, from 1."""
    phase: str = ""
    is_dead: bool = False
    ended_by: str = ""
    """How the life was ended from outside, when it was."""
    books: Books = field(default_factory=Books)
    gone_at_start: int = 0
    forgotten: Counter[str] = field(default_factory=Counter)
    """What only a ledger that is gone knew to have been perhaps billed, by prompt, in nano-dollars."""
    is_without_books: bool = False
    """The ledger is gone, and nobody has yet booked what the dataset says."""
    paced_from: int = 0
    """Arrivals before this one were paced by a ledger that is gone."""
    log: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Promises that did not hold."""
    reached: Counter[str] = field(default_factory=Counter)
    on_end: Callable[[Ending], None] = lambda ending: None
    attempt_states: Callable[[str], Counter[str]] = lambda prompt: Counter()
    events: int = 0
    latest: str = ""
    """The event that happens now."""
    _now_s: float = 0.0
    _jumped_s: float = 0.0
    _jumped_forth_at_s: float = -WINDOW_S
    _later: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _order: itertools.count[int] = field(default_factory=itertools.count)
    _endings: list[Ending] = field(default_factory=list)
    _to_go: int = 0

    def __post_init__(self) -> None:
        self.rng = random.Random(f"world {self.scenario.seed}")
        self.provider = Provider(self, self.scenario.seed, self.scenario.window_limit)

    # Time.

    def time(self) -> float:
        """Seconds since the world began; it runs on between the lives."""
        return self._now_s if self.loop is None else self.loop.time()

    def wall(self) -> float:
        """What the program's clock on the wall says."""
        return EPOCH_S + self._jumped_s + self.time()

    def later(self, delay_s: float, event: Callable[[], None]) -> None:
        """Something that will happen, whoever is alive by then."""
        at = self.time() + delay_s
        heapq.heappush(self._later, (at, next(self._order), event))
        if self.loop is not None:
            self.loop.call_at(at, self._happen)

    def _happen(self) -> None:
        while self._later and self._later[0][0] <= self.time() + 1e-9 and not self.is_dead:
            heapq.heappop(self._later)[2]()

    def passes(self, seconds: float) -> None:
        """Time passes while the program is away."""
        until = self._now_s + seconds
        while self._later and self._later[0][0] <= until:
            at, _, event = heapq.heappop(self._later)
            self._now_s = max(self._now_s, at)
            event()
        self._now_s = until

    def settle(self) -> None:
        """All that is still on its way happens."""
        while self._later:
            self.passes(max(0.0, self._later[0][0] - self._now_s))

    def begin(self, life: Life) -> None:
        self.number, self.life, self.is_dead, self.ended_by = self.number + 1, life, False, ""
        if self.time() < self._jumped_forth_at_s + WINDOW_S:
            # A new process knows of the last one's requests by the wall clock alone, which has been set since.
            self.paced_from = len(self.provider.arrivals_s)
        self._endings = list(life.endings)
        self._to_go = self._endings[0].count if self._endings else 0
        # A start that fills a lost ledger may be killed half-way: the next one books the rest, whatever the budget is.
        self.gone_at_start = max(self.books.gone, self.gone_at_start if self.is_without_books else 0)
        self.enter("start")
        self.provider.begin(life)

    def open_loop(self) -> VirtualLoop:
        """A loop for this life, that goes on where the last one ended."""
        assert self.life is not None
        self.loop = VirtualLoop(self._now_s, self._turned)
        self.loop.set_exception_handler(partial(self._unhandled, self.number))
        for at, _, _ in sorted(self._later, key=lambda one: one[:2]):
            self.loop.call_at(at, self._happen)
        for at_s, by_s in self.life.jumps:
            self.loop.call_later(at_s, self._jump, by_s)
        for at_s, for_s in self.life.stalls:
            self.loop.call_later(at_s, self._stall, for_s)
        return self.loop

    def close_loop(self) -> None:
        assert self.loop is not None
        self._now_s = self.loop.time()
        self.loop.close()
        self.loop = None
        self.provider.forget()

    def _jump(self, by_s: float) -> None:
        self._jumped_s += by_s
        if by_s > 0:
            self._jumped_forth_at_s = self.time()
        self.reached[f"clock jumps {'forth' if by_s > 0 else 'back'}"] += 1
        self.event("jump", f"{by_s:g}")

    def _stall(self, for_s: float) -> None:
        assert self.loop is not None
        self.loop.now += for_s
        self.reached["stall"] += 1
        self.event("stall", f"{for_s:g}")

    def _unhandled(self, life: int, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        if not self.is_dead and life == self.number:  # of a former life's tasks the collector tells late
            self.violated(f"nobody heard of {context.get('exception') or context.get('message')!r}")

    # Events.

    def enter(self, phase: str) -> None:
        self.phase = phase
        self._note(f"life {self.number}: {phase}")

    def event(self, name: str, detail: str = "") -> None:
        """Something happens: it is written down, and may be the moment at which the life is to end."""
        if self.is_dead:
            return
        self.events, self.latest = self.events + 1, name
        if self.events > EVENTS_MAX:
            self.violated("too many events: a storm, or it goes round in circles")
            self._die()
        if name != "turn":
            self._note(f"{name} {detail}")
        ending = self._endings[0] if self._endings else None
        if ending is None or ending.phase not in ("", self.phase) or not name.startswith(ending.event):
            return
        self._to_go -= 1
        if self._to_go <= 0:
            self._end(ending)

    def _end(self, ending: Ending) -> None:
        """From outside: at once, or as soon as the loop comes to it."""
        self._endings.pop(0)
        self._to_go = self._endings[0].count if self._endings else 0
        self.ended_by = ending.by
        self._note(f"THE END of life {self.number}: {ending.by}")
        if ending.by in ("kill", "power"):
            self.on_end(ending)
            self._die()
        elif self.loop is not None:
            self.loop.call_soon(self.on_end, ending)

    def touched(self, touch: Touch) -> None:
        """The disk is touched; not by the dead."""
        self.die_if_dead()
        kind = next((room for room in ("spool", "data", "catalogue", "quarantine") if room in touch.path), "other")
        if "lock" not in touch.path:
            self.event(f"disk {kind}", f"{touch.kind} {touch.path}")
            if touch.kind in ("sync", "sync_folder", "rename") and self.fails("disk"):
                raise OSError(5, "Input/output error")

    def fails(self, what: str) -> bool:
        """Whether it is time for a failure of the disk or of the ledger's."""
        if self.life is None or self.is_dead or self.phase == "start":
            return False
        chance = {"disk": self.life.disk_faults, "read": 3 * self.life.ledger_faults}.get(
            what, self.life.ledger_faults / 2
        )
        if chance and self.rng.random() < chance:
            self.reached[f"fails: {what}"] += 1
            self.event("fails", what)
            return True
        return False

    def die_if_dead(self) -> None:
        if self.is_dead:
            raise Killed

    def _die(self) -> None:
        self.is_dead = True
        raise Killed

    def _turned(self) -> None:
        self.event("turn")

    def _note(self, text: str) -> None:
        self.log.append(f"{self.time():10.3f}  {text}")

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256("\n".join(self.log).encode()).hexdigest()

    # Promises that hold at every step.

    def violated(self, what: str) -> None:
        self.broken.append(f"life {self.number}, {self.phase}, {self.time():.3f} s: {what}")
        self._note(f"BROKEN: {what}")

    def committed(self, money: tuple[int, int, int, int] | None) -> None:
        if money is not None:
            self.books = Books(*money)
            self.check_money()

    def check_money(self) -> None:
        """The bill is covered by the books, and the books by the budget."""
        books, bill = self.books, self.provider.bill_centineurons * NANO_USD_PER_CENTINEURON
        if bill > books.gone + self.forgotten.total() and not self.is_without_books:
            self.violated(f"billed {bill}, in the books are {books}")
        if books.gone > max(books.cap, self.gone_at_start):
            self.violated(f"over the budget: {books}")

    def check_arrival(self, prompt: str) -> None:
        """What is sent was reserved for, and is not bought already."""
        states = self.attempt_states(prompt)
        if not states["sent"] and not self._is_stray(prompt):
            self.violated(f"{prompt} was sent and not reserved: {dict(states)}")
        if len(self.provider.arrivals_s) > SENDS_MAX_PER_PICTURE * self.scenario.pictures:
            self.violated("a storm of requests")
            self._die()

    def check_out(self, count: int) -> None:
        """What a crash could lose is bounded, over all models."""
        assert self.life is not None
        if count > self.life.max_in_flight:
            self.violated(f"{count} requests are out at once, at most {self.life.max_in_flight} may be")

    def _is_stray(self, prompt: str) -> bool:
        """Whether it was sent by a life that has ended: its attempt is unknown by now."""
        asked: Asked = next(one for one in reversed(self.provider.asked) if one.prompt == prompt)
        return asked.waiting is None or asked.waiting.done()
