"""One model's own part of the account's pace: its episodes of "too many", and a rate of its own where only it has one.

The published limit is the account's, over all models, so that is what a refusal teaches at first. But when the others
were let in all the while and none of them was refused, the limit is this model's: then it alone slows down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fluxbatch.dispatch.belief import Belief
from fluxbatch.dispatch.rate import HEADROOM, Rate
from fluxbatch.dispatch.stop import Stop

_OPEN = Rate(None, None)


class Own:
    """What one lane has heard of the rate. Times are the wall clock's, but for its distance, which is the loop's."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.belief = Belief(_OPEN, now)
        self.refused_at: float | None = None
        """When the episode that is on has begun."""
        self.refused_last = float("-inf")
        self.let_in_last = float("-inf")
        self.lift: Callable[[], None] = lambda: None
        """Called when another lane has found that the account is let in again."""
        self.model = ""
        """The id of the lane's model, by which other runs of the account know it."""
        self.heard_no_room: Callable[[], None] = lambda: None
        """Called when another run was told that there is no room for this model."""
        self._line = asyncio.Lock()
        self._next_at = 0.0

    @property
    def per_second(self) -> float | None:
        """This model's own rate; None when only the account's counts."""
        return self.belief.rate.per_second

    def let_in(self, sent_at: float) -> None:
        self.belief.let_in(sent_at)
        self.let_in_last = max(self.let_in_last, sent_at)

    def over(self) -> None:
        """Another lane of the account was let in: this one need not find out by itself."""
        if self.refused_at is not None:
            self.refused_at = None
            self.lift()

    def refused(self, now: float) -> float:
        """From now to the next request that is let in is one episode. When the one that is on has begun."""
        self.refused_last = now
        if self.refused_at is None:
            self.refused_at = now
        return self.refused_at

    def begin_at(self, per_second: float) -> None:
        """An earlier run has found this model's own rate."""
        self.belief.rate = Rate(per_second, None)

    def grow(self, account: float | None) -> None:
        """A step up when it was clean; what is no slower than the account is no rate of its own."""
        self.belief.grow()
        if self.per_second is not None and account is not None and self.per_second >= account:
            self.belief.rate = _OPEN

    async def distance(self, stop: Stop, wanted: Callable[[], bool]) -> None:
        """Keep the distance of its own rate, if it has one. Who is not wanted, or stopped, waits for nobody."""
        if self.per_second is None:
            return
        loop = asyncio.get_running_loop()
        async with self._line:
            while wanted() and self.per_second is not None and (wait_s := self._next_at - loop.time()) > 0:
                if await stop.sleep(wait_s):
                    return
            if wanted() and self.per_second is not None:
                self._next_at = loop.time() + (1 + HEADROOM) / self.per_second
