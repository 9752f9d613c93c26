"""Which cells may ask for the same picture: as far as it shows in the axes, and else by 64 bits for each content."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import prod

import numpy as np
import pyarrow as pa

from fluxbatch.manifest.columns import PARAMETERS, REFERENCE_COLUMNS
from fluxbatch.manifest.sweep.columns import Column, Counted, Indexes, Names, names_of
from fluxbatch.manifest.sweep.load import type_of
from fluxbatch.manifest.sweep.scope import Group
from fluxbatch.manifest.sweep.segment import Mask, Segment

CONTENTS_AT_ONCE = 65_536
CONTENTS_MAX = 4_000_000
"""Combinations of those axes that leave it open whether two pictures differ; beyond, each cell is looked at."""
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
    _named: dict[tuple[str, str | None], np.uint64] = field(default_factory=dict)

    def name(self, parameter: str, model: str | None) -> np.uint64:
        """The 64 bits of what is sent; a sweep of a thousand small blocks asks for the same few again and again."""
        key = (parameter, model)
        if key not in self._named:
            value = pa.array([self.value(parameter, model)], type_of(parameter))
            self._named[key] = names_of(value, _SALT[parameter])[0]
        return self._named[key]


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

    def names(self, cells: Indexes) -> tuple[Names, list[int]]:
        """Their names; and which of them have no prompt, because it could not be rendered."""
        places = self._segment.places(cells)
        texts, troubles = self._segment.texts(places)
        total = names_of(texts, 0) + self._constant
        for number, names in self._stored.items():
            total += names[places[number]]
        for number, name, column in self._counted:
            total += _sent(column, name, places[number], self._silent)
        return total, list(troubles)


def _unsaid(segment: Segment, name: str, silent: Silent) -> tuple[int | None, Names]:
    """A parameter that the segment does not give: what its model gets, or each of its models."""
    models = segment.column("model")
    if models is None or name == "model":
        return None, np.array([silent.name(name, None)])
    number, column = models
    taken = column.take(np.arange(len(column))).to_pylist()
    return number, np.array([silent.name(name, model) for model in taken])


def _sent(column: Column, name: str, places: Indexes, silent: Silent) -> Names:
    taken = column.take(places)
    if taken.null_count and (default := silent.value(name, None)) is not None:
        taken = taken.fill_null(default)
    if name in REFERENCE_COLUMNS:
        taken = pa.array([silent.picture(place) for place in taken.to_pylist()], pa.string())
    return names_of(taken, _SALT[name])


class Suspects:
    """The cells of a segment of which another may ask for the same picture.

    An axis whose places are other parameters tells its cells apart. So only the combinations of the other axes (those
    of the prompt, mostly) are compared: a million seeds of a thousand prompts are a thousand contents.
    """

    def __init__(self, segment: Segment, silent: Silent, is_alone: bool) -> None:
        """`is_alone`: no other segment can ask for a picture of this one."""
        self.segment = segment
        self.namer = Namer(segment, silent)
        self._open = _open_axes(segment, silent)
        self._contents = prod(segment.sizes[number] for number in self._open)
        self.all = not is_alone or self._contents > CONTENTS_MAX
        self._mask: Mask = np.zeros(0, bool) if self.all else self._repeated()
        self.none = not self.all and not self._mask.any()

    def of(self, cells: Indexes) -> Mask:
        """Which of these cells are under suspicion."""
        if self.all:
            return np.ones(len(cells), bool)
        places = self.segment.places(cells)
        code = np.zeros(len(cells), np.int64)
        for number in self._open:
            code = code * self.segment.sizes[number] + places[number]
        return self._mask[code]

    def _repeated(self) -> Mask:
        names = np.zeros(self._contents, np.uint64)
        bad: list[int] = []
        for start in range(0, self._contents, CONTENTS_AT_ONCE):
            code = np.arange(start, min(start + CONTENTS_AT_ONCE, self._contents), dtype=np.int64)
            named, unrendered = self.namer.names(self._cells(code))
            names[code] = named
            bad += [start + index for index in unrendered]
        _, inverse, counts = np.unique(names, return_inverse=True, return_counts=True)
        repeated: Mask = counts[inverse] > 1
        repeated[bad] = False
        return repeated

    def _cells(self, code: Indexes) -> Indexes:
        """A cell for each content: on all other axes the first place."""
        places: list[Indexes] = [np.zeros(len(code), np.int64)] * len(self.segment.sizes)
        for number in reversed(self._open):
            code, places[number] = np.divmod(code, self.segment.sizes[number])
        return self.segment.cells_at(places)


def suspects_of(segments: Sequence[Segment], silent: Silent) -> list[Suspects | None]:
    """For each segment those of its cells that may be duplicates; None where there certainly are none."""
    count = len(segments)
    together: set[int] = set(range(count)) if count * (count - 1) // 2 > PAIRS_MAX else set()
    if not together:
        for one, other in combinations(range(count), 2):
            if not _differ(segments[one], segments[other], silent):
                together |= {one, other}
    found: list[Suspects | None] = []
    for number, segment in enumerate(segments):
        if number not in together and segment.prompts.tells_apart() and not _open_axes(segment, silent, told=True):
            found.append(None)
        else:
            suspects = Suspects(segment, silent, number not in together)
            found.append(None if suspects.none else suspects)
    return found


def _open_axes(segment: Segment, silent: Silent, told: bool = False) -> list[int]:
    """The axes whose places may be the same picture; `told`: even if the prompt tells its variables apart."""
    found = []
    for number, group in enumerate(segment.groups):
        variables = segment.prompts.variables if told else frozenset[str]()
        is_of_prompt = number in segment.prompts.group_numbers and not told
        if group.size > 1 and (is_of_prompt or not _places_differ(group, variables, silent)):
            found.append(number)
    return found if told else [*found, len(segment.groups)]


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
