"""A prompt template: text with variables and choices -> prompts, each by its number."""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random

from fluxbatch.manifest.prompts.trouble import PromptTemplateError, TemplateTrouble, mark_at
from fluxbatch.manifest.prompts.wildcards import Wildcards
from fluxbatch.manifest.values import PROMPT_CHARACTERS_MAX, Unusable, shown

_NAME = re.compile(r"\{\{\s*([A-Za-z][A-Za-z0-9_]*)\s*\}\}")
_NONE = Wildcards()


class PromptTemplate:
    """A template that was understood. `count()` prompts come of it for each set of variables, numbered from 0."""

    def __init__(self, pieces: list[str], slots: tuple[tuple[int, str], ...]) -> None:
        self._pieces = pieces
        self._slots = slots
        self.variables: frozenset[str] = frozenset(name for _, name in slots)
        self.is_plain = True

    def count(self) -> int:
        """How many prompts the choices in the template give; exact, and independent of the variables' values."""
        return 1

    def render(self, values: Mapping[str, object], choice: int = 0) -> str:
        """The prompt with this number. Unusable (problem and remedy, for the row) if the values do not fit it."""
        pieces = self._pieces.copy()
        for index, name in self._slots:
            if name not in values:
                raise Unusable(f"the template needs {name}, which has no value", "add an axis or a variable")
            value = values[name]
            pieces[index] = value if type(value) is str else str(value)
        text = "".join(pieces).strip()
        if len(text) > PROMPT_CHARACTERS_MAX:
            raise Unusable(f"the prompt has {len(text)} characters", f"shorten it to {PROMPT_CHARACTERS_MAX}")
        return text

    def pick(self, rng: Random) -> int:
        """A choice by chance, honouring weights; `render` it, or keep its number so that none comes twice."""
        return 0

    def random(self, values: Mapping[str, object], rng: Random) -> str:
        """A prompt by chance, honouring weights."""
        return self.render(values, self.pick(rng))


def compile_prompt(source: str | Mapping[str, object], wildcards: Wildcards = _NONE) -> PromptTemplate:
    """Understand a sweep file's `prompt:`, a text or (for a JSON prompt) a mapping.

    PromptTemplateError with everything that is wrong, each with line and column in the template.
    """
    if not isinstance(source, str):
        raise PromptTemplateError([TemplateTrouble("", None, None, f"{shown(source)} is no text", "write a text")])
    pieces = _NAME.split(source)
    for index in range(0, len(pieces), 2):
        at = re.search(r"[{}]", pieces[index])
        if at:
            offset = source.find(pieces[index]) + at.start()
            raise PromptTemplateError([TemplateTrouble("", *mark_at(source, offset), "not yet understood", "wait")])
    return PromptTemplate(pieces, tuple((index, pieces[index]) for index in range(1, len(pieces), 2)))
