"""The rate: never more than N requests in any window of a minute, over all processes and restarts.

Moments lie on a grid in the ledger's database (a generic cell rate without a burst): each process takes the next few
and sends one request at each. Cloudflare counts arrivals, not departures, so the grid is a little wider than a minute
divided by N (`HEADROOM`). `aiolimiter` keeps the strict distance inside a process, so that a request that was late
cannot be crowded by the next. Between processes there is only the clock on the wall: where it is set forth by more than
the headroom and another process sends within that minute, the window may get what the jump left out.

The limit may be unknown (`--rate 0`): then nothing is paced until the platform refuses with "too many"; what was
accepted until then, and when it accepts again, tells the rate (`rate.py`).

All models of a run share one pace, because the limit is the account's: its turns go round the lanes that wait. `who` is
the lane; what only one of them is refused teaches that one alone (`own.py`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Iterable

from aiolimiter import AsyncLimiter

from fluxbatch.budget.journal import Journal
from fluxbatch.budget.lessons import Lease, Lesson
from fluxbatch.dispatch.belief import Belief
from fluxbatch.dispatch.fair import Turns
from fluxbatch.dispatch.news import ROOM, News
from fluxbatch.dispatch.own import Own
from fluxbatch.dispatch.rate import HEADROOM, WINDOW_S, Rate

LATE_S = HEADROOM * WINDOW_S / 2
"""A moment missed by more is given up: the next processes' requests are on their way by then. The other half of the
headroom is for the network, which takes longer for one request than for the next."""
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
TURNS_MAX = 3
"""So many moments may be missed: a ledger that is always late slows the sending, it must not stop it."""
LAG_MAX_S = 10.0
"""A ledger that is slow to answer gives moments that have passed: so much later ones are asked for, at most."""
LEAD_S = 0.05
"""A turn is given this long before its moment, so that the reservation is on the disk when the moment comes."""


class Pace:
    """Gives out turns: one for each lane that waits, in turn, and within a lane first come, first served."""

    def __init__(
        self,
        journal: Journal,
        account: str,
        per_minute: float | None,
        learned: float | None,
        now: Callable[[], float],
        learner: str = "",
    ) -> None:
        """`per_minute` is the known limit or None; `learned` what an earlier run found where none is known; `learner`
        names this run among those that share the account."""
        ceiling = None if per_minute is None else per_minute / WINDOW_S
        start = ceiling if ceiling is not None else (None if learned is None else learned / WINDOW_S)
        self._belief = Belief(Rate(start, ceiling), now)
        self._journal = journal
        self._news = News(account, learner, now)
        self._now = now
        self._slots: deque[float] = deque()
        self._queue = Turns()
        self._waiting = 0
        self._strict = _limiter(self.rate)
        self._own: dict[Hashable, Own] = {}
        self._over = asyncio.Event()
        self._lag_s = 0.0

    @property
    def rate(self) -> Rate:
        """What is believed of the account's."""
        return self._belief.rate

    @property
    def is_known(self) -> bool:
        """Whether there is a rate to keep."""
        return self.rate.per_second is not None

    def own(self, who: Hashable = None) -> Own:
        """This lane's part of the pace."""
        if who not in self._own:
            self._own[who] = Own(self._now)
        return self._own[who]

    def recall(self, who: Hashable, per_minute: float | None) -> None:
        """What an earlier run found for this lane: counts where no limit is known, as the account's does."""
        account = self.rate
        if per_minute is None or account.ceiling is not None or account.per_second is None:
            return
        if per_minute / WINDOW_S < account.per_second:
            self.own(who).begin_at(per_minute / WINDOW_S)

    def per_minute(self, who: Hashable = None) -> float | None:
        """What this lane may send: its own rate, or the account's; None when neither is known."""
        per_second = self.own(who).per_second or self.rate.per_second
        return None if per_second is None else per_second * WINDOW_S

    async def turn(self, wanted: Callable[[], bool] = lambda: True, who: Hashable = None) -> float | None:
        """The wall-clock moment of this turn, given `LEAD_S` ahead; None when nothing is paced or all is over.

        `wanted` is asked when it is this caller's turn to take a moment: none is taken when it is not (None).
        """
        if self.rate.per_second is None:
            return None
        self._waiting += 1
        try:
            async with self._queue.of(who):
                if self._over.is_set() or not wanted():
                    return None
                at = await self._next_slot()
                await self._sleep_until(at - LEAD_S)
                return at
        finally:
            self._waiting -= 1

    async def depart(self, turn: float | None, who: Hashable = None) -> None:
        """Wait for the moment itself; to be called last, right before the request goes out."""
        for _ in range(TURNS_MAX):
            if turn is None:
                break
            if self._is_near(turn):
                await self._sleep_until(turn)
                if self._is_near(turn):  # else the machine has stood still meanwhile
                    break
            turn = await self.turn(who=who)
        await self._strict.acquire()

    def close(self) -> None:
        """The run is over: nobody waits for a turn any more."""
        self._over.set()

    def accepted(self, sent_at: float, who: Hashable = None) -> None:
        """A request of this lane that was sent then was not refused for being too many."""
        own, before = self.own(who), self.rate.per_second
        own.let_in(sent_at)
        self._belief.let_in(sent_at)
        if own.refused_at is None:
            self._belief.grow()
            own.grow(self.rate.per_second)
        elif sent_at > own.refused_at:
            self._learn(own, own.refused_at, sent_at)
            own.refused_at = None
        self._follow(before)

    def refused(self, who: Hashable = None) -> bool:
        """The platform said "too many": from now to the next of this lane that it accepts is one episode.

        True when another lane was in one before, and will find out when it is over: the limit may be the account's.
        """
        own = self.own(who)
        began = own.refused(self._now())
        return any(other.refused_at is not None and other.refused_at < began for other in self._own.values())

    def lets_others_in(self, who: Hashable) -> bool:
        """Whether another lane was let in within the last window: this one's turn will come when that has had its."""
        now = self._now()
        return any(now - WINDOW_S < own.let_in_last <= now for other, own in self._own.items() if other is not who)

    def no_room(self, who: Hashable) -> None:
        """The platform had no room for one of this lane's: the account's other runs shall hear of it."""
        self._news.tell(self.own(who).model, ROOM)

    def _hear(self, lessons: Iterable[Lesson]) -> None:
        for lesson in lessons:
            for own in self._own.values():
                if own.model == lesson.model and lesson.kind == ROOM:
                    own.heard_no_room()

    def _learn(self, own: Own, refused_at: float, accepted_at: float) -> None:
        others = [other for other in self._own.values() if other is not own]
        with_it = [other for other in others if other.refused_last >= refused_at]
        let_in = any(other.let_in_last > refused_at - WINDOW_S for other in others)
        if own.per_second is not None or (let_in and not with_it):
            own.belief.learn(refused_at, own.refused_last, accepted_at)
            return
        self._belief.learn(refused_at, own.refused_last, accepted_at)
        for other in others:
            other.over()

    def _follow(self, before: float | None) -> None:
        now = self.rate.per_second
        if now != before:
            self._strict = _limiter(self.rate)
            if before is not None and now is not None and now < before:
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
            taken = await self._journal.do(self._news.lease(Lease(count, interval_us, earliest_us, horizon_us)))
            self._lag_s = min(max(0.0, self._now() - asked_at), LAG_MAX_S)
            self._slots.extend((taken.first_us + i * interval_us) / 1e6 for i in range(count))
            self._hear(self._news.took(taken))
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
