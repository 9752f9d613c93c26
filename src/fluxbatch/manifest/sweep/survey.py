"""Which cells are rows: not excluded, and no picture twice. Walked once, in numbers; then any row is found at once.

Where the axes show that no two cells can ask for the same picture, nothing is walked for that (`same.py`). Else the
contents of the cells in question are named by 64 bits and counted (12 bytes each, as `samples.py` does).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from fluxbatch.manifest.samples import Tally
from fluxbatch.manifest.sweep.columns import Indexes
from fluxbatch.manifest.sweep.same import Silent, Suspects, suspects_of
from fluxbatch.manifest.sweep.segment import Mask, Segment

CELLS_AT_ONCE = 65_536


@dataclass(slots=True)
class Walked:
    """What one segment came to: `before` counts the rows before each stretch of cells, `again` are duplicate cells."""

    rows: int
    excluded: int = 0
    before: Indexes | None = None
    again: Indexes = field(default_factory=lambda: np.zeros(0, np.int64))


class Survey:
    """The rows of all segments, numbered from 0 in order. `silent` has what is sent where nothing is given."""

    def __init__(self, segments: Sequence[Segment], silent: Silent) -> None:
        self.segments = tuple(segments)
        self._silent = silent
        self._suspects = suspects_of(segments, silent)
        self._walked = self._walk()
        self._starts = np.cumsum([0, *(walked.rows for walked in self._walked)])
        self.rows = int(self._starts[-1])

    @property
    def cells(self) -> int:
        return sum(segment.cells for segment in self.segments)

    def excluded(self, number: int) -> int:
        """Cells of a segment that were excluded."""
        return self._walked[number].excluded

    def duplicates(self, number: int) -> int:
        """Cells of a segment that ask for a picture that was asked for before."""
        return len(self._walked[number].again)

    def rows_of(self, number: int) -> int:
        return self._walked[number].rows

    def _walk(self) -> list[Walked]:
        tally = Tally()
        return [
            self._walk_one(segment, suspects, tally)
            for segment, suspects in zip(self.segments, self._suspects, strict=True)
        ]

    def _walk_one(self, segment: Segment, suspects: Suspects | None, tally: Tally) -> Walked:
        if not segment.exclusions and suspects is None:
            return Walked(segment.cells)
        before, again, rows, excluded = [0], [], 0, 0
        for cells in stretches(segment.cells):
            kept = cells[~segment.excluded(cells)] if segment.exclusions else cells
            excluded += len(cells) - len(kept)
            rows += len(kept)
            if suspects is not None:
                again.append(_seen_before(kept[suspects.of(kept)], suspects, tally))
                rows -= len(again[-1])
            before.append(rows)
        found = np.concatenate(again) if again else np.zeros(0, np.int64)
        return Walked(rows, excluded, np.array(before, np.int64), found)

    def kept(self, number: int, cells: Indexes) -> Indexes:
        """Those of some neighbouring cells of a segment that are rows."""
        segment, walked = self.segments[number], self._walked[number]
        if walked.before is None:
            return cells
        out: Mask = segment.excluded(cells)
        if len(walked.again):
            at = np.minimum(np.searchsorted(walked.again, cells), len(walked.again) - 1)
            out |= walked.again[at] == cells
        return cells[~out]

    def all_rows(self) -> Iterator[tuple[Segment, Indexes]]:
        """Every row as its cell, some thousands at once, in order."""
        for number, segment in enumerate(self.segments):
            for cells in stretches(segment.cells):
                kept = self.kept(number, cells)
                if len(kept):
                    yield segment, kept

    def these_rows(self, rows: Indexes) -> Iterator[tuple[Segment, Indexes]]:
        """The rows with these numbers (ascending, from 0), found without a walk."""
        for number, segment in enumerate(self.segments):
            start, end = self._starts[number], self._starts[number + 1]
            wanted = rows[np.searchsorted(rows, start) : np.searchsorted(rows, end)] - start
            before = self._walked[number].before
            if before is None:
                for at in range(0, len(wanted), CELLS_AT_ONCE):
                    yield segment, wanted[at : at + CELLS_AT_ONCE]
                continue
            stretch = np.searchsorted(before, wanted, side="right") - 1
            for index in np.unique(stretch).tolist():
                kept = self.kept(number, _stretch(index, segment.cells))
                yield segment, kept[wanted[stretch == index] - before[index]]

    def row_of(self, number: int, cell: int) -> int | None:
        """The row (from 0) of a segment's cell, or None if it is none."""
        before = self._walked[number].before
        if before is None:
            return int(self._starts[number]) + cell
        index = cell // CELLS_AT_ONCE
        kept = self.kept(number, _stretch(index, self.segments[number].cells))
        at = int(np.searchsorted(kept, cell))
        if at == len(kept) or kept[at] != cell:
            return None
        return int(self._starts[number]) + int(before[index]) + at


def _seen_before(cells: Indexes, suspects: Suspects, tally: Tally) -> Indexes:
    """Those of the cells that ask for a picture that was asked for before; all are counted."""
    if not len(cells):
        return cells
    names, bad = suspects.namer.names(cells)
    seen = tally.take(names, np.ones(len(cells), np.int64)) > 0
    seen[bad] = False  # what cannot be rendered is a complaint of its own
    return cells[seen]


def stretches(cells: int) -> Iterator[Indexes]:
    for index in range(-(-cells // CELLS_AT_ONCE)):
        yield _stretch(index, cells)


def _stretch(index: int, cells: int) -> Indexes:
    return np.arange(index * CELLS_AT_ONCE, min((index + 1) * CELLS_AT_ONCE, cells), dtype=np.int64)
