"""A template as a tree whose every leaf-to-root choice is one number: counted exactly, reached without enumerating.

Each node has `count` prompts, numbered from 0. A sequence numbers them like nested loops in reading order: its last
choice varies fastest. The tree does not depend on the variables' values, which are put in as text.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import prod
from random import Random
from typing import Protocol

from jinja2 import Undefined

from fluxbatch.manifest.prompts.arrangements import Arrangements
from fluxbatch.manifest.prompts.sandbox import ATOMS, Meter, described
from fluxbatch.manifest.values import Unusable

_MISSING = object()


class Scope:
    """What one rendering knows: the row's values, what variables were decided, what may still be made."""

    __slots__ = ("decided", "meter", "values")

    def __init__(self, values: Mapping[str, object], decided: dict[int, str] | None = None) -> None:
        self.values = values
        self.decided: dict[int, str] = {} if decided is None else decided
        self.meter = Meter()


class Node(Protocol):
    """A part of a template. `names` are the variables that it needs."""

    @property
    def count(self) -> int: ...
    @property
    def names(self) -> frozenset[str]: ...
    def text(self, choice: int, scope: Scope) -> str:
        """The text with this number, 0 <= choice < count."""

    def pick(self, rng: Random) -> int:
        """A number by chance, honouring weights."""


class Literal:
    count = 1
    names: frozenset[str] = frozenset()

    def __init__(self, text: str) -> None:
        self.literal = text

    def text(self, choice: int, scope: Scope) -> str:
        return self.literal

    def pick(self, rng: Random) -> int:
        return 0


class Name:
    """`{{ name }}`."""

    count = 1

    def __init__(self, name: str) -> None:
        self.name = name
        self.names = frozenset((name,))

    def text(self, choice: int, scope: Scope) -> str:
        text = named(self.name, scope.values)
        scope.meter.spend(len(text))
        return text

    def pick(self, rng: Random) -> int:
        return 0


def named(name: str, values: Mapping[str, object]) -> str:
    """A variable's value as text. Unusable if there is none, or it is none."""
    value = values.get(name, _MISSING)
    if type(value) is str:
        return value
    if value is _MISSING or isinstance(value, Undefined):
        raise Unusable(f"the prompt needs {name}, which has no value", f"give the sweep an axis {name}")
    if value is None:
        remedy = f"give it one, or write {{{{ {name} or '' }}}} where it may be missing"
        raise Unusable(f"{name} has no value in this row", remedy)
    if isinstance(value, bool):
        remedy = f"quote it in YAML, or write {{{{ 'this' if {name} else 'that' }}}}"
        raise Unusable(f"{name} is {str(value).lower()}, no text", remedy)
    if isinstance(value, list | tuple | dict):
        raise Unusable(
            f"{name} is {described(value)}, no text", f"write {{{{ {name} | join(', ') }}}}, or take an item of it"
        )
    if not isinstance(value, ATOMS):
        raise Unusable(f"{name} is {described(value)}, no text", "give it a text or a number")
    return str(value)


class Row:
    """Parts one after the other."""

    def __init__(self, parts: Sequence[Node]) -> None:
        self.parts = tuple(parts)
        self.count = prod(part.count for part in self.parts)
        self.names = frozenset[str]().union(*(part.names for part in self.parts))
        # How many prompts there are to each text of a part: the product of what comes after it.
        after = accumulate((part.count for part in reversed(self.parts[1:])), lambda a, b: a * b, initial=1)
        self._strides = tuple(reversed(tuple(after)))[: len(self.parts)]

    def text(self, choice: int, scope: Scope) -> str:
        texts = []
        for part, stride in zip(self.parts, self._strides, strict=True):
            if part.count == 1:
                texts.append(part.text(0, scope))
            else:
                digit, choice = divmod(choice, stride)
                texts.append(part.text(digit, scope))
        text = "".join(texts)
        scope.meter.spend(len(text))
        return text

    def digits(self, choice: int) -> tuple[int, ...]:
        """The choice of each part."""
        pairs = zip(self.parts, self._strides, strict=True)
        return tuple(choice // stride % part.count for part, stride in pairs)

    def pick(self, rng: Random) -> int:
        return sum(part.pick(rng) * stride for part, stride in zip(self.parts, self._strides, strict=True))


Option = str | Node
"""An option of a choice: plain text, or a node."""


def count_of(option: Option) -> int:
    return 1 if isinstance(option, str) else option.count


def _text_of(option: Option, form: int, scope: Scope) -> str:
    return option if isinstance(option, str) else option.text(form, scope)


def _names_of(options: Sequence[Option]) -> frozenset[str]:
    return frozenset[str]().union(*(option.names for option in options if not isinstance(option, str)))


class OneOf:
    """One of several options; `weights` are for chance only (None: all alike)."""

    def __init__(self, options: Sequence[Option], weights: Sequence[float] | None) -> None:
        self._options = options
        self._weights = None if weights is None else tuple(accumulate(weights))
        self.names = _names_of(options)
        if all(isinstance(option, str) for option in options):
            self._starts: Sequence[int] | None = None
            self.count = len(options)
        else:
            ends = tuple(accumulate(count_of(option) for option in options))
            self._starts = (0, *ends[:-1])
            self.count = ends[-1]

    def text(self, choice: int, scope: Scope) -> str:
        if self._starts is None:
            return _text_of(self._options[choice], 0, scope)
        index = bisect_right(self._starts, choice) - 1
        return _text_of(self._options[index], choice - self._starts[index], scope)

    def pick(self, rng: Random) -> int:
        if self._weights is None:
            index = rng.randrange(len(self._options))
        else:
            index = rng.choices(range(len(self._options)), cum_weights=self._weights)[0]
        option = self._options[index]
        start = index if self._starts is None else self._starts[index]
        return start if isinstance(option, str) else start + option.pick(rng)


class SomeOf:
    """Some of several options, in any order, with a separator between; none twice."""

    def __init__(
        self, options: Sequence[Option], weights: Sequence[float] | None, low: int, high: int, separator: str
    ) -> None:
        self._options = options
        self._weights = weights
        self._separator = separator
        self._arrangements = Arrangements([count_of(option) for option in options], low, high)
        self.count = self._arrangements.total
        self.names = _names_of(options)

    def text(self, choice: int, scope: Scope) -> str:
        places = self._arrangements.at(choice)
        return self._separator.join(_text_of(self._options[item], form, scope) for item, form in places)

    def pick(self, rng: Random) -> int:
        size = rng.randint(self._arrangements.low, self._arrangements.high)
        places = []
        for item in self._items(size, rng):
            option = self._options[item]
            places.append((item, 0 if isinstance(option, str) else option.pick(rng)))
        return self._arrangements.number(places)

    def _items(self, size: int, rng: Random) -> Sequence[int]:
        if self._weights is None:
            return rng.sample(range(len(self._options)), size)
        left = list(range(len(self._options)))
        chosen: list[int] = []
        for _ in range(size):
            weights = [self._weights[item] for item in left]
            index = rng.choices(range(len(left)), weights)[0] if any(weights) else rng.randrange(len(left))
            chosen.append(left.pop(index))
        return chosen


class Decide:
    """`${name=!value}`: decides the value here, and puts out nothing."""

    def __init__(self, slot: int, value: Node) -> None:
        self._slot = slot
        self._value = value
        self.count = value.count
        self.names = value.names

    def text(self, choice: int, scope: Scope) -> str:
        scope.decided[self._slot] = self._value.text(choice, scope)
        return ""

    def pick(self, rng: Random) -> int:
        return self._value.pick(rng)


class Decided:
    """`${name}` of a value that was decided before."""

    count = 1
    names: frozenset[str] = frozenset()

    def __init__(self, slot: int) -> None:
        self._slot = slot

    def text(self, choice: int, scope: Scope) -> str:
        text = scope.decided.get(self._slot)
        if text is None:
            problem = "a variable was used, but not set: its ${…=!…} stands in a part that this row leaves out"
            raise Unusable(problem, "set it before the {% if %}")
        scope.meter.spend(len(text))
        return text

    def pick(self, rng: Random) -> int:
        return 0
