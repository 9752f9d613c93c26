"""What is asked of the pages, as it stands in their address: words, values, a condition, an order, a grid. Pure.

Whatever stands in an address, there is a question: what cannot be is left out, and said (`complaints`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from fluxbatch.plain import plain

PER_PAGE = (30, 60, 120, 240)
PER_PAGE_USUAL = 60
PAGE_MAX = 10**9
WORDS_MAX = 300
"""Characters. A condition has a limit of its own."""
_KEY_START = re.compile("[0-9a-fA-F]{8,64}")
VALUE = "is:"
"""Before a column's name: so no column has the name of another field."""
NAME_MAX = 200


@dataclass(frozen=True, slots=True)
class Question:
    """Which pictures, in which order, and which page of them (from 1)."""

    words: str = ""
    values: tuple[tuple[str, str], ...] = ()
    """Column and value, of each axis that is chosen by."""
    where: str = ""
    order: str = ""
    is_descending: bool = False
    across: str = ""
    down: str = ""
    per_page: int = PER_PAGE_USUAL
    page: int = 1

    @classmethod
    def of(cls, fields: Iterable[tuple[str, str]]) -> Question:
        """What an address asks; of a field that stands twice, the last."""
        given = dict(fields)
        values = ((name.removeprefix(VALUE), value) for name, value in given.items() if name.startswith(VALUE))
        return cls(
            words=_one_line(given.get("q", ""))[:WORDS_MAX],
            values=tuple((name, value) for name, value in values if value),
            where=given.get("where", "").strip(),
            order=given.get("order", ""),
            is_descending=given.get("way") == "desc",
            across=given.get("across", ""),
            down=given.get("down", ""),
            per_page=_number(given.get("per", ""), PER_PAGE_USUAL, lambda number: number in PER_PAGE),
            page=_number(given.get("page", ""), 1, lambda number: 1 <= number <= PAGE_MAX),
        )

    @property
    def fields(self) -> Iterator[tuple[str, str]]:
        """Those that are not as they are anyway, as they stand in an address."""
        given = (
            ("q", self.words),
            *((f"{VALUE}{name}", value) for name, value in self.values),
            ("where", self.where),
            ("order", self.order),
            ("way", "desc" if self.is_descending and self.order else ""),
            ("across", self.across),
            ("down", self.down),
            ("per", "" if self.per_page == PER_PAGE_USUAL else str(self.per_page)),
            ("page", "" if self.page == 1 else str(self.page)),
        )
        return ((name, value) for name, value in given if value)

    @property
    def link(self) -> str:
        """The address that asks this."""
        fields = urlencode(list(self.fields))
        return f"/?{fields}" if fields else "/"

    @property
    def is_grid(self) -> bool:
        return bool(self.across and self.down and self.across != self.down)

    @property
    def is_more(self) -> bool:
        """More is asked than words."""
        return any(name not in ("q", "page") for name, _ in self.fields)

    def value(self, name: str) -> str:
        return dict(self.values).get(name, "")

    def on(self, page: int) -> Question:
        return replace(self, page=page)

    def cell(self, across: str, down: str) -> Question:
        """All pictures of one cell of its grid."""
        here = {**dict(self.values), self.across: across, self.down: down}
        return replace(self, values=tuple(here.items()), across="", down="", page=1)


def named(name: str) -> str:
    """How a column is called in an address and on a page: as it is, but on one line."""
    return plain(name, NAME_MAX)


def search(words: str, columns: Sequence[str]) -> str:
    """The condition that each of the words stands in one of these columns, in whatever case, or begins a key."""
    text = f"lower(concat_ws(chr(10), {', '.join(f'{quoted(name)}::VARCHAR' for name in columns)}))"
    return " AND ".join(f"(contains({text}, lower({literal(word)})){_or_key(word)})" for word in words.split())


def _or_key(word: str) -> str:
    """Digits of its middle would lead nowhere."""
    return f" OR starts_with(key, {literal(word.lower())})" if _KEY_START.fullmatch(word) else ""


def quoted(name: str) -> str:
    """A column's name in SQL."""
    return f'"{name.replace(chr(34), 2 * chr(34))}"'


def literal(text: str) -> str:
    """A text in SQL."""
    return f"'{text.replace(chr(39), 2 * chr(39))}'"


def _one_line(text: str) -> str:
    return " ".join(text.replace("\0", " ").split())


def _number(text: str, usual: int, fits: Callable[[int], bool]) -> int:
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 12 else usual
    return number if fits(number) else usual
