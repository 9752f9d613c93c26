"""What a column is called where SQL is spoken. Pure.

A user's own columns may have any name: with quotes, with NUL, a word of SQL, or another's in capitals, which SQL takes
for the same. So a column goes into SQL under an alias, and what a condition names is looked up here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

COLUMNS_SHOWN = 60
_PLAIN = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Names:
    """The columns that there are, in their order."""

    columns: tuple[str, ...]

    @cached_property
    def _folded(self) -> dict[str, list[str]]:
        folded: dict[str, list[str]] = {}
        for name in self.columns:
            folded.setdefault(name.casefold(), []).append(name)
        return folded

    @cached_property
    def _aliases(self) -> dict[str, str]:
        return {name: self._alias(name, number) for number, name in enumerate(self.columns)}

    def _alias(self, name: str, number: int) -> str:
        is_plain = _PLAIN.fullmatch(name) and not name.startswith(("column_", "rowid"))
        return name if is_plain and len(self._folded[name.casefold()]) == 1 else f"column_{number}"

    def alias(self, name: str) -> str:
        """How a column is called in SQL, without quotes around it."""
        return self._aliases[name]

    def found(self, written: str) -> str | None:
        """The column that is meant: the one with this very name, or the only one that has it but for its case."""
        if written in self._aliases:
            return written
        near = self._folded.get(written.casefold(), [])
        return near[0] if len(near) == 1 else None

    def complaint(self, written: str) -> str:
        """What is said about a name that is no column's."""
        near = self._folded.get(written.casefold(), [])
        if near:
            return f"{written!r} may be any of {', '.join(map(repr, near))}: write it as it is, in double quotes"
        close = difflib.get_close_matches(written, self.columns, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        return f"there is no column {written!r}{hint}"

    @property
    def listed(self) -> str:
        """All of them for a message."""
        more = len(self.columns) - COLUMNS_SHOWN
        names = ", ".join(self.columns[:COLUMNS_SHOWN])
        return f"columns: {names}" + (f" and {more} more" if more > 0 else "")


def free_name(name: str, taken: Sequence[str]) -> str:
    """The name, or with as many underscores behind it as it takes to be nobody else's."""
    folded = {one.casefold() for one in taken}
    while name.casefold() in folded:
        name += "_"
    return name
