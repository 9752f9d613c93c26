"""When sending pauses: something is wrong with the platform, so one probe goes out at growing intervals.

Whoever wants to send passes `admit()`. While there is a hold, all wait there but one at a time, the probe. What
becomes of the probe lifts the hold or lengthens it; after `patience_s` the run gives up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

IN_A_ROW = 20
LAST = 40
UNREACHABLE_IN_A_ROW = 3
RETRY_AFTER_MAX_S = 300.0
"""The platform's word counts, within reason: a run does not sleep an hour because a header says so."""


class Trouble(Enum):
    """Why sending pauses: what is said, the first interval, its growth and its cap, in seconds."""

    RATE = ("the platform says too many requests a minute", 0.1, 1.5, 5.0)
    ROOM = ("the platform has no room for a single request", 2.0, 1.5, 60.0)
    FAILURES = ("pictures fail that may have been billed", 5.0, 2.0, 120.0)
    NETWORK = ("Cloudflare cannot be reached", 1.0, 2.0, 60.0)

    def __init__(self, text: str, first_s: float, growth: float, most_s: float) -> None:
        self.text = text
        self.first_s = first_s
        self.growth = growth
        self.most_s = most_s


@dataclass(frozen=True, slots=True)
class Record:
    """The latest answers: True where a picture may have been billed and did not come."""

    last: tuple[bool, ...] = ()
    in_a_row: int = 0


def noted(record: Record, failed: bool) -> Record:
    """The record with one more answer."""
    return Record((*record.last[-LAST + 1 :], failed), record.in_a_row + 1 if failed else 0)


def trips(record: Record) -> bool:
    """Whether so many have failed that going on would eat the budget: 20 in a row, or half of the last 40."""
    return record.in_a_row >= IN_A_ROW or (len(record.last) == LAST and 2 * sum(record.last) >= LAST)


@dataclass(frozen=True, slots=True)
class Pause:
    """A hold that is on. Times are the event loop's, in seconds; `since_s` does not count what was halted."""

    trouble: Trouble
    detail: str
    since_s: float
    interval_s: float
    probe_at_s: float


class Hold:
    """The place where all sending waits while there is trouble.

    Trouble that comes back before a single picture came is the same trouble: its patience runs on.
    """

    def __init__(
        self, patience_s: float, give_up: Callable[[str], None], awake_s: Callable[[], float] | None = None
    ) -> None:
        """`awake_s`: the clock that patience is measured by, where it is not the event loop's."""
        self.pause: Pause | None = None
        self._before: Pause | None = None
        self._patience_s = patience_s
        self._give_up = give_up
        self._awake_s = awake_s or _now
        self._line = asyncio.Lock()
        self._change = asyncio.Event()
        self._probing = False
        self._closed = False

    async def admit(self) -> bool:
        """Wait until sending is allowed. True for the one that goes out as the probe."""
        if self.pause is None:
            return False
        async with self._line:
            while self.pause is not None and not self._closed:
                wait_s = None if self._probing else self.pause.probe_at_s - _now()
                if wait_s is not None and wait_s <= 0:
                    self._probing = True
                    return True
                await self._changed(wait_s)
        return False

    def begin(self, trouble: Trouble, detail: str = "", after_s: float | None = None) -> None:
        """Pause all sending. A hold that is on already stays as it is."""
        if self.pause is not None:
            return
        before = self._before
        if before is None:
            self._wait(Pause(trouble, detail, self._awake_s(), trouble.first_s, 0.0), after_s)
        elif before.trouble is trouble:
            self._lengthen(before, detail, after_s)
        else:
            # Another trouble, and still no picture: it begins at its own first interval, patience runs on.
            first_s = trouble.first_s / trouble.growth
            self._lengthen(Pause(trouble, detail, before.since_s, first_s, 0.0), detail, after_s)

    def passed(self) -> None:
        """The probe went through: sending goes on."""
        self._before, self.pause = self.pause, None
        self._probing = False
        self._signal()

    def came(self) -> None:
        """A picture came: whatever the trouble was, it is over."""
        self._before = None

    def borne(self) -> None:
        """The trouble is no standstill, for it lets others through: patience begins anew, the interval stays."""
        if self.pause is not None:
            self.pause = replace(self.pause, since_s=self._awake_s())
        if self._before is not None:
            self._before = replace(self._before, since_s=self._awake_s())

    def failed(self, detail: str = "", after_s: float | None = None) -> None:
        """The probe was turned away as well: wait longer, or give up when patience has run out."""
        self._probing = False
        if self.pause is not None:
            self._lengthen(self.pause, detail, after_s)

    def _lengthen(self, pause: Pause, detail: str, after_s: float | None) -> None:
        trouble, detail = pause.trouble, detail or pause.detail
        if self._awake_s() - pause.since_s >= self._patience_s:
            self._give_up(f"{trouble.text} for {self._patience_s / 60:g} minutes ({detail})")
            return
        interval_s = min(pause.interval_s * trouble.growth, trouble.most_s)
        self._wait(Pause(trouble, detail, pause.since_s, interval_s, 0.0), after_s)

    def _wait(self, pause: Pause, after_s: float | None) -> None:
        wait_s = max(pause.interval_s, min(after_s or 0.0, RETRY_AFTER_MAX_S))
        self.pause = replace(pause, probe_at_s=_now() + wait_s)
        self._signal()

    def withdrawn(self) -> None:
        """The probe was not sent after all (the run stops, the budget is used up): another may go."""
        self._probing = False
        self._signal()

    def close(self) -> None:
        """Let everyone pass, to find that the run is over."""
        self._closed = True
        self._signal()

    def _signal(self) -> None:
        self._change.set()
        self._change = asyncio.Event()

    async def _changed(self, wait_s: float | None) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._change.wait()
        except TimeoutError:
            pass


def _now() -> float:
    return asyncio.get_running_loop().time()
