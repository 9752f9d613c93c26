"""The values of one name along an axis, kept as an Arrow array or as the numbers of a range: not as objects."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Indexes = NDArray[np.int64]
Names = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


class Column(Protocol):
    """The values of one name, in order; `type` is what they are in the dataset."""

    @property
    def type(self) -> pa.DataType: ...

    def __len__(self) -> int: ...

    def value(self, index: int) -> Any:
        """One value as Python has it: what a prompt is rendered with."""
        ...

    def take(self, indexes: Indexes) -> pa.Array:
        """The values at these places."""
        ...

    def texts(self, indexes: Indexes) -> pa.Array:
        """The values at these places as they stand in a prompt."""
        ...

    def find(self, value: object) -> Indexes:
        """Every place where this value stands. 2 and 2.0 are the same, "2" is another."""
        ...

    def line(self, index: int) -> tuple[str | None, int | None]:
        """Where the value was written: another file than the sweep, or None; and the line there."""
        ...


class Stored:
    """Values that were written somewhere, in place or in a file.

    `values` has their type; `objects` keeps what they were where that says more (2 among decimals stays 2 in a prompt).
    """

    def __init__(
        self,
        values: pa.Array,
        objects: Sequence[Any] | None = None,
        file: str | None = None,
        lines: Sequence[int | None] | NDArray[np.int64] | None = None,
    ) -> None:
        self.values = values
        self.file = file
        self._objects = objects
        self._lines = lines

    @property
    def type(self) -> pa.DataType:
        return self.values.type

    def __len__(self) -> int:
        return len(self.values)

    def value(self, index: int) -> Any:
        return self.values[index].as_py() if self._objects is None else self._objects[index]

    def take(self, indexes: Indexes) -> pa.Array:
        return self.values.take(pa.array(indexes))

    def texts(self, indexes: Indexes) -> pa.Array:
        return self._texts.take(pa.array(indexes))

    @cached_property
    def _texts(self) -> pa.Array:
        if self._objects is None and pa.types.is_string(self.type):
            return self.values
        return pa.array([str(self.value(index)) for index in range(len(self))], pa.string())

    def find(self, value: object) -> Indexes:
        if not _comparable(value, self.type):
            return np.zeros(0, np.int64)
        if value is None:
            return np.flatnonzero(self.values.is_null().to_numpy(zero_copy_only=False))
        same = pc.equal(self.values, pa.scalar(_number(value), _compared_as(value, self.type)))
        return np.flatnonzero(pc.fill_null(same, False).to_numpy(zero_copy_only=False))

    def line(self, index: int) -> tuple[str | None, int | None]:
        line = None if self._lines is None else self._lines[index]
        return self.file, None if line is None else int(line)

    def chosen(self, indexes: Indexes) -> Stored:
        """The same with these places only."""
        places = indexes.tolist()
        objects = None if self._objects is None else [self._objects[index] for index in places]
        lines = None if self._lines is None else np.array([self._lines[index] or 0 for index in places])
        return Stored(self.take(indexes), objects, self.file, lines)


class Counted:
    """A range: whole numbers, or decimals that are exact to the last digit written (3.3, never 3.3000000000000003)."""

    def __init__(self, first: int | Decimal, step: int | Decimal, count: int, line: int) -> None:
        self._places = max(0, *(-_exponent(part) for part in (first, step)))
        self._is_whole = isinstance(first, int) and isinstance(step, int)
        self._first, self._step = (int(Decimal(part).scaleb(self._places)) for part in (first, step))
        self._count = count
        self._line = line

    @property
    def type(self) -> pa.DataType:
        return pa.int64() if self._is_whole else pa.float64()

    def __len__(self) -> int:
        return self._count

    def value(self, index: int) -> Any:
        scaled = self._first + self._step * index
        return scaled if self._is_whole else float(Decimal(scaled).scaleb(-self._places))

    def take(self, indexes: Indexes) -> pa.Array:
        scaled = self._first + self._step * indexes
        # A quotient of two exact floats is rounded once, so it is the float nearest to the decimal.
        return pa.array(scaled if self._is_whole else scaled / float(10**self._places), self.type)

    def texts(self, indexes: Indexes) -> pa.Array:
        taken = self.take(indexes)
        if self._is_whole:
            return taken.cast(pa.string())
        return pa.array([str(value) for value in taken.to_pylist()], pa.string())

    def find(self, value: object) -> Indexes:
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            return np.zeros(0, np.int64)
        scaled = Decimal(repr(value) if isinstance(value, float) else value).scaleb(self._places)
        index, rest = divmod(scaled - self._first, self._step)
        return np.array([int(index)] if not rest and 0 <= index < self._count else [], np.int64)

    def line(self, index: int) -> tuple[str | None, int | None]:
        return None, self._line


def count_of(first: int | Decimal, last: int | Decimal, step: int | Decimal, exclusive: bool) -> int:
    """How many values a range has. The ends are in the right order."""
    whole, rest = divmod(Decimal(last) - Decimal(first), Decimal(step))
    return int(whole) + (0 if exclusive and not rest else 1)


def _exponent(number: int | Decimal) -> int:
    exponent = Decimal(number).normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    return min(0, exponent)


def _number(value: object) -> object:
    return float(value) if isinstance(value, Decimal) else value


def _comparable(value: object, kind: pa.DataType) -> bool:
    if value is None:
        return True
    if isinstance(value, bool):
        return bool(pa.types.is_boolean(kind))
    if isinstance(value, str):
        return bool(pa.types.is_string(kind))
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _compared_as(value: object, kind: pa.DataType) -> pa.DataType:
    return pa.float64() if isinstance(value, Decimal | float) else kind


def names_of(values: pa.Array, salt: int) -> Names:
    """64 bits for each value: equal for equal values under the same salt, also of different number types.

    Texts are named by Python's own hash, which differs from run to run: names are compared within one run only.
    """
    if pa.types.is_null(values.type):
        bits = np.zeros(len(values), np.uint64)
    elif pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        bits = np.fromiter(map(hash, values.to_pylist()), np.int64, len(values)).view(np.uint64)
    elif pa.types.is_floating(values.type):
        bits = (values.fill_null(np.nan).to_numpy(zero_copy_only=False) + 0.0).view(np.uint64)
    else:
        whole = values.cast(pa.int64())
        bits = whole.fill_null(0).to_numpy(zero_copy_only=False).view(np.uint64)
    salts = np.full(len(values), 2 * salt, np.uint64)
    if values.null_count:
        is_null = values.is_null().to_numpy(zero_copy_only=False)
        bits, salts = np.where(is_null, np.uint64(0), bits), np.where(is_null, np.uint64(2 * salt + 1), salts)
    return mixed(bits + salts * _GOLDEN)


def mixed(bits: Names) -> Names:
    """The finalizer of splitmix64 (Steele, Lea, Flood 2014): every bit of the input moves half of the output's."""
    bits = (bits ^ (bits >> np.uint64(30))) * _MIX_1
    bits = (bits ^ (bits >> np.uint64(27))) * _MIX_2
    return bits ^ (bits >> np.uint64(31))
