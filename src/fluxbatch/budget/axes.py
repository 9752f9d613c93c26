"""The axes of a manifest, found in its rows, and a place for each picture that samples all of them evenly. Pure.

An *axis* is a parameter or a column of the user's with at least two and at most 4,096 values; a *cell* is a value of
each. Columns that say the same (zipped ones, a word and its number) are one axis. Where a column follows from another
(the animal from the prompt that names it), the finer one counts what the coarser ones leave open: its number among
those with the same coarser values.

A picture with the numbers c1, c2, … on axes of the lengths m1, m2, … stands at the fraction

    c1 x u1 / m1 + c2 x u2 / m2 + …    (mod 1), each u without a common factor with its m,

so that along each axis, the others held, the places are exactly evenly spaced, and whatever stretch of places is
bought takes its share of every such line, to less than one picture: a rank-1 lattice (Korobov 1959), over the axes
instead of over the ordinal. The ordinal will not do: every k-th row, and multiples of the golden ratio as well, meet
axes whose lengths they resonate with. Where several cells share a fraction, a second such sum tells them apart; the
next picture of the same cell stands a golden section further on.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, fields
from functools import partial
from math import gcd, lcm
from operator import attrgetter

import pyarrow as pa

from fluxbatch.manifest.request import ImageRequest

VALUES_MAX = 4096
PLACES = 2**18
CELLS = 2**16
"""Of so many cells the pictures are counted; those of further ones stand side by side."""
GOLDEN = 0.6180339887498949
Value = Callable[[ImageRequest], Hashable]
"""Reads one column of a picture."""
_NO_PARAMETERS = {"row", "id", "model", "width", "height", "references", "key", "own"}
_PARAMETERS: dict[str, Value] = {
    "model": attrgetter("model.id"),
    "size": attrgetter("width", "height"),
    "references": lambda request: tuple(reference.sha256 for reference in request.references),
    **{f.name: attrgetter(f.name) for f in fields(ImageRequest) if f.name not in _NO_PARAMETERS},
}


def columns_of(request: ImageRequest) -> list[tuple[str, Value]]:
    """What may be an axis of a manifest with this picture: the parameters first, then the user's own columns."""
    own = () if request.own is None else request.own.batch.schema.names
    return [*_PARAMETERS.items(), *((name, partial(_own_value, index)) for index, name in enumerate(own))]


def _own_value(column: int, request: ImageRequest) -> int:
    assert request.own is not None
    value = request.own.batch.column(column)[request.own.index]
    return hash(value.value if isinstance(value, pa.DictionaryScalar) else value)  # a code means little by itself


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: its column, and the number of each value on it."""

    name: str
    value: Value
    length: int
    numbers: dict[Hashable, int]


def _step(length: int, index: int) -> int:
    """A number without a common factor with the length: another fraction of it for each axis, far from simple ones."""
    wanted = length * ((index + 1) * GOLDEN % 1.0)
    return min((n for n in range(1, length) if gcd(n, length) == 1), key=lambda n: abs(n - wanted))


@dataclass(frozen=True, slots=True)
class Axes:
    """All axes of a manifest, the coarse ones first."""

    axes: tuple[Axis, ...] = ()


class Places:
    """The places of a manifest's pictures. Each is asked for once, in the order of the manifest, due or not."""

    def __init__(self, axes: Axes) -> None:
        self._whole = whole = lcm(*(axis.length for axis in axes.axes))
        self._weights = [
            (axis.value, axis.numbers, _step(axis.length, index) * whole // axis.length, index * whole // axis.length)
            for index, axis in enumerate(axes.axes)
        ]
        self._met: dict[int, int] = {}

    def next(self, request: ImageRequest) -> int:
        """Where the picture stands, in 0 … 2**18 - 1."""
        cell, first, second, whole = [], 0, 0, self._whole
        for value, numbers, weight, other in self._weights:
            number = numbers.get(value(request), 0)
            cell.append(number)
            first += number * weight
            second += number * other
        mixed = hash(tuple(cell))
        before = self._met.get(mixed, 0)
        if before or len(self._met) < CELLS:
            self._met[mixed] = before + 1
        fraction = ((first % whole) * whole + second % whole) << 32 | mixed & 0xFFFFFFFF
        place = fraction * PLACES // (whole * whole << 32)
        return (place + int(before * GOLDEN * PLACES)) % PLACES


class Survey:
    """Finds the axes in one reading: `see` each picture, then ask for `axes`. Holds the values, never a row."""

    def __init__(self) -> None:
        self._columns: list[tuple[str, Value]] = []
        self._codes: list[dict[Hashable, int]] = []
        self._first_seen: list[list[list[int]]] = []
        """By column and code: the codes of all columns in the row where it was seen first."""
        self._decides: list[set[int]] = []
        """By column: the columns whose value has followed from its value so far."""
        self._open: list[int] = []
        self._constant: set[int] = set()
        """The columns with one value so far. They decide each other, which is noted when one gets its second value."""

    def see(self, request: ImageRequest) -> None:
        if not self._columns:
            self._begin(columns_of(request))
        codes = [-1] * len(self._columns)
        for column in self._open:
            known, value = self._codes[column], self._columns[column][1](request)
            codes[column] = known.setdefault(value, len(known))
        for column in self._open:
            self._compare(column, codes)
        self._constant = {column for column in self._constant if not codes[column]}
        for column in [column for column in self._open if len(self._codes[column]) > VALUES_MAX]:
            self._open.remove(column)
            self._codes[column], self._first_seen[column] = {}, []

    def _begin(self, columns: list[tuple[str, Value]]) -> None:
        self._columns = columns
        count = len(columns)
        self._codes = [{} for _ in range(count)]
        self._first_seen = [[] for _ in range(count)]
        self._decides = [set() for _ in range(count)]
        self._open = list(range(count))
        self._constant = set(self._open)

    def _compare(self, column: int, codes: list[int]) -> None:
        seen, code = self._first_seen[column], codes[column]
        if code == len(seen):
            if code == 1:
                self._decides[column] = self._constant - {column}
            seen.append(codes)
            return
        decided = self._decides[column]
        if decided and seen[code] != codes:
            first = seen[code]
            self._decides[column] = {other for other in decided if first[other] == codes[other]}

    def axes(self) -> Axes:
        """The axes, coarse ones first."""
        found: dict[int, Axis] = {}
        usable = [column for column in self._open if len(self._codes[column]) > 1]
        for column in sorted(usable, key=lambda column: (len(self._codes[column]), column)):
            numbers = self._within(column, [other for other in found if other in self._decides[column]])
            if max(numbers) > 0:
                by_value = dict(zip(self._codes[column], numbers, strict=True))
                found[column] = Axis(*self._columns[column], max(numbers) + 1, by_value)
        return Axes(tuple(found.values()))

    def _within(self, column: int, coarser: Iterable[int]) -> list[int]:
        """The number of each value among those with the same values of the coarser axes."""
        counts: dict[tuple[int, ...], int] = {}
        numbers = []
        for codes in self._first_seen[column]:
            group = tuple(codes[other] for other in coarser)
            numbers.append(counts.get(group, 0))
            counts[group] = numbers[-1] + 1
        return numbers
