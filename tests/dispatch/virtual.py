"""An event loop whose time jumps to the next timer as soon as nothing is ready: hours of waiting take milliseconds.

Nothing may wait for the real world in it (no threads, no sockets): when no timer is left and nothing is ready, all
wait for each other, and `Stuck` says so instead of hanging.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH_S = 1_800_000_000.0
TURNS_MAX = 200


class Stuck(Exception):
    """Nobody can go on."""


class _Selector(selectors.SelectSelector):
    loop: VirtualLoop
    turned: Callable[[], None] = staticmethod(lambda: None)
    """Called each time the loop goes round."""
    turns = 0
    """How often the loop went round without time passing."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.turned()
        if timeout is None:
            raise Stuck(f"at {self.loop.time():.3f} s nothing is ready and no timer is left")
        self.turns = 0 if self.loop.now + timeout > self.loop.now else self.turns + 1
        # In the world time passes by itself. Who waits for a rounding error's worth of it would wait for ever here.
        self.loop.now += max(0.0, timeout) if self.turns < TURNS_MAX else 1e-6
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Starts at 0, or where another ended. `now` may be moved forward by hand: the loop was stalled."""

    def __init__(self, start_s: float = 0.0, turned: Callable[[], None] | None = None) -> None:
        self.now = start_s
        selector = _Selector()
        selector.loop = self
        if turned is not None:
            selector.turned = turned
        super().__init__(selector)

    def time(self) -> float:
        return self.now


class Clock:
    """The wall clock beside a virtual loop: it can jump, the loop's time cannot."""

    def __init__(self) -> None:
        self.jumped_s = 0.0

    def __call__(self) -> float:
        return EPOCH_S + self.jumped_s + asyncio.get_running_loop().time()


def in_virtual_time(work: Callable[[], Awaitable[T]]) -> T:
    """Run it to its end, in a loop of its own."""

    async def run() -> T:
        return await work()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(run())


def now() -> float:
    """The loop's time, in seconds from its start."""
    return asyncio.get_running_loop().time()


def stall(seconds: float) -> None:
    """The whole process stands still for so long."""
    loop: Any = asyncio.get_running_loop()
    loop.now += seconds
