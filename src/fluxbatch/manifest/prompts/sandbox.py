"""Jinja, with what a prompt needs and no way to anything else.

What a template may say is listed here, not what it may not: filters, methods and functions by name. It cannot load
another template, change a value, draw by chance, or reach Python's insides. It cannot make much either: every text made
on the way, every turn of a loop and every call of a macro is charged to a `Meter`, before the text is made where one
step could make a huge one (`"a" * 10**9`, `replace`, `join`). That bounds time as well, but for one thing: comparing
lists that contain themselves many times over may be slow.
"""

from __future__ import annotations

import operator
import re
import reprlib
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from decimal import Decimal
from types import BuiltinMethodType, MethodType
from typing import Any

from jinja2 import StrictUndefined, TemplateRuntimeError, Undefined, nodes, pass_context
from jinja2.filters import FILTERS
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from fluxbatch.manifest.values import PROMPT_CHARACTERS_MAX, SHOWN_CHARACTERS_MAX

CHARACTERS_MADE_MAX = 100 * PROMPT_CHARACTERS_MAX
"""How much text one rendering may make in all, also on the way."""

ITEMS_MAX = 100_000
NUMBER_BITS_MAX = 4_096
_STEP_COST = 1_000

METER, STEPS_COST, PART, CONCAT, STEPS = "_meter", "_steps_cost", "_part", "_concat", "_steps"
"""The names under which a template finds what is ours; a user's names do not begin with an underscore."""

ATOMS = (str, int, float, Decimal, date)
_FROM_JINJA = (
    "abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "int", "items", "last", "length",
    "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse", "select", "selectattr", "sort", "title",
    "trim", "truncate", "unique", "upper", "wordcount",
)  # fmt: skip
_TEXT_METHODS = frozenset(
    (
        "capitalize", "casefold", "count", "endswith", "find", "index", "isalnum", "isalpha", "isdigit", "islower",
        "isspace", "istitle", "isupper", "join", "lower", "lstrip", "partition", "removeprefix", "removesuffix",
        "replace", "rfind", "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip", "swapcase",
        "title", "upper",
    )
)  # fmt: skip
_METHODS: Mapping[type, frozenset[str]] = {
    str: _TEXT_METHODS,
    dict: frozenset({"get", "items", "keys", "values"}),
    list: frozenset({"count", "index"}),
    tuple: frozenset({"count", "index"}),
    LoopContext: frozenset({"cycle", "changed"}),
}
_WIDE = re.compile(r"[0-9]{4}|\*")


class TooMuch(TemplateRuntimeError):
    """A template makes more than a prompt can hold."""


class Unprintable(TemplateRuntimeError):
    """A value that has no one form as text."""


class Meter:
    """What one rendering may still make, in characters."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = CHARACTERS_MADE_MAX

    def spend(self, characters: int) -> None:
        self.left -= characters
        if self.left < 0:
            raise TooMuch("the template makes more text than a prompt can hold")


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = SHOWN_CHARACTERS_MAX
_SHORT.maxlevel = 2


def described(value: object) -> str:
    """A value in a message, never written out at length: a short list may stand for gigabytes."""
    return _SHORT.repr(value)


def printable(value: object) -> str:
    """A value as it stands in a prompt. Only what has one form as text is printed."""
    if type(value) is str:
        return value
    if isinstance(value, Undefined):
        return str(value)  # raises: it is a StrictUndefined
    if isinstance(value, bool):
        raise Unprintable(f"{str(value).lower()} is no text (quote yes, no, on and off in YAML to keep them as text)")
    if isinstance(value, ATOMS):
        return str(value)
    if value is None:
        raise Unprintable("there is nothing to print (null)")
    raise Unprintable(f"{described(value)} is no text")


def spent(context: Context, text: str) -> str:
    context.parent[METER].spend(len(text))
    return text


@pass_context
def _finalized(context: Context, value: object) -> str:
    return spent(context, printable(value))


def _bounded_text(length: int) -> None:
    if length > PROMPT_CHARACTERS_MAX:
        raise TooMuch(f"the template makes a text of {length} characters")


def _multiplied(left: Any, right: Any) -> Any:
    for many, times in ((left, right), (right, left)):
        if isinstance(many, str) and isinstance(times, int):
            _bounded_text(len(many) * max(times, 0))
        elif isinstance(many, list | tuple) and isinstance(times, int) and len(many) * times > ITEMS_MAX:
            raise TooMuch(f"the template makes a list of {len(many) * times} items")
    if isinstance(left, int) and isinstance(right, int):
        _bounded_number(left.bit_length() + right.bit_length())
    return operator.mul(left, right)


def _raised(left: Any, right: Any) -> Any:
    if isinstance(left, int) and isinstance(right, int):
        _bounded_number(left.bit_length() * abs(right))
    return operator.pow(left, right)


def _bounded_number(bits: int) -> None:
    if bits > NUMBER_BITS_MAX:
        raise TooMuch("the template makes a number of over a thousand digits")


def _added(left: Any, right: Any) -> Any:
    if isinstance(left, str) and isinstance(right, str):
        _bounded_text(len(left) + len(right))
    elif isinstance(left, list | tuple) and isinstance(right, list | tuple) and len(left) + len(right) > ITEMS_MAX:
        raise TooMuch(f"the template makes a list of {len(left) + len(right)} items")
    return operator.add(left, right)


def _filled(left: Any, right: Any) -> Any:
    """`%`: a remainder, or a format ("%02d" % n) whose widths are short and whose values are plain."""
    if not isinstance(left, str):
        return operator.mod(left, right)
    if _WIDE.search(left):
        raise TooMuch("a format has a width of over 999 characters")
    parts = right if isinstance(right, tuple) else (right,)
    for part in parts:
        printable(part)
    _bounded_text(len(left) + sum(len(printable(part)) for part in parts) + 1_000 * left.count("%"))
    return operator.mod(left, right)


_OPERATIONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "*": _multiplied,
    "**": _raised,
    "+": _added,
    "%": _filled,
}


def replaced(text: object, old: object, new: object, count: int = -1) -> str:
    """`replace`, measured before it is done."""
    text, old, new = printable(text), printable(old), printable(new)
    found = text.count(old)
    _bounded_text(len(text) + max(0, len(new) - len(old)) * (found if count < 0 else min(found, count)))
    return text.replace(old, new, count)


def joined(parts: Iterable[object], between: object = "") -> str:
    """`join`, measured before it is done."""
    between = printable(between)
    texts, length = [], 0
    for part in parts:
        texts.append(printable(part))
        length += len(texts[-1]) + len(between)
        _bounded_text(length - len(between))
    return between.join(texts)


@pass_context
def _replace_filter(context: Context, text: object, old: object, new: object, count: int | None = None) -> str:
    return spent(context, replaced(text, old, new, -1 if count is None else count))


@pass_context
def _join_filter(context: Context, parts: Iterable[object], d: object = "") -> str:
    return spent(context, joined(parts, d))


@pass_context
def _string_filter(context: Context, value: object) -> str:
    return spent(context, printable(value))


def _sum_filter(numbers: Iterable[Any], start: int = 0) -> Any:
    total: Any = start
    for number in numbers:
        if not isinstance(number, int | float | Decimal):
            raise Unprintable(f"{described(number)} is no number to sum")
        total += number
    return total


def _round_filter(number: float, precision: int = 0) -> float:
    return round(number, max(-20, min(20, precision)))


def _format_filter(text: str, *values: object) -> Any:
    return _filled(text, values)


@pass_context
def _concat(context: Context, *parts: object) -> str:
    return spent(context, joined(parts))


@pass_context
def _steps(context: Context, items: Iterable[object]) -> Iterable[object]:
    meter, cost = context.parent[METER], _STEP_COST + context.parent[STEPS_COST]
    for item in items:
        meter.spend(cost)
        yield item


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment that templates are compiled in. Pure: no loader, no clock, no chance."""

    intercepted_binops = frozenset(_OPERATIONS)

    def __init__(self) -> None:
        # Constants are not folded: what they make would escape the meter.
        super().__init__(
            undefined=StrictUndefined, finalize=_finalized, optimized=False, trim_blocks=True, lstrip_blocks=True
        )
        self.filters = {name: FILTERS[name] for name in _FROM_JINJA}
        self.filters |= {"replace": _replace_filter, "join": _join_filter, "string": _string_filter}
        self.filters |= {"sum": _sum_filter, "format": _format_filter, "round": _round_filter}
        self.globals = {"range": self.globals["range"], "dict": dict, "namespace": Namespace}
        self._functions = (*self.globals.values(), _concat, _steps)
        self.globals |= {CONCAT: _concat, STEPS: _steps}

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """A value's items and public attributes; a method only where it may be called."""
        if isinstance(value, BuiltinMethodType | MethodType):
            allowed = next((names for kind, names in _METHODS.items() if isinstance(obj, kind)), frozenset[str]())
            return attr in allowed
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """`str.format` is not to be had at all: its widths can come from values."""

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        made = _OPERATIONS[operator](left, right)
        if isinstance(made, str | list | tuple):
            context.parent[METER].spend(len(made))
        return made

    # The names keep clear of a template's keyword arguments, as in the method that is overridden.
    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Call a function of ours, a macro, or a method of a text or a list that is listed above."""
        __context.parent[METER].spend(_STEP_COST + __context.parent[STEPS_COST])
        if isinstance(__obj, BuiltinMethodType) and isinstance(__obj.__self__, str):
            if __obj.__name__ == "replace":
                return replaced(__obj.__self__, *args, **kwargs)
            if __obj.__name__ == "join":
                return joined(args[0], __obj.__self__)
        known = isinstance(__obj, Macro | BuiltinMethodType | MethodType) or __obj in __self._functions
        if not known and __obj is not __context.parent.get(PART):
            raise Unprintable(f"{described(__obj)} is not to be called")
        return super().call(__context, __obj, *args, **kwargs)


class Bounded(NodeTransformer):
    """Rewrites a parsed template so that `~` and loops are charged to the meter."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 - named by Jinja
        self.generic_visit(node)
        return nodes.Call(nodes.Name(CONCAT, "load"), node.nodes, [], None, None, lineno=node.lineno)

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - named by Jinja
        self.generic_visit(node)
        node.iter = nodes.Call(nodes.Name(STEPS, "load"), [node.iter], [], None, None, lineno=node.lineno)
        return node
