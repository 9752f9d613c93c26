"""What an attempt holds while it is under way: a place in flight, and a share of what a crash could lose."""

from __future__ import annotations

from collections.abc import Hashable

from fluxbatch.dispatch.fair import Shares
from fluxbatch.dispatch.lane import Flying, Lane


class Exposure:
    """What a crash would lose: an attempt from its reservation until its picture is on the disk, or it is resolved.

    It is taken when nothing but the pace is left to wait for: a lane that is held keeps none from the others.
    """

    def __init__(self, bound: Shares, who: Hashable = None) -> None:
        self._bound = bound
        self._who = who
        self._is_on = False

    async def begin(self) -> None:
        await self._bound.take(self._who)
        self._is_on = True

    def end(self) -> None:
        if self._is_on:
            self._is_on = False
            self._bound.give_back(self._who)


class Place:
    """A place in flight that was entered: left once, and the lane told if a request flew from it."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self.flying: Flying | None = None

    async def __aenter__(self) -> Place:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.flying is not None:
            self._lane.landed(self.flying)
        self._lane.gate.leave()
