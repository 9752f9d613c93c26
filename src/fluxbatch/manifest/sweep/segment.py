"""One block (or one entry of `include`): its axes multiplied, each cell by its number, nothing held but the axes.

Cells count from 0 in mixed radix: the axes in the order of their names, the last one fastest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fluxbatch.manifest.sweep.columns import Column, Indexes
from fluxbatch.manifest.sweep.scope import Group
from fluxbatch.manifest.sweep.texts import Prompts
from fluxbatch.manifest.values import Trouble

Mask = NDArray[np.bool_]
PROMPT = "prompt"


@dataclass(frozen=True, slots=True)
class Exclusion:
    """One entry of `exclude` for this block: which places of which axes it means (all of them have to match)."""

    places: Mapping[int, Mask]
    line: int


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis as it is shown: its name and its number of values."""

    name: str
    size: int
    repeated: int = 0


class Segment:
    """A product of axes. `groups` are sorted by name; the prompts' own axis stands among them."""

    def __init__(
        self,
        groups: Sequence[Group],
        constants: Mapping[str, Column],
        prompts: Prompts,
        line: int,
        name: str | None = None,
        is_included: bool = False,
    ) -> None:
        self.groups = tuple(groups)
        self.constants = constants
        self.prompts = prompts
        self.line = line
        self.name = name
        self.is_included = is_included
        self.exclusions: tuple[Exclusion, ...] = ()
        sizes = [(group.name, index, group.size) for index, group in enumerate(groups)]
        order = sorted([*sizes, (PROMPT, len(groups), prompts.size)])
        self._strides = [0] * len(order)
        stride = 1
        for _, index, size in reversed(order):
            self._strides[index] = stride
            stride *= size
        self._sizes = [*(group.size for group in groups), prompts.size]
        self.cells = prod(self._sizes)
        self.axes = tuple(
            Axis(name, size, groups[index].repeated if index < len(groups) else 0)
            for name, index, size in order
            if name != PROMPT or size > 1
        )

    def places(self, cells: Indexes) -> list[Indexes]:
        """The place of each cell on each axis, in the order of `groups`; the last is the choice of the prompt."""
        return [cells // stride % size for stride, size in zip(self._strides, self._sizes, strict=True)]

    def cell(self, places: Sequence[int]) -> int:
        """The number of the cell at these places."""
        return sum(stride * place for stride, place in zip(self._strides, places, strict=True))

    @property
    def sizes(self) -> Sequence[int]:
        """How many places each axis has, in the order of `places`."""
        return self._sizes

    def excluded(self, cells: Indexes) -> Mask:
        """Which of these cells an entry of `exclude` takes away."""
        out: Mask = np.zeros(len(cells), bool)
        for entry in self.exclusions:
            matched: Mask = np.ones(len(cells), bool)
            for group, mask in entry.places.items():
                matched &= mask[cells // self._strides[group] % self._sizes[group]]
            out |= matched
        return out

    def column(self, name: str) -> tuple[int | None, Column] | None:
        """Where a name has its values: an axis' number (None for a constant) and the column."""
        for number, group in enumerate(self.groups):
            if name in group.columns:
                return number, group.columns[name]
        return (None, self.constants[name]) if name in self.constants else None

    def names(self) -> Iterator[str]:
        yield from self.constants
        for group in self.groups:
            yield from group.columns

    def take(self, name: str, places: Sequence[Indexes], kind: pa.DataType) -> pa.Array:
        """One column of these cells; null where the block is silent about the name."""
        count = len(places[-1])
        found = self.column(name)
        if found is None:
            return pa.nulls(count, kind)
        number, column = found
        if number is None:
            return pa.repeat(column.take(np.zeros(1, np.int64))[0].cast(kind), count)
        taken = column.take(places[number])
        return taken if taken.type == kind else taken.cast(kind)

    def texts(self, places: Sequence[Indexes]) -> tuple[pa.Array, dict[int, Trouble]]:
        return self.prompts.texts(places[-1], places)
