"""What is kept in memory of every row: its key, and its value of each column that has few.

Some sixty bytes a picture, part by part: a part never changes, so what was seen is not read again when others come.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from fluxbatch.dataset.header import Part
from fluxbatch.dataset.place import Place
from fluxbatch.dataset.quarantine import Damaged
from fluxbatch.query import Numbers, Rows
from fluxbatch.report.gallery import AXIS_VALUES_MAX, MEASURED, UNSAID, Axis, axis_of, text_of
from fluxbatch.view.question import named

KEY, SIZE, CHECK = "key", "size", "check"
KEY_DIGITS, KEY_BYTES = 64, 32
SOUND = "ok"
Codes: TypeAlias = np.ndarray[tuple[int], np.dtype[np.int16]]
Keys: TypeAlias = np.ndarray[tuple[int, int], np.dtype[np.uint8]]
"""A line of 32 bytes each: their 64 hex digits."""
Shared: TypeAlias = Mapping[str, tuple[tuple[str, ...], Codes]]
"""By column: its values, and of each row which of them it has (-1: none)."""


@dataclass(frozen=True, slots=True)
class PartSeen:
    """A part's rows: their keys, None where the part cannot be read, and its columns with few values."""

    part: Part
    keys: Keys | None
    shared: Shared


@dataclass(frozen=True, slots=True)
class Seen:
    """All rows, as they are numbered in the dataset's order."""

    count: int
    axes: tuple[Axis, ...]
    codes: Mapping[str, Codes]
    """By axis: of each row, which of the axis's values it has (-1: none)."""
    suspects: int
    keys: Keys
    """Zeros for a row that cannot be read."""
    order: Numbers
    """The rows, sorted by the first eight bytes of their keys."""

    def axis(self, name: str) -> Axis | None:
        """By its name as addresses have it."""
        return next((axis for axis in self.axes if named(axis.name) == name), None)

    def number_of(self, key: str) -> int | None:
        """The row with this key (64 hex digits), if there is one."""
        wanted = bytes.fromhex(key)
        start = np.frombuffer(wanted, ">u8")[0]
        first, behind = (
            np.searchsorted(_starts(self.keys), start, side, sorter=self.order) for side in ("left", "right")
        )
        found = (int(number) for number in self.order[first:behind])
        return next((number for number in found if self.keys[number].tobytes() == wanted), None)

    def key_of(self, number: int) -> str | None:
        """None for a row that cannot be read."""
        return self.keys[number].tobytes().hex() if self.keys[number].any() else None


def candidates(rows: Rows) -> tuple[str, ...]:
    """The columns that may be axes: those that somebody asked for."""
    where = {rows.part_column, rows.place_column}
    return tuple(name for name in rows.schema.names if name not in MEASURED | UNSAID | where)


def see(rows: Rows, part: Part, first: int, columns: Sequence[str]) -> PartSeen:
    """Read one part, whose first row has the number `first`. Damaged and StorageError when it cannot be read."""
    wanted = list(dict.fromkeys([*columns, "width", "height", KEY]))
    table = pa.Table.from_batches(rows.read(wanted, limit=part.rows, offset=first), rows_schema(rows, wanted))
    keys = _keys(rows.dataset.path(part), table.column(KEY).to_pylist())
    sizes = zip(table.column("width").to_pylist(), table.column("height").to_pylist(), strict=True)
    found = {name: _coded(table.column(name)) for name in columns}
    found[SIZE] = _encoded([f"{width}x{height}" for width, height in sizes])
    return PartSeen(part, keys, {name: one for name, one in found.items() if one is not None})


def _keys(path: Place, keys: Sequence[str]) -> Keys:
    try:
        digests = bytes.fromhex("".join(keys))
    except ValueError as error:
        raise Damaged(f"{path}: has a key that is none") from error
    if {len(key) for key in keys} - {KEY_DIGITS}:
        raise Damaged(f"{path}: has a key that is none")
    return np.frombuffer(digests, np.uint8).reshape(-1, KEY_BYTES)


def _starts(keys: Keys) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """The first eight bytes of each, without a copy."""
    return np.ndarray((len(keys),), ">u8", keys, strides=(KEY_BYTES,))


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
    nothing = np.zeros((0, KEY_BYTES), np.uint8)
    gone = (np.zeros((one.part.rows, KEY_BYTES), np.uint8) if one.keys is None else one.keys for one in parts)
    keys = np.ascontiguousarray(np.concatenate([nothing, *gone]))
    axes = dict(_axes(parts, count))
    suspects = sum(_suspects(one.shared) for one in parts)
    return Seen(
        count,
        tuple(axes),
        {axis.name: axes[axis] for axis in axes},
        suspects,
        keys,
        np.argsort(_starts(keys), kind="stable"),
    )


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
