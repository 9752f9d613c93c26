"""The prompts of one block: its templates over the values of its axes, many at a time.

A template whose places are plain variables is joined by Arrow, column by column; any other is rendered once for each
set of values that it depends on, and remembered.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fluxbatch.manifest.prompts import PromptTemplate
from fluxbatch.manifest.sweep.columns import Column, Counted, Indexes
from fluxbatch.manifest.sweep.spec import Draw
from fluxbatch.manifest.values import Trouble, Unusable

REMEMBERED_MAX = 65_536
DRAWS_PER_PROMPT = 50

_VARIABLE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_NOT_PLAIN = re.compile(r"[{}|$#%\\]|__")
_OF_NUMBERS = frozenset(string.digits + "-+.einfa")
_WHITESPACE = "".join(chr(code) for code in range(0x3001) if chr(code).isspace())


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the prompts that the templates give before the variables have values."""

    template: int
    number: int


class Prompts:
    """The templates of a block, its own axis of `size` choices, and the columns that they take values from."""

    def __init__(
        self,
        sources: Sequence[object],
        templates: Sequence[PromptTemplate],
        drawn: Draw | None,
        groups: Mapping[str, tuple[int, Column]],
        constants: Mapping[str, Column],
    ) -> None:
        self._templates = tuple(templates)
        counts = [template.count() for template in templates]
        self._ends = np.cumsum([0, *(min(count, 2**40) for count in counts)])
        self.offered = sum(counts)
        self._drawn = None if drawn is None or drawn.count >= self.offered else draw(templates, drawn)
        self.size = self.offered if self._drawn is None else len(self._drawn)
        self.variables: frozenset[str] = frozenset().union(*(template.variables for template in templates))
        self._columns = {name: groups[name] for name in sorted(self.variables & groups.keys())}
        self._constants = {name: constants[name].value(0) for name in self.variables & constants.keys() - groups.keys()}
        self._pieces = self._joinable(sources[0]) if len(templates) == 1 and self.size == 1 else None
        self._remembered: dict[tuple[int, ...], str | Trouble] = {}

    @property
    def group_numbers(self) -> frozenset[int]:
        """The axes that the prompts depend on, besides their own."""
        return frozenset(number for number, _ in self._columns.values())

    def texts(self, choices: Indexes, places: Sequence[Indexes]) -> tuple[pa.Array, dict[int, Trouble]]:
        """The prompt of each cell, from its choice and its place on each axis; and which could not be rendered."""
        if self._pieces is not None:
            return self._joined(self._pieces, places, len(choices)), {}
        parts = [choices, *(places[number] for number in sorted(self.group_numbers))]
        first, inverse = _distinct(parts)
        found = [self._rendered(int(cell), choices, places) for cell in first]
        bad = {index: text for index, text in enumerate(found) if isinstance(text, Trouble)}
        texts = pa.array(["" if isinstance(text, Trouble) else text for text in found], pa.string())
        troubles = {int(cell): bad[int(at)] for cell, at in enumerate(inverse) if int(at) in bad} if bad else {}
        return texts.take(pa.array(inverse)), troubles

    def choice(self, number: int) -> Choice:
        """Which template, and which of its prompts."""
        wanted = number if self._drawn is None else self._drawn[number]
        template = int(np.searchsorted(self._ends, wanted, side="right")) - 1
        return Choice(template, wanted - int(self._ends[template]))

    def tells_apart(self) -> bool:
        """Whether two cells that differ in the value of a variable certainly have different prompts.

        Read from the left: if no value can hold the text that follows it, the value ends where that text first stands.
        """
        if self._pieces is None:
            return self.size == 1 and not self.variables
        for (kind, part), (following, after) in pairwise(self._pieces):
            if kind == "variable" and (following == "variable" or not self._ends_before(part, after)):
                return False
        return True

    def _ends_before(self, name: str, text: str) -> bool:
        if name not in self._columns:
            return True  # a constant
        column = self._columns[name][1]
        if isinstance(column, Counted):
            return text[0] not in _OF_NUMBERS
        texts = column.texts(np.arange(len(column)))
        followed = pc.binary_join_element_wise(texts, text, "")
        return bool(pc.all(pc.equal(pc.find_substring(followed, text), pc.binary_length(texts))).as_py())

    def _rendered(self, cell: int, choices: Indexes, places: Sequence[Indexes]) -> str | Trouble:
        at = {name: int(places[number][cell]) for name, (number, _) in self._columns.items()}
        key = (int(choices[cell]), *at.values())
        if key not in self._remembered:
            if len(self._remembered) >= REMEMBERED_MAX:
                self._remembered.clear()
            self._remembered[key] = self._render(key[0], at)
        return self._remembered[key]

    def _render(self, number: int, at: Mapping[str, int]) -> str | Trouble:
        choice = self.choice(number)
        values = {name: self._columns[name][1].value(index) for name, index in at.items()}
        try:
            return self._templates[choice.template].render({**self._constants, **values}, choice.number)
        except Unusable as error:
            return error.trouble("prompt")

    def _joinable(self, source: object) -> tuple[tuple[str, str], ...] | None:
        """The template as texts and variables in turn, if it is nothing but those and joins to what it renders."""
        if not isinstance(source, str):
            return None
        parts = _VARIABLE.split(source.strip())
        if any(_NOT_PLAIN.search(text) for text in parts[::2]):
            return None
        pieces: list[tuple[str, str]] = []
        for index, part in enumerate(parts):
            if index % 2 and part in self._constants:
                part, index = str(self._constants[part]), 0
            kind = "variable" if index % 2 else "text"
            if kind == "text" and pieces and pieces[-1][0] == "text":
                pieces[-1] = ("text", pieces[-1][1] + part)
            elif part:
                pieces.append((kind, part))
        return tuple(pieces) if self._joins_as_rendered(tuple(pieces)) else None

    def _joins_as_rendered(self, pieces: tuple[tuple[str, str], ...]) -> bool:
        for end in (0, -1):
            at = {name: end % len(column) for name, (_, column) in self._columns.items()}
            places = [np.zeros(1, np.int64)] * (max(self.group_numbers, default=-1) + 1)
            for name, (number, _) in self._columns.items():
                places[number] = np.array([at[name]])
            if self._joined(pieces, places, 1)[0].as_py() != self._render(0, at):
                return False
        return True

    def _joined(self, pieces: Sequence[tuple[str, str]], places: Sequence[Indexes], count: int) -> pa.Array:
        parts: list[pa.Array | pa.Scalar] = []
        for kind, part in pieces:
            if kind == "text":
                parts.append(pa.scalar(part))
            else:
                number, column = self._columns[part]
                parts.append(column.texts(places[number]))
        if all(isinstance(part, pa.Scalar) for part in parts):
            return pa.repeat(pa.scalar("".join(part.as_py() for part in parts).strip()), count)
        joined = pc.binary_join_element_wise(*parts, "")
        if "variable" in (pieces[0][0], pieces[-1][0]):
            joined = pc.utf8_trim(joined, _WHITESPACE)
        return joined


def draw(templates: Sequence[PromptTemplate], drawn: Draw) -> tuple[int, ...]:
    """Different choices by chance, weights honoured, numbered over all templates. There are more than are drawn."""
    rng = Random(drawn.seed)
    counts = [template.count() for template in templates]
    starts = [sum(counts[:index]) for index in range(len(counts))]
    found: dict[int, None] = {}
    for _ in range(drawn.count * DRAWS_PER_PROMPT):
        if len(found) == drawn.count:
            break
        template = rng.choices(range(len(templates)), counts)[0]
        found[starts[template] + templates[template].pick(rng)] = None
    while len(found) < drawn.count:  # what is left has hardly any weight: now evenly
        found[rng.randrange(sum(counts))] = None
    return tuple(sorted(found))


def _distinct(parts: Sequence[Indexes]) -> tuple[Indexes, Indexes]:
    """The first cell of each set of values, and which of those each cell has."""
    code = np.zeros(len(parts[0]), np.int64)
    for part in parts:
        _, digits = np.unique(part, return_inverse=True)
        code = code * (int(digits.max(initial=0)) + 1) + digits
        _, code = np.unique(code, return_inverse=True)
    _, first, inverse = np.unique(code, return_index=True, return_inverse=True)
    return first.astype(np.int64), inverse.astype(np.int64)
