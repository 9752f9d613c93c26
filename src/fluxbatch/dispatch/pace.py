"""The rate: never more than N requests in any window of a minute, over all processes and restarts.

Moments lie on a grid in the ledger's database (a generic cell rate without a burst): each process takes the next few
and sends one request at each. Cloudflare counts arrivals, not departures, so the grid is a little wider than a minute
divided by N (`HEADROOM`). `aiolimiter` keeps the strict distance inside a process, so that a request that was late
cannot be crowded by the next.

The limit may be unknown (`--rate 0`): then nothing is paced until the platform refuses with "too many"; what was
accepted until then, and when it accepts again, tells the rate (`Rate`, pure).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from aiolimiter import AsyncLimiter

from fluxbatch.budget.journal import Journal
from fluxbatch.budget.store import take_slots

WINDOW_S = 60.0
HEADROOM = 0.015
LEASE_MAX = 16
LEAD_S = 0.05
"""A turn is given this long before its moment, so that the reservation is on the disk when the moment comes."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What is believed about the allowed rate, in requests a second. None: nothing is known, nothing is paced."""

    per_second: float | None
    ceiling: float | None
    """The user's or the published limit; growth ends there. None when it is not known."""
    good: float | None = None
    """The highest rate that went through a clean stretch."""
    refused_at: float | None = None
    """The rate that was refused last; growth near it is slow."""
    stretch_s: float = 15.0
    """How long a rate has to be clean before it grows: about the platform's window, as far as it is known."""
    since_s: float = 0.0


CUT = 0.9
GROWTH = 1.05
CREEP = 1.01


def measured(rate: Rate, accepted: int, span_s: float, now_s: float) -> Rate:
    """The platform said "too many" after `accepted` requests, and accepts again `span_s` after the first of them.

    Unknown so far: that is the rate, and the span is its window. Known: back to what was good, or a tenth down.
    """
    if rate.per_second is None:
        seen = max(accepted, 1) / span_s
        return replace(rate, per_second=seen, stretch_s=min(max(span_s, 1.0), WINDOW_S), since_s=now_s)
    good = rate.good if rate.good is not None and rate.good < rate.per_second else rate.per_second * CUT
    return replace(rate, per_second=good, good=good * CUT, refused_at=rate.per_second, since_s=now_s)


def grown(rate: Rate, now_s: float) -> Rate:
    """The rate after a clean stretch: up by a step, in small ones near what was refused, never past the ceiling."""
    current = rate.per_second
    if current is None or now_s - rate.since_s < rate.stretch_s or current == rate.ceiling:
        return rate
    near = rate.refused_at is not None and current * GROWTH >= rate.refused_at
    faster = current * (CREEP if near else GROWTH)
    return replace(rate, per_second=min(faster, rate.ceiling or faster), good=current, since_s=now_s)


class Pace:
    """Gives out turns, first come, first served."""

    def __init__(
        self, journal: Journal, account: str, per_minute: float | None, learned: float | None, now: Callable[[], float]
    ) -> None:
        """`per_minute` is the known limit or None; `learned` what an earlier run found where none is known."""
        ceiling = None if per_minute is None else per_minute / WINDOW_S
        start = ceiling if ceiling is not None else (None if learned is None else learned / WINDOW_S)
        self.rate = Rate(start, ceiling)
        self._journal = journal
        self._account = account
        self._now = now
        self._slots: deque[float] = deque()
        self._queue = asyncio.Lock()
        self._waiting = 0
        self._strict = _limiter(self.rate)
        self._log: deque[float] = deque(maxlen=4096)
        self._refused_at: float | None = None

    async def turn(self) -> float | None:
        """The wall-clock moment of this request's turn, given `LEAD_S` before it comes; None when not paced."""
        if self.rate.per_second is None:
            return None
        self._waiting += 1
        try:
            async with self._queue:
                at = await self._next_slot()
                await asyncio.sleep(max(0.0, at - LEAD_S - self._now()))
                return at
        finally:
            self._waiting -= 1

    async def depart(self, turn: float | None) -> None:
        """Wait for the moment itself; to be called last, right before the request goes out."""
        if turn is not None:
            await asyncio.sleep(max(0.0, turn - self._now()))
            if self._strict is not None:
                await self._strict.acquire()

    def accepted(self, sent_at: float) -> None:
        """A request that was sent then was not refused for being too many."""
        self._log.append(sent_at)
        if self._refused_at is None:
            self._set(grown(self.rate, self._now()))
        elif sent_at > self._refused_at:
            self._learn(self._refused_at, sent_at)

    def refused(self) -> None:
        """The platform said "too many": from now to the next request that it accepts is one episode."""
        if self._refused_at is None:
            self._refused_at = self._now()

    def _learn(self, refused_at: float, accepted_at: float) -> None:
        self._refused_at = None
        before = [at for at in self._log if refused_at - WINDOW_S <= at <= refused_at]
        span_s = accepted_at - min(before, default=refused_at)
        self._set(measured(self.rate, len(before), span_s, self._now()))

    def _set(self, rate: Rate) -> None:
        if rate.per_second != self.rate.per_second:
            self._slots.clear()
            self._strict = _limiter(rate)
        self.rate = rate

    async def _next_slot(self) -> float:
        late = HEADROOM * WINDOW_S
        while self._slots and self._slots[0] < self._now() - late:
            self._slots.popleft()  # a moment that has passed is given up, not caught up with
        if not self._slots:
            assert self.rate.per_second is not None
            interval_us = round((1 + HEADROOM) * 1e6 / self.rate.per_second)
            count = max(1, min(LEASE_MAX, self._waiting))
            now_us, horizon_us = round(self._now() * 1e6), round(WINDOW_S * 1e6)
            first = await self._journal.do(
                lambda tx: take_slots(tx, self._account, count, interval_us, now_us, horizon_us)
            )
            self._slots.extend((first + i * interval_us) / 1e6 for i in range(count))
        return self._slots.popleft()


def _limiter(rate: Rate) -> AsyncLimiter | None:
    return None if rate.per_second is None else AsyncLimiter(1, 1 / rate.per_second)
