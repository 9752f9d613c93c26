"""What is kept in memory of every row: where its key lies, and its value of each column that has few.

Some thirty bytes a picture, part by part: a part never changes, so what was seen is not read again when others come.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from fluxbatch.dataset.header import Part
from fluxbatch.query import Numbers, Rows
from fluxbatch.report.gallery import AXIS_VALUES_MAX, MEASURED, UNSAID, Axis, axis_of, text_of
from fluxbatch.view.question import named

KEY, SIZE, CHECK = "key", "size", "check"
KEY_DIGITS = 64
SOUND = "ok"
_START_DIGITS = 16
"""Of a key are kept in memory; the row that they lead to says whether it is the one."""

Codes: TypeAlias = np.ndarray[tuple[int], np.dtype[np.int16]]
Starts: TypeAlias = np.ndarray[tuple[int], np.dtype[np.uint64]]
Shared: TypeAlias = Mapping[str, tuple[tuple[str, ...], Codes]]
"""By column: its values, and of each row which of them it has (-1: none)."""


@dataclass(frozen=True, slots=True)
class PartSeen:
    """A part's rows: the starts of their keys, None where the part cannot be read, and its columns with few values."""

    part: Part
    keys: Starts | None
    shared: Shared


@dataclass(frozen=True, slots=True)
class Seen:
    """All rows, as they are numbered in the dataset's order."""

    count: int
    axes: tuple[Axis, ...]
    codes: Mapping[str, Codes]
    """By axis: of each row, which of the axis's values it has (-1: none)."""
    suspects: int
    starts: Starts
    """The keys' starts, sorted; `numbers` says whose each is."""
    numbers: Numbers

    def axis(self, name: str) -> Axis | None:
        """By its name as addresses have it."""
        return next((axis for axis in self.axes if named(axis.name) == name), None)

    def starting(self, key: str) -> list[int]:
        """The rows whose key (64 hex digits) may be this one: mostly one, or none."""
        start = np.uint64(int(key[:_START_DIGITS], 16))
        first, behind = np.searchsorted(self.starts, start, "left"), np.searchsorted(self.starts, start, "right")
        return [int(number) for number in self.numbers[first:behind]]


def candidates(rows: Rows) -> tuple[str, ...]:
    """The columns that may be axes: those that somebody asked for."""
    where = {rows.part_column, rows.place_column}
    return tuple(name for name in rows.schema.names if name not in MEASURED | UNSAID | where)


def see(rows: Rows, part: Part, first: int, columns: Sequence[str]) -> PartSeen:
    """Read one part, whose first row has the number `first`. Damaged and StorageError when it cannot be read."""
    wanted = list(dict.fromkeys([*columns, "width", "height", KEY]))
    table = pa.Table.from_batches(rows.read(wanted, limit=part.rows, offset=first), rows_schema(rows, wanted))
    keys = np.array([int(key[:_START_DIGITS], 16) for key in table.column(KEY).to_pylist()], np.uint64)
    sizes = zip(table.column("width").to_pylist(), table.column("height").to_pylist(), strict=True)
    found = {name: _coded(table.column(name)) for name in columns}
    found[SIZE] = _encoded([f"{width}x{height}" for width, height in sizes])
    return PartSeen(part, keys, {name: one for name, one in found.items() if one is not None})


def unreadable(part: Part) -> PartSeen:
    return PartSeen(part, None, {})


def rows_schema(rows: Rows, columns: Iterable[str]) -> pa.Schema:
    return pa.schema([rows.schema.field(name) for name in columns])


def _coded(column: pa.ChunkedArray) -> tuple[tuple[str, ...], Codes] | None:
    """A column with few values; None for another one."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_nested(column.type):
        return _encoded([text_of(value) if value else None for value in column.to_pylist()])
    found = column.combine_chunks().dictionary_encode()
    if len(found.dictionary) > AXIS_VALUES_MAX:
        return None
    texts = tuple(map(text_of, found.dictionary.to_pylist()))
    return texts, found.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int16)


def _encoded(texts: Sequence[str | None]) -> tuple[tuple[str, ...], Codes] | None:
    places: dict[str, int] = {}
    codes = [-1 if text is None else places.setdefault(text, len(places)) for text in texts]
    return (tuple(places), np.array(codes, np.int16)) if len(places) <= AXIS_VALUES_MAX else None


def together(parts: Sequence[PartSeen]) -> Seen:
    """The parts' rows as one. Pure."""
    count = sum(one.part.rows for one in parts)
    firsts = accumulate((one.part.rows for one in parts), initial=0)
    known = [(one.keys, first) for one, first in zip(parts, firsts, strict=False) if one.keys is not None]
    starts = np.concatenate([np.empty(0, np.uint64), *(keys for keys, _ in known)])
    numbers = np.concatenate([np.empty(0, np.int64), *(first + np.arange(len(keys)) for keys, first in known)])
    at = np.argsort(starts, kind="stable")
    axes = dict(_axes(parts, count))
    suspects = sum(_suspects(one.shared) for one in parts)
    return Seen(count, tuple(axes), {axis.name: axes[axis] for axis in axes}, suspects, starts[at], numbers[at])


def _suspects(shared: Shared) -> int:
    """How many rows of a part did not pass their check."""
    if CHECK not in shared:
        return 0
    values, codes = shared[CHECK]
    wrong = [code for code, value in enumerate(values) if value != SOUND]
    return int(np.isin(codes, wrong).sum())


def _axes(parts: Sequence[PartSeen], count: int) -> Iterator[tuple[Axis, Codes]]:
    """Each axis with its codes. A part that cannot be read has none of any."""
    readable = [one for one in parts if one.keys is not None]
    names = dict.fromkeys(name for one in readable for name in one.shared)
    for name in _in_order([name for name in names if all(name in one.shared for one in readable)]):
        values = dict.fromkeys(value for one in readable for value in one.shared[name][0] if value)
        axis = axis_of(name, values, count)
        if axis is not None:
            yield axis, np.concatenate([_as_in(axis, one, name) for one in parts])


def _in_order(names: list[str]) -> list[str]:
    """The size stands where the steps are, as it does on the report."""
    if SIZE in names and "steps" in names:
        names.remove(SIZE)
        names.insert(names.index("steps"), SIZE)
    return names


def _as_in(axis: Axis, one: PartSeen, name: str) -> Codes:
    """The codes of a part, by the axis's values."""
    if one.keys is None:
        return np.full(one.part.rows, -1, np.int16)
    places = {value: place for place, value in enumerate(axis.values)}
    values, codes = one.shared[name]
    table = np.array([*(places.get(value, -1) for value in values), -1], np.int16)
    return table[codes]
