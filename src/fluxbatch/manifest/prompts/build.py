"""The parts of a template, with its wildcards and variables -> a tree that can be counted and rendered."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import count as counting

from fluxbatch.manifest.prompts.jinja import Compiled, Expression, Frame, Misunderstood
from fluxbatch.manifest.prompts.parts import Assign, Jinja, Option, Part, Text, Use, Variant, Wildcard
from fluxbatch.manifest.prompts.syntax import Parser
from fluxbatch.manifest.prompts.tree import Decide, Decided, Literal, Name, Node, OneOf, Row, SomeOf
from fluxbatch.manifest.prompts.tree import Option as Choice
from fluxbatch.manifest.prompts.trouble import TemplateTrouble, mark_at
from fluxbatch.manifest.prompts.wildcards import Unreadable, WildcardList, Wildcards

SOME_OF_MAX = 100
"""How many of a list may be taken at once."""

COUNT_BITS_MAX = 3_000
ENTRIES_MAX = 5_000_000
LEVELS_MAX = 64
TROUBLES_MAX = 1_000
_NAME = re.compile(r"\s*([A-Za-z][A-Za-z0-9_]*)\s*")
_WORDS = {"true", "false", "none", "True", "False", "None", "not", "if", "else", "and", "or", "in", "is", "loop"}
_SPECIAL = re.compile(r"[\\{}$#%\n]|__|//|/\*")

Known = Mapping[str, Node]
"""The variables of the dynamic-prompts syntax that are set, by name."""


class Builder:
    """Builds one template. What is wrong is added to `troubles`, with its place in the text."""

    def __init__(self, wildcards: Wildcards) -> None:
        self.troubles: list[TemplateTrouble] = []
        self._wildcards = wildcards
        self._slots = counting()
        self._built: dict[tuple[str, str, tuple[tuple[str, int], ...]], tuple[list[Choice], list[float] | None]] = {}
        self._kept: list[Node] = []
        self._reading: list[str] = []
        self._entries = 0

    def build(self, source: str) -> Node:
        """The tree of a template's text."""
        return _Text(self, source).build({})

    def _entry(self, wildcard: WildcardList, index: int, known: Known) -> Node:
        return _Text(self, wildcard.entries[index], *wildcard.where(index), near=wildcard.name).build(known)

    def next_slot(self) -> int:
        return next(self._slots)

    def lists(self, name: str, near: str, known: Known) -> tuple[list[Choice], list[float] | None]:
        """The options that a wildcard stands for, with their weights. Raises Unreadable."""
        key = (name, near.rpartition("/")[0], tuple(sorted((variable, id(node)) for variable, node in known.items())))
        if key not in self._built:
            self._kept.extend(known.values())  # so that no other node gets the id of one that is gone
            found = self._wildcards.find(name, near)
            options: list[Choice] = []
            weights: list[float] = []
            seen: set[str] = set()
            for wildcard in found:
                self._read(wildcard, known, options, weights, seen)
            if not any(weights):
                trouble = TemplateTrouble(
                    found[0].place, None, None, "every entry has the weight 0", "raise one of them"
                )
                raise Unreadable(trouble)
            self._built[key] = options, weights if len(set(weights)) > 1 else None
        return self._built[key]

    def _read(
        self, wildcard: WildcardList, known: Known, options: list[Choice], weights: list[float], seen: set[str]
    ) -> None:
        """Add a list's entries; an entry of two lists of a glob comes once."""
        if wildcard.name in self._reading:
            chain = " → ".join(f"__{name}__" for name in (*self._reading, wildcard.name))
            trouble = TemplateTrouble(wildcard.place, None, None, f"it includes itself: {chain}", "end the circle")
            raise Unreadable(trouble)
        if len(self._reading) >= LEVELS_MAX:
            problem = f"wildcards within wildcards, over {LEVELS_MAX} deep"
            raise Unreadable(TemplateTrouble(wildcard.place, None, None, problem, "write them flatter"))
        self._entries += len(wildcard.entries)
        if self._entries > ENTRIES_MAX:
            trouble = TemplateTrouble(wildcard.place, None, None, "the wildcards are too many", "take fewer of them")
            raise Unreadable(trouble)
        self._reading.append(wildcard.name)
        try:
            for index, entry in enumerate(wildcard.entries):
                if entry not in seen:
                    seen.add(entry)
                    weights.append(1.0 if wildcard.weights is None else wildcard.weights[index])
                    is_text = _SPECIAL.search(entry) is None
                    options.append(entry if is_text else self._entry(wildcard, index, known))
        finally:
            self._reading.pop()


class _Text:
    """One text, of the template or of a wildcard file: `place` and `line` say where it begins, `near` is the wildcard's
    name."""

    def __init__(self, builder: Builder, source: str, place: str = "", line: int = 1, near: str = "") -> None:
        self._builder = builder
        self._source = source
        self._place = place
        self._line = line
        self._near = near

    def build(self, known: Known) -> Node:
        parts = Parser(self._source, self._complain, jinja=not self._place).parse()
        return self._sequence(parts, dict(known))

    def _complain(self, offset: int, problem: str, remedy: str) -> None:
        mark = mark_at(self._source, offset)
        trouble = TemplateTrouble(self._place, self._line + mark.line - 1, mark.column, problem, remedy)
        if len(self._builder.troubles) < TROUBLES_MAX and trouble not in self._builder.troubles:
            self._builder.troubles.append(trouble)

    def _sequence(self, parts: Sequence[Part], known: dict[str, Node]) -> Node:
        """Parts in their order; a variable is known from where it is set to the end of these parts."""
        pieces: list[str | Jinja | Node] = []
        framed = any(isinstance(part, Jinja) and (part.is_statement or part.marked) for part in parts)
        for part in parts:
            if isinstance(part, Text):
                if pieces and isinstance(pieces[-1], str):
                    pieces[-1] += part.text
                else:
                    pieces.append(part.text)
            elif isinstance(part, Jinja):
                pieces.append(part if framed and self._is_sound(part) else self._expression(part))
            elif isinstance(part, Assign):
                pieces.extend(self._assigned(part, known))
            else:
                pieces.append(self._node(part, known))
        if framed:
            return self._frame(pieces)
        nodes = [
            Literal(piece) if isinstance(piece, str) else piece for piece in pieces if not isinstance(piece, Jinja)
        ]
        if not nodes:
            return Literal("")
        return nodes[0] if len(nodes) == 1 else Row(nodes)

    def _node(self, part: Variant | Wildcard | Use, known: dict[str, Node]) -> Node:
        if isinstance(part, Variant):
            return self._variant(part, known)
        if isinstance(part, Wildcard):
            options, weights = self._listed(part, known)
            return OneOf(options, weights) if options else Literal("")
        if part.name in known:
            return known[part.name]
        if part.default is not None:
            return self._sequence(part.default, dict(known))
        remedy = f"write {{{{ {part.name} }}}} for a variable of the sweep, or set it first, ${{{part.name}=…}}"
        self._complain(part.offset, f"${{{part.name}}} is not set", remedy)
        return Literal("")

    def _is_sound(self, part: Jinja) -> bool:
        """Whether an expression in a frame can be compiled by itself; then the frame's own complaint is enough."""
        return part.is_statement or self._compiled(part)

    def _compiled(self, part: Jinja) -> bool:
        try:
            Compiled(part.whole)
        except Misunderstood as error:
            self._complain(part.offset, error.problem, error.remedy)
            return False
        return True

    def _expression(self, part: Jinja) -> Node:
        name = _NAME.fullmatch(part.text)
        if name and name[1] not in _WORDS:
            return Name(name[1])
        try:
            return Expression(part)
        except Misunderstood as error:
            self._complain(part.offset, error.problem, error.remedy)
            return Literal("")

    def _frame(self, pieces: Sequence[str | Jinja | Node]) -> Node:
        try:
            return Frame(pieces)
        except Misunderstood as error:
            self._complain(error.piece.offset if error.piece else 0, error.problem, error.remedy)
            return Literal("")

    def _assigned(self, part: Assign, known: dict[str, Node]) -> list[Node]:
        """What an assignment adds to the sequence: nothing, or the deciding of its value."""
        if part.keeps and part.name in known:
            return []
        value = self._sequence(part.value, dict(known))
        if not part.at_once or value.count == 1:
            known[part.name] = value
            return []
        slot = self._builder.next_slot()
        known[part.name] = Decided(slot)
        return [Decide(slot, value)]

    def _listed(self, part: Wildcard, known: dict[str, Node]) -> tuple[list[Choice], list[float] | None]:
        inner = dict(known)
        for name, value in part.arguments:
            inner[name] = self._sequence(value, dict(known))
        try:
            return self._builder.lists(part.name, self._near, inner)
        except Unreadable as error:
            for trouble in error.troubles:
                where = str(trouble).removesuffix(f"; {trouble.remedy}")
                self._complain(part.offset, where, trouble.remedy)
            return [], None

    def _variant(self, part: Variant, known: dict[str, Node]) -> Node:
        options, weights = self._options(part, known)
        if not options:
            return Literal("")
        high = len(options) if part.high is None else min(part.high, len(options))
        if part.low == high == 1:
            return OneOf(options, weights)
        if high > SOME_OF_MAX:
            self._complain(part.offset, f"{high} of {len(options)} at once", f"take at most {SOME_OF_MAX}")
            return Literal("")
        return SomeOf(options, weights, part.low, high, part.separator)

    def _options(self, part: Variant, known: dict[str, Node]) -> tuple[list[Choice], list[float] | None]:
        """The options of a variant; those of a wildcard that stands alone in it are its own, so that none comes twice
        in `{2$$__flavours__}`."""
        alone = _lone_wildcard(part.options)
        if alone is not None:
            return self._listed(alone, known)
        options: list[Choice] = []
        for option in part.options:
            node = self._sequence(option.parts, dict(known))
            options.append(node.literal if isinstance(node, Literal) else node)
        weights = [option.weight for option in part.options]
        return options, weights if len(set(weights)) > 1 else None


def _lone_wildcard(options: Sequence[Option]) -> Wildcard | None:
    if len(options) != 1:
        return None
    parts = [part for part in options[0].parts if not (isinstance(part, Text) and part.text.isspace())]
    return parts[0] if len(parts) == 1 and isinstance(parts[0], Wildcard) else None
