"""Why a run ends early. The first reason stands; everything that waits is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import StrEnum


class StoppedBy(StrEnum):
    """Who ended the run before the manifest was through."""

    BUDGET = "budget"
    ACCOUNT = "account"
    PLATFORM = "platform"
    SIGNAL = "signal"


class Stop:
    """Nothing new is sent once it is set; what is in flight is finished."""

    def __init__(self) -> None:
        self.by: StoppedBy | None = None
        self.reason: str | None = None
        self.error: BaseException | None = None
        self._event = asyncio.Event()
        self._told: list[Callable[[], None]] = []

    @property
    def is_set(self) -> bool:
        return self._event.is_set()

    def tell(self, callback: Callable[[], None]) -> None:
        """Call this when the run is to end; at once if it is."""
        self._told.append(callback)
        if self.is_set:
            callback()

    def request(self, by: StoppedBy, reason: str, error: BaseException | None = None) -> None:
        """End the run. Later requests change nothing, but an error of ours is never lost behind a reason."""
        self.error = self.error or error
        if self.is_set:
            return
        self.by, self.reason = by, reason
        self._event.set()
        for callback in self._told:
            callback()

    async def sleep(self, seconds: float) -> bool:
        """Wait so long. True when the run was ended meanwhile."""
        if seconds <= 0:
            return self.is_set
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            pass
        return self.is_set
