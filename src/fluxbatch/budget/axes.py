"""The axes of a manifest, found in its rows, and a place for each picture that samples all of them evenly. Pure.

An *axis* is a parameter or a column of the user's with at least two and at most 4,096 values; a *cell* is a value of
each. Columns that say the same
(zipped ones, a word and its number) are one axis. Where a column follows from another (the animal from the prompt that
names it), the finer one counts what the coarser ones leave open: its number among those with the same coarser values.

A picture with the numbers c1, c2, … on axes of the lengths m1, m2, … stands at the fraction

    c1 x u1 / m1 + c2 x u2 / m2 + …    (mod 1), each u without a common factor with its m,

so that along each axis, the others held, the places are exactly evenly spaced, and whatever stretch of places is
bought takes its share of every such line, to less than one picture: a rank-1 lattice (Korobov 1959), over the axes
instead of over the ordinal. The ordinal will not do: every k-th row, and multiples of the golden ratio as well, meet
axes whose lengths they resonate with. Where several cells share a fraction, a second such sum tells them apart; the
next picture of the same cell stands a golden section further on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from math import gcd, lcm
from operator import attrgetter

import pyarrow as pa

from fluxbatch.manifest.request import ImageRequest

VALUES_MAX = 4096
PLACES = 2**18
CELLS = 2**16
"""Of so many cells the pictures are counted; those of further ones stand side by side."""
GOLDEN = 0.6180339887498949
_NO_PARAMETERS = {"row", "id", "model", "width", "height", "references", "key", "own"}
_PARAMETERS = tuple(f.name for f in fields(ImageRequest) if f.name not in _NO_PARAMETERS)
_parameters = attrgetter(*_PARAMETERS)
_COLUMNS = ("model", "size", "references", *_PARAMETERS)


def columns_of(request: ImageRequest) -> tuple[str, ...]:
    """The names of what may be an axis: parameters first, then the user's own columns."""
    return _COLUMNS if request.own is None else (*_COLUMNS, *request.own.batch.schema.names)


def values_of(request: ImageRequest) -> list[object]:
    """The value of each, hashable."""
    references = tuple(reference.sha256 for reference in request.references)
    values = [request.model.id, (request.width, request.height), references, *_parameters(request)]
    if request.own is not None:
        index = request.own.index
        values += [_hashed(column[index]) for column in request.own.batch.columns]
    return values


def _hashed(value: pa.Scalar) -> int:
    return hash(value.value if isinstance(value, pa.DictionaryScalar) else value)  # a code means little by itself


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: its column, and the number of each value on it."""

    name: str
    column: int
    length: int
    numbers: dict[object, int]


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
            (axis.column, axis.numbers, _step(axis.length, index) * whole // axis.length, index * whole // axis.length)
            for index, axis in enumerate(axes.axes)
        ]
        self._met: dict[int, int] = {}

    def next(self, request: ImageRequest) -> int:
        """Where the picture stands, in 0 … 2**18 - 1."""
        values, whole = values_of(request), self._whole
        cell, first, second = [], 0, 0
        for column, numbers, weight, other in self._weights:
            number = numbers.get(values[column], 0)
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
        self._names: tuple[str, ...] = ()
        self._codes: list[dict[object, int]] = []
        self._first_seen: list[list[list[int]]] = []
        """By column and code: the codes of all columns in the row where it was seen first."""
        self._decides: list[set[int]] = []
        """By column: the columns whose value has followed from its value so far."""
        self._open: list[int] = []

    def see(self, request: ImageRequest) -> None:
        if not self._names:
            self._begin(columns_of(request))
        values = values_of(request)
        codes = [-1] * len(values)
        for column in self._open:
            known = self._codes[column]
            codes[column] = known.setdefault(values[column], len(known))
        for column in self._open:
            self._compare(column, codes)
        for column in [column for column in self._open if len(self._codes[column]) > VALUES_MAX]:
            self._open.remove(column)
            self._codes[column], self._first_seen[column] = {}, []

    def _begin(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._codes = [{} for _ in names]
        self._first_seen = [[] for _ in names]
        self._decides = [set(range(len(names))) - {column} for column in range(len(names))]
        self._open = list(range(len(names)))

    def _compare(self, column: int, codes: list[int]) -> None:
        seen, code = self._first_seen[column], codes[column]
        if code == len(seen):
            seen.append(codes)
            return
        first = seen[code]
        if self._decides[column] and first != codes:
            self._decides[column] = {other for other in self._decides[column] if first[other] == codes[other]}

    def axes(self) -> Axes:
        """The axes, coarse ones first."""
        found: list[Axis] = []
        usable = [column for column in self._open if len(self._codes[column]) > 1]
        for column in sorted(usable, key=lambda column: (len(self._codes[column]), column)):
            coarser = [axis.column for axis in found if axis.column in self._decides[column]]
            numbers = self._within(column, coarser)
            if max(numbers) > 0:
                by_value = dict(zip(self._codes[column], numbers, strict=True))
                found.append(Axis(self._names[column], column, max(numbers) + 1, by_value))
        return Axes(tuple(found))

    def _within(self, column: int, coarser: Iterable[int]) -> list[int]:
        """The number of each value among those with the same values of the coarser axes."""
        counts: dict[tuple[int, ...], int] = {}
        numbers = []
        for codes in self._first_seen[column]:
            group = tuple(codes[other] for other in coarser)
            numbers.append(counts.get(group, 0))
            counts[group] = numbers[-1] + 1
        return numbers
