"""The rows of a sweep by what their price depends on: counted in numbers, and one row of each kind is read in full.

So the price of ten million rows needs no row but one of each kind, and a value that a model refuses is found with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
import pyarrow as pa

from fluxbatch.manifest.columns import PARAMETERS, REFERENCE_COLUMNS
from fluxbatch.manifest.request import Complaint
from fluxbatch.manifest.rows import Asked, RowReader
from fluxbatch.manifest.sweep.columns import Column, Indexes, Names, mixed, names_of
from fluxbatch.manifest.sweep.segment import Segment
from fluxbatch.manifest.sweep.source import Sweep
from fluxbatch.manifest.values import Trouble

KINDS_MAX = 20_000
"""Of one block, before those values are left out that only show whether a model takes them."""

_CHECKED = ("guidance",)
_WHETHER = ("seed", "sample", "negative_prompt", *REFERENCE_COLUMNS)
"""It matters whether there is one, not which."""
_PRICED = tuple(name for name in PARAMETERS if name not in ("prompt", "id", *_CHECKED, *_WHETHER))


@dataclass(frozen=True, slots=True)
class Kind:
    """Rows that differ in nothing that matters here; what one of them asks for, or why it cannot be sent."""

    rows: int
    asked: Asked | None
    complaints: tuple[Complaint, ...] = ()


def kinds(sweep: Sweep, reader: RowReader, rows: Sequence[int] | None = None) -> Iterator[Kind]:
    """All rows of the sweep, or those with these numbers (from 1, ascending), by kind; `reader` is the manifest's."""
    names = [name for name in PARAMETERS if name in sweep.headers]
    for segment, counts in _counted(sweep, rows):
        for cell, count in counts.items():
            columns, troubles = sweep.columns(segment, np.array([cell], np.int64), names)
            read = tuple(troubles.values()) or reader.read([column[0].as_py() for column in columns])
            if isinstance(read, Asked):
                yield Kind(count, read)
            else:
                yield Kind(count, None, tuple(_complaint(sweep, segment, cell, trouble) for trouble in read))


def _complaint(sweep: Sweep, segment: Segment, cell: int, trouble: Trouble) -> Complaint:
    """The trouble, where the value stands that has it."""
    file, line = None, None
    found = segment.column(trouble.column or "")
    if found is not None:
        number, column = found
        places = segment.places(np.array([cell], np.int64))
        file, line = column.line(0 if number is None else int(places[number][0]))
    return Complaint(file or str(sweep.path), None, *trouble, line or segment.line)


def _counted(sweep: Sweep, rows: Sequence[int] | None) -> Iterator[tuple[Segment, dict[int, int]]]:
    """For each segment: one cell of each kind, and how many rows it stands for."""
    if rows is None and sweep.is_whole:
        for segment in sweep.segments:
            yield segment, _of_all(segment)
        return
    coded = {id(segment): _codes(segment) for segment in sweep.segments}
    found: dict[int, dict[int, tuple[int, int]]] = {id(segment): {} for segment in sweep.segments}
    for segment, cells in sweep.cells(rows):
        places = segment.places(cells)
        total = np.zeros(len(cells), np.int64)
        for number, (codes, size) in coded[id(segment)].items():
            total = total * size + codes[places[number]]
        kinds_met, first, counts = np.unique(total, return_index=True, return_counts=True)
        known = found[id(segment)]
        for kind, at, count in zip(kinds_met.tolist(), first.tolist(), counts.tolist(), strict=True):
            cell, so_far = known.get(kind, (int(cells[at]), 0))
            known[kind] = (cell, so_far + count)
    for segment in sweep.segments:
        yield segment, dict(found[id(segment)].values())


def _of_all(segment: Segment) -> dict[int, int]:
    """The same where every cell is a row: the kinds of the axes multiply."""
    axes = []
    for number, (codes, _) in _codes(segment).items():
        _, first, counts = np.unique(codes, return_index=True, return_counts=True)
        axes.append([(number, int(at), int(count)) for at, count in zip(first, counts, strict=True)])
    rest = segment.cells // prod(sum(count for _, _, count in axis) for axis in axes)
    found = {}
    for combination in product(*axes):
        places = [0] * len(segment.sizes)
        for number, at, _ in combination:
            places[number] = at
        found[segment.cell(places)] = rest * prod(count for _, _, count in combination)
    return found


def _codes(segment: Segment) -> dict[int, tuple[Indexes, int]]:
    """By axis: the kind of each of its places, and how many kinds there are. Axes of one kind are left out."""
    for checked in (_CHECKED, ()):
        found = {}
        for number, group in enumerate(segment.groups):
            _, codes = np.unique(_names(group.columns, group.size, checked), return_inverse=True)
            if (size := int(codes.max(initial=0)) + 1) > 1:
                found[number] = (codes.astype(np.int64), size)
        if prod(size for _, size in found.values()) <= KINDS_MAX:
            break
    return found


def _names(columns: dict[str, Column] | object, size: int, checked: Sequence[str]) -> Names:
    assert isinstance(columns, dict)
    total = np.zeros(size, np.uint64)
    places = np.arange(size)
    for salt, name in enumerate((*_PRICED, *_CHECKED, *_WHETHER), 1):
        if name not in columns or (name in _CHECKED and name not in checked):
            continue
        taken: pa.Array = columns[name].take(places)
        total += names_of(taken.is_null() if name in _WHETHER else taken, salt)
    return mixed(total)
