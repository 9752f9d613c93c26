"""Who is next, where several models wait for the same: the turns of the pace, and shares of what a crash may lose.

Whoever waits is served when nobody else does, so one model alone can use all; within a model it is first come, first
served. Turns go round, one for each model that waits: a quick model with many waiting does not keep a slow one from
leaving. An exposure is kept for as long as its picture takes, so it goes to the model that holds the fewest: if those
went round, a slow model would fill nearly all of them and leave a quick one hardly any.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager


class _Lines:
    """One line of waiting tasks for each name, in the order in which they were last called."""

    def __init__(self) -> None:
        self.names: dict[Hashable, deque[asyncio.Future[None]]] = {}

    async def wait(self, name: Hashable, called_in_vain: Callable[[], None]) -> None:
        """Wait to be called. Who was called and is cancelled before it comes says so: the next is to be called."""
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.names.setdefault(name, deque()).append(place)
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():
                called_in_vain()
            raise

    def call(self, name: Hashable) -> None:
        """Call the first in this line; the line goes behind the others."""
        line = self.names.pop(name)
        line.popleft().set_result(None)
        if line:
            self.names[name] = line

    def waiting(self) -> list[Hashable]:
        """The lines in which somebody still waits; who was cancelled is struck out."""
        for name, line in list(self.names.items()):
            while line and line[0].done():
                line.popleft()
            if not line:
                del self.names[name]
        return list(self.names)


class Turns:
    """A lock that goes round the names of those who wait for it."""

    def __init__(self) -> None:
        self._lines = _Lines()
        self._taken = False

    @asynccontextmanager
    async def of(self, name: Hashable) -> AsyncIterator[None]:
        """Hold it for the block."""
        if self._taken:
            await self._lines.wait(name, self._next)
        self._taken = True
        try:
            yield
        finally:
            self._next()

    def _next(self) -> None:
        waiting = self._lines.waiting()
        self._taken = bool(waiting)
        if waiting:
            self._lines.call(waiting[0])


class Shares:
    """So many may be held at once; who holds the fewest is next."""

    def __init__(self, most: int) -> None:
        self.most = self.free = most
        self._held: Counter[Hashable] = Counter()
        self._lines = _Lines()

    async def take(self, name: Hashable) -> None:
        """Wait for one, and hold it."""
        if self.free > 0:
            self.free -= 1
            self._held[name] += 1
        else:
            await self._lines.wait(name, lambda: self.give_back(name))

    def give_back(self, name: Hashable) -> None:
        """Hold one fewer."""
        self._held[name] -= 1
        self.free += 1
        self._serve()

    def follow(self, most: int) -> None:
        """So many from now on. Where more are held, none is given until so many have come back."""
        self.free += most - self.most
        self.most = most
        self._serve()

    def _serve(self) -> None:
        while self.free > 0 and (waiting := self._lines.waiting()):
            fewest = min(waiting, key=self._held.__getitem__)
            self.free -= 1
            self._held[fewest] += 1
            self._lines.call(fewest)
