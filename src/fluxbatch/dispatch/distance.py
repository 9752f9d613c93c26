"""The distance between requests: the account's within a process, and what somebody wishes while a run goes on.

The account's over processes is the grid of `pace.py`. A wish has a grid of its own in the ledger, for all runs of a
batch: the moment after the last that was given, an interval of the wish that holds now. So a wish for less holds at
once, and one for more brings no burst: whatever changes, it is measured from the last. Within a process the same
distance is kept between departures, because a moment may be missed a little.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from aiolimiter import AsyncLimiter

from fluxbatch.budget import wishes
from fluxbatch.budget.lease import Transaction
from fluxbatch.budget.lessons import Taken
from fluxbatch.dispatch.rate import HEADROOM, WINDOW_S, Rate

UNPACED_S = 0.005
"""While no rate is known: so that the first refusal is heard before a hundred more have left."""
SLACK = 0.1
"""A timer fires a little late. A tenth of a distance may be made good, so that lateness does not add up."""
SLACK_OF_HEADROOM = 0.4
"""Where few are sent a minute a tenth of a distance is a second: no more is made good than the headroom has for it, so
that a clock that jumps forth cannot bring one too many into a window."""
TIMER_S = 0.002
"""A timer is no finer than this: above 500 requests a second the strict distance is kept between pairs, threes, …"""


@dataclass(frozen=True, slots=True)
class Given:
    """Moments that were taken, none when none was due, and before which no other one is; seconds since 1970.

    `of_account`: what was taken of the account's pace with them, and heard with it.
    """

    moments: tuple[float, ...]
    next_at: float
    of_account: Taken | None = None


@dataclass(frozen=True, slots=True)
class Grid:
    """The moments of a holder's wish, in the ledger."""

    dataset: str
    holder: str

    def take(
        self,
        count: int,
        interval_s: float,
        earliest: float,
        ahead_s: float,
        of_account: Callable[[int], Callable[[Transaction], Taken]] | None,
    ) -> Callable[[Transaction], Given]:
        """An operation that takes so many moments, if the first is due within `ahead_s`, and as many of the account's
        (`of_account`: from a microsecond on; None: it has no pace): they are on both grids."""
        interval_us, earliest_us, ahead_us = (round(1e6 * s) for s in (interval_s, earliest, ahead_s))
        whose, window_us = (self.dataset, self.holder), round(WINDOW_S * 1e6)

        def take(tx: Transaction) -> Given:
            due_us = wishes.next_moment(tx, *whose, interval_us, earliest_us, window_us)
            if due_us > earliest_us + ahead_us:
                return Given((), due_us / 1e6)
            taken = None if of_account is None else of_account(due_us)(tx)
            first_us = due_us if taken is None else taken.first_us
            moments = [first_us + i * interval_us for i in range(count)]
            wishes.gave(tx, *whose, moments[-1])
            return Given(tuple(at / 1e6 for at in moments), (moments[-1] + interval_us) / 1e6, taken)

        return take


class Distance:
    """Who leaves keeps its distance from who left before."""

    def __init__(self) -> None:
        self._line = asyncio.Lock()
        self._left_at = float("-inf")
        self._change = asyncio.Event()

    def wake(self) -> None:
        """Something else is wished: whoever waits looks again."""
        self._change.set()
        self._change = asyncio.Event()

    async def keep(self, per_second: Callable[[], float | None]) -> None:
        """Wait until the distance is kept; for nothing while nothing is wished (None)."""
        async with self._line:
            while (rate := per_second()) is not None and (wait_s := self.wait_s(rate)) > 0:
                await self._changed(wait_s)
            self._left_at = _now()

    def wait_s(self, per_second: float) -> float:
        """How long it is until the distance is kept; not more than 0 when it is. Half of the headroom is left for a
        moment that is missed a little, as in `pace.py`."""
        return self._left_at + (1 + HEADROOM / 2) / per_second - _now()

    async def _changed(self, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._change.wait()
        except TimeoutError:
            pass


def limiter(rate: Rate) -> AsyncLimiter:
    """The strict distance of the account's rate, within this process."""
    if rate.per_second is None:
        return AsyncLimiter(1, UNPACED_S)
    slack = min(SLACK, SLACK_OF_HEADROOM * HEADROOM * rate.per_second * WINDOW_S)
    capacity = max(1, int(rate.per_second * TIMER_S)) + slack
    return AsyncLimiter(capacity, capacity * (1 + HEADROOM / 2) / rate.per_second)


def _now() -> float:
    return asyncio.get_running_loop().time()
