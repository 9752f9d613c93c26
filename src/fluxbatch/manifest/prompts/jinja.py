"""The Jinja in a template: compiled once, rendered for each row."""

from __future__ import annotations

import re
import traceback
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from math import prod
from random import Random
from types import MappingProxyType

from jinja2 import Template, TemplateError, TemplateSyntaxError, UndefinedError, nodes
from jinja2.meta import find_undeclared_variables

from fluxbatch.manifest.prompts.parts import Jinja
from fluxbatch.manifest.prompts.sandbox import METER, PART, STEPS_COST, Bounded, Sandbox, TooMuch, Unprintable
from fluxbatch.manifest.prompts.tree import Node, Row, Scope
from fluxbatch.manifest.values import PROMPT_CHARACTERS_MAX, SHOWN_CHARACTERS_MAX, Unusable

MESSAGE_MAX = 200
_FORBIDDEN: Mapping[type[nodes.Node], str] = MappingProxyType(
    {
        nodes.Include: "include",
        nodes.Import: "import",
        nodes.FromImport: "import",
        nodes.Extends: "extends",
        nodes.Block: "block",
        nodes.CallBlock: "call",
        nodes.ScopedEvalContextModifier: "autoescape",
    }
)
_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "choice": "write {a|b}",
        "weighted_choice": "write {3::a|b}",
        "permutation": "write {2$$a|b|c}",
        "wildcard": "write __name__",
        "random": "write {a|b}; a sweep draws by chance with sample and a seed",
        "randint": "make it an axis of the sweep, or write {1|2|3}",
    }
)
"""Functions that dynamic prompts adds to Jinja, and what to write here."""

_NO_FILTER = re.compile(r"No filter named '(.*)'")
_UNDEFINED = re.compile(r"'(.*)' is undefined")
_BROKEN = (TemplateError, ArithmeticError, TypeError, ValueError, LookupError, AttributeError, RecursionError)
"""What a template's own code can raise when it is rendered."""


class Misunderstood(Exception):
    """Jinja that cannot be compiled; `line` counts within the source given. A frame knows the `piece` that is meant."""

    def __init__(self, line: int, problem: str, remedy: str, piece: Jinja | None = None) -> None:
        super().__init__(problem)
        self.line = line
        self.piece = piece
        self.problem = problem
        self.remedy = remedy


class Compiled:
    """A piece of Jinja, understood. `names` are the variables that it needs from outside."""

    def __init__(self, source: str, room: int = 0) -> None:
        env = _sandbox()
        try:
            tree = env.parse(source)
            _police(tree)
            self.names = frozenset(name for name in find_undeclared_variables(tree) if not name.startswith("_"))
            code = env.compile(Bounded().visit(tree), filename="<prompt>")
        except TemplateSyntaxError as error:
            raise Misunderstood(error.lineno, *_explained(error.message or "")) from None
        except (RecursionError, SyntaxError, ValueError, MemoryError, OverflowError):
            raise Misunderstood(
                1, "Jinja cannot make sense of this (too long or too deep)", "write it flatter"
            ) from None
        self._template = Template.from_code(env, code, env.globals)
        self._cost = len(source) + room

    def render(self, scope: Scope, part: object = None) -> str:
        """The text; raises what is in `_BROKEN`."""
        values = scope.values
        known = {name: values[name] for name in self.names if name in values}
        return self._template.render(known, **{METER: scope.meter, STEPS_COST: self._cost, PART: part})


@cache
def _sandbox() -> Sandbox:
    return Sandbox()


def _police(tree: nodes.Template) -> None:
    """Refuse what has no place in a prompt, before anything of it is run."""
    for node in tree.find_all(nodes.Node):
        word = _FORBIDDEN.get(type(node))
        if word:
            raise Misunderstood(node.lineno, f"{word} has no place in a prompt", "write the text itself")
        for name in _names_in(node):
            if name.startswith("_") and name != PART:
                raise Misunderstood(node.lineno, f"{name} begins with an underscore", "names begin with a letter")
        if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name in _ELSEWHERE:
            raise Misunderstood(node.lineno, f"{node.node.name}() is not supported", _ELSEWHERE[node.node.name])
        if isinstance(node, nodes.For) and node.recursive:
            raise Misunderstood(node.lineno, "a recursive loop has no place in a prompt", "loop over a list")


def _names_in(node: nodes.Node) -> Iterator[str]:
    """The names of variables and attributes that a node mentions."""
    if isinstance(node, nodes.Name | nodes.NSRef | nodes.Macro):
        yield node.name
    if isinstance(node, nodes.Getattr | nodes.NSRef):
        yield node.attr
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
        yield node.arg.value


def _explained(message: str) -> tuple[str, str]:
    no_filter = _NO_FILTER.search(message)
    if no_filter:
        remedy = f"take one of: {', '.join(sorted(_sandbox().filters))}; a choice is written in single braces, {{a|b}}"
        return f"Jinja has no filter {no_filter[1]} here", remedy
    if "unknown tag 'prompt'" in message:
        return "{% prompt %} is not supported", "make what is looped over an axis of the sweep, or choices, {a|b}"
    if "end of print statement" in message or "unexpected char" in message:
        return f"Jinja: {message.rstrip('.')}", r"mend the expression, or write \{\{ for the signs"
    return f"Jinja: {message.rstrip('.')}", "mend it, or write {% raw %} … {% endraw %} around text"


def unusable(error: BaseException, where: str) -> Unusable:
    """What went wrong in a row, as a problem and a remedy."""
    if isinstance(error, Unusable):
        return error
    message = str(error)
    undefined = _UNDEFINED.fullmatch(message)
    if isinstance(error, UndefinedError) and undefined:
        return Unusable(
            f"the prompt needs {undefined[1]}, which has no value", f"give the sweep an axis {undefined[1]}"
        )
    if isinstance(error, TooMuch):
        return Unusable(f"{where}: {message}", f"a prompt has at most {PROMPT_CHARACTERS_MAX} characters")
    if isinstance(error, Unprintable):
        return Unusable(f"{where}: {message}", "write an expression that gives a text or a number")
    if isinstance(error, RecursionError):
        return Unusable(f"{where}: it calls itself without end", "end it")
    return Unusable(
        f"{where}: {type(error).__name__}: {message[:MESSAGE_MAX]}", "mend the expression, or the row's values"
    )


def _cut(source: str) -> str:
    return source if len(source) <= SHOWN_CHARACTERS_MAX else f"{source[: SHOWN_CHARACTERS_MAX - 1]}…"


class Expression:
    """`{{ … }}` that is more than a name."""

    count = 1

    def __init__(self, jinja: Jinja) -> None:
        self._compiled = Compiled(jinja.whole)
        self._where = _cut(jinja.whole)
        self.names = self._compiled.names

    def text(self, choice: int, scope: Scope) -> str:
        try:
            return self._compiled.render(scope)
        except _BROKEN as error:
            raise unusable(error, self._where) from None

    def pick(self, rng: Random) -> int:
        return 0


class Frame:
    """A row of parts with Jinja statements among them: one Jinja template, which calls for the other parts by number.

    Each part sees the names as Jinja knows them where it stands (loop variables, what was set). It has one choice for
    the whole prompt: in a loop it is the same in every turn.
    """

    def __init__(self, pieces: Sequence[str | Jinja | Node]) -> None:
        parts = [piece for piece in pieces if not isinstance(piece, str | Jinja)]
        self._row = Row(parts)
        self._parts = parts
        self.count = prod(part.count for part in parts)
        source, self._lines = _framed(pieces)
        self.jinja = [piece for piece in pieces if isinstance(piece, Jinja)]
        for piece in self.jinja:
            if PART in piece.whole:
                raise Misunderstood(1, f"{PART} begins with an underscore", "names begin with a letter", piece)
        try:
            self._compiled = Compiled(source)
        except Misunderstood as error:
            raise Misunderstood(error.line, error.problem, error.remedy, self._piece(error.line)) from None
        self.names = self._compiled.names

    def _piece(self, line: int) -> Jinja:
        """The piece of Jinja that a line of the source belongs to."""
        return self.jinja[max(0, bisect_right(self._lines, line) - 1)]

    def text(self, choice: int, scope: Scope) -> str:
        digits = self._row.digits(choice)

        def part(number: int, names: Mapping[str, object]) -> str:
            inner = Scope(names, scope.decided)
            inner.meter = scope.meter
            return self._parts[number].text(digits[number], inner)

        try:
            return self._compiled.render(scope, part)
        except _BROKEN as error:
            raise unusable(error, self._whereabouts(error)) from None

    def _whereabouts(self, error: BaseException) -> str:
        lines = [
            frame.lineno or 1 for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<prompt>"
        ]
        return _cut(self._piece(lines[-1]).whole) if lines else "the prompt"

    def pick(self, rng: Random) -> int:
        return self._row.pick(rng)


def _framed(pieces: Sequence[str | Jinja | Node]) -> tuple[str, list[int]]:
    """The Jinja source of a frame, and the line on which each piece of Jinja stands in it.

    A line break within the marks changes nothing, and gives each piece a line of its own: so a complaint's line says
    which piece it means.
    """
    source: list[str] = []
    lines: list[int] = []
    line, number = 1, 0
    for piece in pieces:
        if isinstance(piece, str):
            text = piece.replace("{", '{{ "{" }}')
        elif isinstance(piece, Jinja):
            head = 3 if piece.whole[2:3] in ("-", "+") else 2
            text = f"{piece.whole[:head]}\n{piece.whole[head:]}"
            lines.append(line + 1)
        else:
            names = ", ".join(f'"{name}": {name}' for name in sorted(piece.names))
            text = f"{{{{ {PART}({number}, {{{names}}}) }}}}"
            number += 1
        source.append(text)
        line += text.count("\n")
    return "".join(source), lines
