"""Which cells are rows: not excluded, and no picture twice. Walked once, in numbers; then any row is found at once.

Where the file itself shows that no two cells can ask for the same picture, nothing is walked for that. Else every
cell's content is named by 64 bits and counted (12 bytes a cell, as `samples.py` does).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import pyarrow as pa

from fluxbatch.manifest.columns import PARAMETERS, REFERENCE_COLUMNS
from fluxbatch.manifest.samples import Tally
from fluxbatch.manifest.sweep.columns import Column, Counted, Indexes, Names, names_of
from fluxbatch.manifest.sweep.load import type_of
from fluxbatch.manifest.sweep.scope import Group
from fluxbatch.manifest.sweep.segment import Mask, Segment

CELLS_AT_ONCE = 65_536
PAIRS_MAX = 1_000
COMPARED_MAX = 10_000

_NOT_SENT = frozenset(("prompt", "id", "samples"))
SENT = tuple(name for name in PARAMETERS if name not in _NOT_SENT)
"""What tells two pictures apart, besides the prompt."""

_SALT = {name: salt for salt, name in enumerate(SENT, 1)}


@dataclass(frozen=True, slots=True)
class Silent:
    """What is sent where nothing is given; and what tells reference pictures apart: two files may hold the same one."""

    value: Callable[[str, str | None], object]
    """Of a parameter, for a model by its name (None: the default model)."""
    picture: Callable[[str | None], str | None]


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
        self.has_duplicates = not are_all_different(segments, silent)
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
        return [self._walk_one(segment, tally) for segment in self.segments]

    def _walk_one(self, segment: Segment, tally: Tally) -> Walked:
        if not segment.exclusions and not self.has_duplicates:
            return Walked(segment.cells)
        before, again, rows, excluded = [0], [], 0, 0
        namer = Namer(segment, self._silent) if self.has_duplicates else None
        for cells in stretches(segment.cells):
            kept = cells[~segment.excluded(cells)] if segment.exclusions else cells
            excluded += len(cells) - len(kept)
            if namer is not None and len(kept):
                seen = tally.take(namer.names(kept), np.ones(len(kept), np.int64)) > 0
                again.append(kept[seen])
                kept = kept[~seen]
            rows += len(kept)
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


def stretches(cells: int) -> Iterator[Indexes]:
    for index in range(-(-cells // CELLS_AT_ONCE)):
        yield _stretch(index, cells)


def _stretch(index: int, cells: int) -> Indexes:
    return np.arange(index * CELLS_AT_ONCE, min((index + 1) * CELLS_AT_ONCE, cells), dtype=np.int64)


class Namer:
    """Names the content of a segment's cells by 64 bits each: the same for the same picture in any segment."""

    def __init__(self, segment: Segment, silent: Silent) -> None:
        self._segment = segment
        self._silent = silent
        self._constant = np.uint64(0)
        self._stored: dict[int, Names] = {}
        self._counted: list[tuple[int, str, Column]] = []
        with np.errstate(over="ignore"):
            for name in SENT:
                self._add(name)

    def _add(self, name: str) -> None:
        found = self._segment.column(name)
        number = None if found is None else found[0]
        if found is None:
            number, names = _unsaid(self._segment, name, self._silent)
        elif number is not None and isinstance(found[1], Counted):
            self._counted.append((number, name, found[1]))
            return
        else:
            names = _sent(found[1], name, np.arange(len(found[1])), self._silent)
        if number is None:
            self._constant += names[0]
        else:
            self._stored[number] = self._stored.get(number, np.uint64(0)) + names

    def names(self, cells: Indexes) -> Names:
        places = self._segment.places(cells)
        texts, _ = self._segment.texts(places)
        total = names_of(texts, 0) + self._constant
        for number, names in self._stored.items():
            total += names[places[number]]
        for number, name, column in self._counted:
            total += _sent(column, name, places[number], self._silent)
        return total


def _unsaid(segment: Segment, name: str, silent: Silent) -> tuple[int | None, Names]:
    """A parameter that the segment does not give: what its model gets, or each of its models."""
    models = segment.column("model")
    if models is None or name == "model":
        return None, names_of(_array([silent.value(name, None)], name), _SALT[name])
    number, column = models
    values = [silent.value(name, model) for model in column.take(np.arange(len(column))).to_pylist()]
    return number, names_of(_array(values, name), _SALT[name])


def _array(values: Sequence[object], name: str) -> pa.Array:
    return pa.array(values, type_of(name))


def _sent(column: Column, name: str, places: Indexes, silent: Silent) -> Names:
    taken = column.take(places)
    if taken.null_count and name == "model":
        taken = taken.fill_null(silent.value(name, None))
    if name in REFERENCE_COLUMNS:
        taken = pa.array([silent.picture(place) for place in taken.to_pylist()], pa.string())
    return names_of(taken, _SALT[name])


def are_all_different(segments: Sequence[Segment], silent: Silent) -> bool:
    """Whether no two cells can ask for the same picture, as far as it shows without looking at them."""
    if len(segments) * (len(segments) - 1) // 2 > PAIRS_MAX:
        return False
    return all(_cells_differ(segment, silent) for segment in segments) and all(
        _differ(one, other, silent) for one, other in combinations(segments, 2)
    )


def _cells_differ(segment: Segment, silent: Silent) -> bool:
    """Other places on any axis are other values: of parameters, or of variables that the prompt tells apart."""
    return segment.prompts.tells_apart() and all(
        _places_differ(group, segment.prompts.variables, silent) for group in segment.groups if group.size > 1
    )


def _places_differ(group: Group, variables: frozenset[str], silent: Silent) -> bool:
    telling = {name: column for name, column in group.columns.items() if name in _SALT or name in variables}
    if any(isinstance(column, Counted) for column in telling.values()):
        return True
    places = np.arange(group.size)
    total = np.zeros(group.size, np.uint64)
    for index, (name, column) in enumerate(telling.items(), len(_SALT) + 1):
        total += _sent(column, name, places, silent) if name in _SALT else names_of(column.texts(places), index)
    return len(np.unique(total)) == group.size


def _differ(one: Segment, other: Segment, silent: Silent) -> bool:
    """Whether some parameter has no value in common."""
    for name in SENT:
        mine, theirs = (_values_of(segment, name, silent) for segment in (one, other))
        if mine is not None and theirs is not None and not len(np.intersect1d(mine, theirs)):
            return True
    return False


def _values_of(segment: Segment, name: str, silent: Silent) -> Names | None:
    found = segment.column(name)
    if found is None:
        return _unsaid(segment, name, silent)[1]
    if len(found[1]) > COMPARED_MAX:
        return None
    return _sent(found[1], name, np.arange(len(found[1])), silent)
