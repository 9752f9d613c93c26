"""How far the manifest is read ahead of what is sent: as far as keeps every model busy, within a bound.

Rows are started in order, model by model. When one model has rows waiting and another has none left that was read, the
next slice is read, so that a model that is down or slow does not keep the others' rows unread. With a single model that
is when all rows of a slice are out.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping

ROWS_MAX = 20_000
"""So many rows may wait in memory; a row is a kilobyte or two."""
SLICES_MAX = 256
"""So many slices may have waiting rows: each is a task."""


class Line:
    """The rows of one slice that wait to start, by model id."""

    def __init__(self, ahead: Ahead, models: Iterable[str]) -> None:
        self._ahead = ahead
        self.waiting = Counter(models)

    def started(self, model: str) -> None:
        """One row has started, or was told that it never will."""
        self.waiting[model] -= 1
        self._ahead.fewer(model, 1)
        if not self.waiting[model]:
            del self.waiting[model]
        self._ahead.look(self)

    def close(self) -> None:
        """Nothing of this slice waits any more, whatever became of it."""
        for model, count in self.waiting.items():
            self._ahead.fewer(model, count)
        self.waiting.clear()
        self._ahead.look(self)

    @property
    def is_out(self) -> bool:
        return not self.waiting


class Ahead:
    """All rows that were read and wait to start, and those that are still to be read."""

    def __init__(self, due: Mapping[str, int] | None = None) -> None:
        """`due`: how many rows of each model there are to read, as far as is known."""
        self._unread = Counter(due or {})
        self._waiting: Counter[str] = Counter()
        self._lines: dict[Line, None] = {}
        self._changed = asyncio.Event()

    def line(self, models: Iterable[str]) -> Line:
        """A slice was read; these are the models of its due rows."""
        line = Line(self, models)
        self._waiting.update(line.waiting)
        self._unread.subtract(line.waiting)
        if not line.is_out:
            self._lines[line] = None
        return line

    def give_up(self, model: str) -> None:
        """Nothing need be read for this model's sake."""
        self._unread.pop(model, None)

    def fewer(self, model: str, count: int) -> None:
        self._waiting[model] -= count

    def look(self, line: Line) -> None:
        """Somebody may want to know that this line has changed."""
        if line.is_out:
            self._lines.pop(line, None)
        if line.is_out or self.is_wanted:
            self._changed.set()
            self._changed = asyncio.Event()

    @property
    def is_wanted(self) -> bool:
        """Whether a model would be idle for want of rows, though there are more."""
        if self._waiting.total() >= ROWS_MAX or len(self._lines) >= SLICES_MAX:
            return False
        return any(count > 0 and not self._waiting[model] for model, count in self._unread.items())

    async def wanted(self, line: Line) -> None:
        """Wait until the slice after this one should be read."""
        while not line.is_out and not self.is_wanted:
            await self._changed.wait()
