"""A prompt template: text with variables and choices -> prompts, each by its number."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import NamedTuple

from fluxbatch.manifest.prompts.build import COUNT_BITS_MAX, Builder
from fluxbatch.manifest.prompts.jinja import unusable
from fluxbatch.manifest.prompts.sandbox import TooMuch
from fluxbatch.manifest.prompts.structured import compile_fields
from fluxbatch.manifest.prompts.tree import Literal, Name, Node, Row, Scope, named
from fluxbatch.manifest.prompts.trouble import PromptTemplateError, TemplateTrouble
from fluxbatch.manifest.prompts.wildcards import Wildcards
from fluxbatch.manifest.values import PROMPT_CHARACTERS_MAX, Unusable, shown


class PromptTemplate:
    """A template that was understood.

    For each set of values of its `variables`, `count()` prompts come of it, numbered from 0. The numbers go like nested
    loops in reading order: the last choice in the text varies fastest. Two numbers may give the same text ({a|a}).
    """

    def __init__(self, root: Node) -> None:
        self._root = root
        self.variables: frozenset[str] = root.names
        """What has to have a value: the names that the template does not set itself."""
        parts = root.parts if isinstance(root, Row) else (root,)
        self.is_plain = all(isinstance(part, Literal | Name) for part in parts)
        """Whether it is text and variables only: then there is one prompt to a row, and it is quickly made."""
        self._pieces = [part.literal if isinstance(part, Literal) else "" for part in parts] if self.is_plain else []
        self.pieces = tuple(_piece(part) for part in parts) if self.is_plain else ()
        """What a plain template joins: texts and variables in turn. The whole is stripped at both ends."""
        self._slots = tuple((index, part.name) for index, part in enumerate(parts) if isinstance(part, Name))

    def count(self) -> int:
        """How many prompts the choices in the template give; exact, and independent of the variables' values."""
        return self._root.count

    def render(self, values: Mapping[str, object], choice: int = 0) -> str:
        """The prompt with this number, without whitespace at its ends.

        A value is put in as it is and never read as syntax, whatever braces it holds. Unusable (problem and remedy, to
        be said of the row) if a variable has no value, or what comes out is no prompt.
        """
        if self.is_plain:
            if choice:
                raise IndexError(f"choice {choice} of 1")
            pieces = self._pieces.copy()
            for index, name in self._slots:
                value = values.get(name)
                pieces[index] = value if type(value) is str else named(name, values)
            text = "".join(pieces).strip()
        else:
            if not 0 <= choice < self._root.count:
                raise IndexError(f"choice {choice} of {self._root.count}")
            text = self._rendered(values, choice).strip()
        if len(text) > PROMPT_CHARACTERS_MAX:
            raise Unusable(f"the prompt has {len(text)} characters", f"shorten it to {PROMPT_CHARACTERS_MAX}")
        return text

    def _rendered(self, values: Mapping[str, object], choice: int) -> str:
        try:
            return self._root.text(choice, Scope(values))
        except (TooMuch, RecursionError) as error:
            raise unusable(error, "the prompt") from None

    def pick(self, rng: Random) -> int:
        """A choice by chance, honouring weights; `render` it, or keep its number so that none comes twice."""
        return 0 if self.is_plain else self._root.pick(rng)

    def random(self, values: Mapping[str, object], rng: Random) -> str:
        """A prompt by chance, honouring weights."""
        return self.render(values, self.pick(rng))


class Piece(NamedTuple):
    """A text, or a variable by name."""

    text: str
    is_variable: bool


def _piece(part: Node) -> Piece:
    return Piece(part.name, True) if isinstance(part, Name) else Piece(part.text(0, Scope({})), False)


def compile_text(source: str, wildcards: Wildcards) -> Node:
    """The tree of one text. PromptTemplateError with everything that is wrong, by line and column."""
    if len(source) > PROMPT_CHARACTERS_MAX:
        problem, remedy = f"the template has {len(source)} characters", f"shorten it to {PROMPT_CHARACTERS_MAX}"
        raise PromptTemplateError([TemplateTrouble("", None, None, problem, remedy)])
    builder = Builder(wildcards)
    try:
        root = builder.build(source.replace("\r\n", "\n").strip())
    except RecursionError:
        problem = "choices within wildcards within choices, too deep to be read"
        raise PromptTemplateError([TemplateTrouble("", None, None, problem, "write them flatter")]) from None
    if builder.troubles:
        raise PromptTemplateError(sorted(builder.troubles, key=_order))
    return root


def _order(trouble: TemplateTrouble) -> tuple[str, int, int]:
    return trouble.place, trouble.line or 0, trouble.column or 0


NO_WILDCARDS = Wildcards()


def compile_prompt(source: str | Mapping[str, object], wildcards: Wildcards = NO_WILDCARDS) -> PromptTemplate:
    """Understand a sweep file's `prompt:`, a text or (for a JSON prompt) a mapping.

    PromptTemplateError with everything that is wrong, each with line and column in the template.
    """
    if isinstance(source, Mapping):
        return PromptTemplate(_counted(compile_fields(source, lambda text: compile_text(text, wildcards))))
    if not isinstance(source, str):
        problem, remedy = f"{shown(source)} is no prompt", "write a text, or the fields of a JSON prompt (scene: …)"
        raise PromptTemplateError([TemplateTrouble("", None, None, problem, remedy)])
    if not source.strip():
        raise PromptTemplateError([TemplateTrouble("", None, None, "the prompt is empty", "write what shall be seen")])
    return PromptTemplate(_counted(compile_text(source, wildcards)))


def _counted(root: Node) -> Node:
    if root.count.bit_length() > COUNT_BITS_MAX:
        problem, remedy = "the choices give more than 10^900 prompts", "take some of them away"
        raise PromptTemplateError([TemplateTrouble("", None, None, problem, remedy)])
    return root
