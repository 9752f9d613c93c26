"""The rate: never more than N requests in any window of a minute, over all processes and restarts.

Moments lie on a grid in the ledger's database (a generic cell rate without a burst): each process takes the next few
and sends one request at each. Cloudflare counts arrivals, not departures, so the grid is a little wider than a minute
divided by N (`HEADROOM`). `aiolimiter` keeps the strict distance inside a process, so that a request that was late
cannot be crowded by the next.

The limit may be unknown (`--rate 0`): then nothing is paced until the platform refuses with "too many"; what was
accepted until then, and when it accepts again, tells the rate (`rate.py`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from aiolimiter import AsyncLimiter

from fluxbatch.budget.journal import Journal
from fluxbatch.budget.store import take_slots
from fluxbatch.dispatch.rate import WINDOW_S, Rate, grown, measured

HEADROOM = 0.015
LATE_S = HEADROOM * WINDOW_S
"""A moment missed by more than the headroom is given up: the next processes' requests are on their way by then."""
LEASE_S = 1.0
"""A lease covers about a second, so that what a process that dies had taken costs the others no more than that."""
LEASE_MIN_S = 0.1
LEASE_MAX = 256
"""Where the rate is high a commit for each turn would be the slowest step, so a tenth of a second is taken at once."""
LEASES_AHEAD = 64
"""More leases than processes share an account: a grid that lies further ahead is a clock that has jumped back."""
UNPACED_S = 0.005
"""While no rate is known: so that the first refusal is heard before a hundred more have left."""
SLACK = 0.1
"""A timer fires a little late. A tenth of a distance may be made good, so that lateness does not add up."""
SLACK_OF_HEADROOM = 0.4
"""Where few are sent a minute a tenth of a distance is a second: no more is made good than the headroom has for it, so
that a clock that jumps forth cannot bring one too many into a window."""
TIMER_S = 0.002
"""A timer is no finer than this: above 500 requests a second the strict distance is kept between pairs, threes, …"""
USED = 0.8
"""A rate that was not used to this share proves nothing by being accepted."""
TURNS_MAX = 3
"""So many moments may be missed: a ledger that is always late slows the sending, it must not stop it."""
LAG_MAX_S = 10.0
"""A ledger that is slow to answer gives moments that have passed: so much later ones are asked for, at most."""
LEAD_S = 0.05
"""A turn is given this long before its moment, so that the reservation is on the disk when the moment comes."""


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
        self._refused_last = 0.0
        self._over = asyncio.Event()
        self._lag_s = 0.0

    @property
    def is_known(self) -> bool:
        """Whether there is a rate to keep."""
        return self.rate.per_second is not None

    async def turn(self, wanted: Callable[[], bool] = lambda: True) -> float | None:
        """The wall-clock moment of this turn, given `LEAD_S` ahead; None when nothing is paced or all is over.

        `wanted` is asked when it is this caller's turn to take a moment: none is taken when it is not (None).
        """
        if self.rate.per_second is None:
            return None
        self._waiting += 1
        try:
            async with self._queue:
                if self._over.is_set() or not wanted():
                    return None
                at = await self._next_slot()
                await self._sleep_until(at - LEAD_S)
                return at
        finally:
            self._waiting -= 1

    async def depart(self, turn: float | None) -> None:
        """Wait for the moment itself; to be called last, right before the request goes out."""
        for _ in range(TURNS_MAX):
            if turn is None:
                break
            if self._is_near(turn):
                await self._sleep_until(turn)
                if self._is_near(turn):  # else the machine has stood still meanwhile
                    break
            turn = await self.turn()
        await self._strict.acquire()

    def close(self) -> None:
        """The run is over: nobody waits for a turn any more."""
        self._over.set()

    def accepted(self, sent_at: float) -> None:
        """A request that was sent then was not refused for being too many."""
        self._log.append(sent_at)
        if self._refused_at is None:
            self._grow()
        elif sent_at > self._refused_at:
            self._learn(self._refused_at, sent_at)

    def refused(self) -> None:
        """The platform said "too many": from now to the next request that it accepts is one episode."""
        self._refused_last = self._now()
        if self._refused_at is None:
            self._refused_at = self._refused_last

    def _grow(self) -> None:
        now, rate = self._now(), self.rate
        if rate.per_second is None or now - rate.since_s < rate.stretch_s:
            return
        span_s = min(rate.stretch_s, WINDOW_S)
        used = sum(at > self._log[-1] - span_s for at in self._log)
        if used >= USED * rate.per_second * span_s:
            self._set(grown(rate, now))
        else:
            self.rate = replace(
                rate, since_s=now
            )  # something else held the sending: nothing was learned about the rate

    def _learn(self, refused_at: float, accepted_at: float) -> None:
        self._refused_at = None
        before = [at for at in self._log if refused_at - WINDOW_S <= at <= refused_at]
        # The window opened again somewhere between the last refusal and now: the middle is the best guess.
        opened_at = (self._refused_last + accepted_at) / 2
        span_s = opened_at - min(before, default=refused_at)
        self._set(measured(self.rate, len(before), span_s, self._now()))

    def _set(self, rate: Rate) -> None:
        before = self.rate.per_second
        self.rate = rate
        if rate.per_second != before:
            self._strict = _limiter(rate)
            if before is not None and rate.per_second is not None and rate.per_second < before:
                self._slots.clear()

    async def _next_slot(self) -> float:
        while self._slots and not self._is_near(self._slots[0]):
            self._slots.popleft()  # a moment that has passed is given up, not caught up with
        if not self._slots:
            assert self.rate.per_second is not None
            interval_s = (1 + HEADROOM) / self.rate.per_second
            wanted = max(self._waiting, int(LEASE_MIN_S / interval_s))
            count = max(1, min(wanted, LEASE_MAX, int(LEASE_S / interval_s)))
            asked_at = self._now()
            # A moment may be missed by LATE_S; only a ledger that is slower than half of that has to be asked ahead.
            ahead_s = max(0.0, self._lag_s - LATE_S / 2)
            times = (interval_s, asked_at + ahead_s, self._horizon_s())
            interval_us, earliest_us, horizon_us = (round(1e6 * s) for s in times)
            first = await self._journal.do(
                lambda tx: take_slots(tx, self._account, count, interval_us, earliest_us, horizon_us)
            )
            self._lag_s = min(max(0.0, self._now() - asked_at), LAG_MAX_S)
            self._slots.extend((first + i * interval_us) / 1e6 for i in range(count))
        return self._slots.popleft()

    def _is_near(self, at: float) -> bool:
        """Neither missed nor, after a clock that jumped back, further ahead than the grid can lie."""
        now = self._now()
        return now - LATE_S <= at <= now + self._horizon_s() + LEASE_S

    def _horizon_s(self) -> float:
        assert self.rate.per_second is not None
        return WINDOW_S + LEASES_AHEAD / self.rate.per_second

    async def _sleep_until(self, at: float) -> None:
        wait_s = min(at - self._now(), self._horizon_s())
        if wait_s > 0:
            try:
                async with asyncio.timeout(wait_s):
                    await self._over.wait()
            except TimeoutError:
                pass


def _limiter(rate: Rate) -> AsyncLimiter:
    if rate.per_second is None:
        return AsyncLimiter(1, UNPACED_S)
    slack = min(SLACK, SLACK_OF_HEADROOM * HEADROOM * rate.per_second * WINDOW_S)
    capacity = max(1, int(rate.per_second * TIMER_S)) + slack
    return AsyncLimiter(capacity, capacity * (1 + HEADROOM / 2) / rate.per_second)
