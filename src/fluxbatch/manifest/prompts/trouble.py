"""What is wrong with a prompt template, where, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from fluxbatch.errors import UsageError

TROUBLES_SHOWN_MAX = 20


class Mark(NamedTuple):
    """A place in a text: line and column, both from 1."""

    line: int
    column: int


def mark_at(text: str, offset: int) -> Mark:
    """Where the character at `offset` stands."""
    start = text.rfind("\n", 0, offset) + 1
    return Mark(text.count("\n", 0, offset) + 1, offset - start + 1)


@dataclass(frozen=True, slots=True)
class TemplateTrouble:
    """One thing that is wrong with a template.

    `place` says which text is meant: "" for the template itself, `subjects[0].position` for a field of a JSON prompt,
    `season.txt` for a wildcard file. `line` and `column` count from 1 within that text; None where there is none (a
    missing field).
    """

    place: str
    line: int | None
    column: int | None
    problem: str
    remedy: str

    def __str__(self) -> str:
        where = self.place
        if self.line is not None:
            spot = f"line {self.line}" if self.column is None else f"line {self.line}, column {self.column}"
            where = f"{where}, {spot}" if where else spot
        return f"{where}: {self.problem}; {self.remedy}" if where else f"{self.problem}; {self.remedy}"

    def within(self, place: str) -> TemplateTrouble:
        """The same trouble of a template that itself stands in a field."""
        return replace(self, place=f"{place}: {self.place}" if self.place else place)


class PromptTemplateError(UsageError):
    """A template that cannot be used. Carries every trouble, in the order of the text."""

    def __init__(self, troubles: Iterable[TemplateTrouble]) -> None:
        self.troubles = tuple(troubles)
        lines = [str(trouble) for trouble in self.troubles[:TROUBLES_SHOWN_MAX]]
        if len(self.troubles) > TROUBLES_SHOWN_MAX:
            lines.append(f"and {len(self.troubles) - TROUBLES_SHOWN_MAX} more")
        super().__init__(" · ".join(lines))
