"""A halt that somebody asked for: nothing new is sent while it is on, and no patience runs out meanwhile."""

from __future__ import annotations

import asyncio

from fluxbatch.dispatch.stop import Stop


class Halt:
    """One for all lanes of a run."""

    def __init__(self) -> None:
        self._since_s: float | None = None
        self._halted_s = 0.0
        self._change = asyncio.Event()

    @property
    def is_on(self) -> bool:
        return self._since_s is not None

    def follow(self, is_wanted: bool) -> None:
        """Begin it, end it, or leave it as it is."""
        if is_wanted and self._since_s is None:
            self._since_s = _now()
        elif not is_wanted and self._since_s is not None:
            self._halted_s += _now() - self._since_s
            self._since_s = None
            self.wake()

    def awake_s(self) -> float:
        """A clock that stands still while the halt is on: what patience is measured by."""
        return (_now() if self._since_s is None else self._since_s) - self._halted_s

    def wake(self) -> None:
        """Whoever waits looks again."""
        self._change.set()
        self._change = asyncio.Event()

    async def over(self, stop: Stop) -> None:
        """Wait until it is off, or all is to end. Who waits is told of that by `wake`."""
        while self.is_on and not stop.is_set:
            await self._change.wait()


def _now() -> float:
    return asyncio.get_running_loop().time()
