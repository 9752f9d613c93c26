"""The rate: never more than N requests in any window of a minute, over all processes and restarts.

Moments lie on a grid in the ledger's database (a generic cell rate without a burst): each process takes the next few
and sends one request at each. Cloudflare counts arrivals, not departures, so the grid is a little wider than a minute
divided by N (`HEADROOM`). `aiolimiter` keeps the strict distance inside a process, so that a request that was late
cannot be crowded by the next. Between processes there is only the clock on the wall: where it is set forth by more than
the headroom and another process sends within that minute, the window may get what the jump left out.

The limit may be unknown (`--rate 0`): then nothing is paced until the platform refuses with "too many"; what was
accepted until then, and when it accepts again, tells the rate (`rate.py`).

While the run goes on somebody may wish it slower (`follow`): then a moment is taken when one is due on the wish's own
grid, which all runs of a batch share, and only then, so that the account's other runs are not slowed by it.

All models of a run share one pace, because the limit is the account's: its turns go round the lanes that wait. `who` is
the lane; what only one of them is refused teaches that one alone (`own.py`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from fluxbatch.budget.journal import Journal
from fluxbatch.budget.lessons import Lease, Lesson, Taken
from fluxbatch.dispatch.belief import Belief
from fluxbatch.dispatch.distance import Distance, Grid, limiter
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
        grid: Grid | None = None,
    ) -> None:
        """`per_minute` is the known limit or None; `learned` what an earlier run found where none is known; `learner`
        names this run among those that share the account; `grid` is the holder's, for when it is wished slower."""
        ceiling = None if per_minute is None else per_minute / WINDOW_S
        start = ceiling if ceiling is not None else (None if learned is None else learned / WINDOW_S)
        self._belief = Belief(Rate(start, ceiling), now)
        self._journal = journal
        self._news = News(account, learner, now)
        self._now = now
        self._slots: deque[float] = deque()
        self._queue = Turns()
        self._waiting = 0
        self._strict = limiter(self.rate)
        self._own: dict[Hashable, Own] = {}
        self._over = asyncio.Event()
        self._lag_s = 0.0
        self._wished: float | None = None
        """What somebody wishes, in requests a second; None: as the run was started."""
        self._said = 0
        """How often it was changed: what was begun before a change is not used after it."""
        self._grid = grid
        self._due_at = 0.0
        """On the wish's grid nothing is due before."""
        self._change = asyncio.Event()
        self._distance = Distance()
        self._given: set[float] = set()
        """The turns that were given since something else was wished, and have not been used."""
        self._yields_s = 0.0
        """So much later than others of the batch this run asks for a moment: who got the last one goes behind them."""

    @property
    def rate(self) -> Rate:
        """What is believed of the account's."""
        return self._belief.rate

    @property
    def is_known(self) -> bool:
        """Whether there is a rate to keep."""
        return self._kept is not None

    @property
    def _kept(self) -> float | None:
        """What is kept, in requests a second: the slower of what is believed and what is wished."""
        return min((rate for rate in (self.rate.per_second, self._wished) if rate is not None), default=None)

    @property
    def kept_per_minute(self) -> float | None:
        """What is kept, in requests a minute; None while nothing is known and nothing wished."""
        return None if self._kept is None else self._kept * WINDOW_S

    def follow(self, per_minute: float | None) -> None:
        """Somebody wishes that no more than so many a minute are sent; None: as many as the run was started with.

        What is faster than the account allows changes nothing. Moments that were taken before are given up.
        """
        wished = None if per_minute is None else per_minute / WINDOW_S
        if wished == self._wished or (self._grid is None and wished is not None):
            return
        self._wished, self._said, self._due_at = wished, self._said + 1, 0.0
        self._slots.clear()
        self._given.clear()
        self._wake()

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
        if not self.is_known:
            return None
        self._waiting += 1
        try:
            async with self._queue.of(who):
                while self.is_known and not self._over.is_set() and wanted():
                    said = self._said
                    at = await self._next_slot(wanted)
                    if at is None:
                        continue
                    await self._sleep_until(at - LEAD_S)
                    if said == self._said:
                        self._given.add(at)
                        return at
                return None
        finally:
            self._waiting -= 1

    async def depart(self, turn: float | None, who: Hashable = None) -> None:
        """Wait for the moment itself; to be called last, right before the request goes out."""
        while True:
            said = self._said
            turn = await self._reached(turn, who)
            self._given.discard(turn or 0.0)
            await self._distance.keep(lambda: None if self._over.is_set() else self._wished)
            if said == self._said or self._wished is None or self._over.is_set():
                break
        await self._strict.acquire()

    async def _reached(self, turn: float | None, who: Hashable) -> float | None:
        """Wait for a turn's moment: this one's, or another's when it was missed, or given before something else was
        wished. Whose it was."""
        missed = 0
        while missed < TURNS_MAX and not (turn is None and self._is_ours(turn)):
            if turn is not None and self._is_ours(turn) and self._is_near(turn):
                said = self._said
                await self._sleep_until(turn)
                if said != self._said:
                    continue
                if self._is_near(turn):  # else the machine has stood still meanwhile
                    break
            turn, missed = await self.turn(who=who), missed + 1
        return turn

    def _is_ours(self, turn: float | None) -> bool:
        """Whether a turn still counts: under a wish only those that were given since it was said."""
        return self._wished is None or turn in self._given

    def close(self) -> None:
        """The run is over: nobody waits for a turn any more."""
        self._over.set()
        self._wake()

    def _wake(self) -> None:
        self._change.set()
        self._change = asyncio.Event()
        self._distance.wake()

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
            self._strict = limiter(self.rate)
            if before is not None and now is not None and now < before:
                self._slots.clear()

    async def _next_slot(self, wanted: Callable[[], bool]) -> float | None:
        """The next moment of ours; None when it is to be asked again whether there is one."""
        while self._slots and not self._is_near(self._slots[0]):
            self._slots.popleft()  # a moment that has passed is given up, not caught up with
        if not self._slots:
            await (self._take_moments() if self._wished is None else self._take_wished(self._wished, wanted))
        return self._slots.popleft() if self._slots else None

    async def _take_moments(self) -> None:
        assert self.rate.per_second is not None
        interval_s = (1 + HEADROOM) / self.rate.per_second
        wanted = max(self._waiting, int(LEASE_MIN_S / interval_s))
        count = max(1, min(wanted, LEASE_MAX, int(LEASE_S / interval_s)))
        asked_at, said = self._now(), self._said
        lease = self._lease(count, interval_s, asked_at + self._ahead_s())
        taken = await self._journal.do(self._news.lease(lease))
        self._note_lag(asked_at)
        if said == self._said:
            self._slots.extend((taken.first_us + i * lease.interval_us) / 1e6 for i in range(count))
        self._hear(self._news.took(taken))

    async def _take_wished(self, wished: float, wanted: Callable[[], bool]) -> None:
        """Wait until a moment is due on the wish's grid, and take it with one of the account's: both are kept, and the
        account gives no moment away that is not used."""
        said = self._said
        due_at = max(self._due_at, self._now() + self._distance.wait_s(wished))
        await self._sleep_until(due_at - 2 * LEAD_S + self._yields_s)
        if said != self._said or self._over.is_set() or not wanted():
            return
        assert self._grid is not None
        interval_s, asked_at, account = (1 + HEADROOM) / wished, self._now(), self.rate.per_second
        count = max(1, min(LEASE_MAX, int(LEASE_MIN_S / interval_s)))
        apart_s = interval_s if account is None or count > 1 else (1 + HEADROOM) / account

        def of_account(earliest_us: int) -> Callable[[Any], Taken]:
            return self._news.lease(self._lease(count, apart_s, earliest_us / 1e6))

        also = None if account is None else of_account
        given = await self._journal.do(self._grid.take(count, interval_s, asked_at + self._ahead_s(), 2 * LEAD_S, also))
        self._note_lag(asked_at)
        self._due_at, self._yields_s = given.next_at, LEAD_S if given.moments else self._yields_s / 2
        if said == self._said:
            self._slots.extend(given.moments)
        if given.of_account is not None:
            self._hear(self._news.took(given.of_account))

    def _lease(self, count: int, interval_s: float, earliest: float) -> Lease:
        interval_us, earliest_us, horizon_us = (round(1e6 * s) for s in (interval_s, earliest, self._horizon_s()))
        return Lease(count, interval_us, earliest_us, horizon_us)

    def _ahead_s(self) -> float:
        """A moment may be missed by LATE_S; only a ledger that is slower than half of that has to be asked ahead."""
        return max(0.0, self._lag_s - LATE_S / 2)

    def _note_lag(self, asked_at: float) -> None:
        self._lag_s = min(max(0.0, self._now() - asked_at), LAG_MAX_S)

    def _is_near(self, at: float) -> bool:
        """Neither missed nor, after a clock that jumped back, further ahead than the grid can lie."""
        now = self._now()
        return now - LATE_S <= at <= now + self._horizon_s() + LEASE_S

    def _horizon_s(self) -> float:
        per_second = self.rate.per_second or self._kept
        return WINDOW_S if per_second is None else WINDOW_S + LEASES_AHEAD / per_second

    async def _sleep_until(self, at: float) -> None:
        """Not longer than until all is over, or something else is wished."""
        wait_s = min(at - self._now(), self._horizon_s())
        if wait_s > 0 and not self._over.is_set():
            try:
                async with asyncio.timeout(wait_s):
                    await self._change.wait()
            except TimeoutError:
                pass
