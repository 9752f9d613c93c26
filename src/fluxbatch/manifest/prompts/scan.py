"""Where Jinja's own pieces of a template begin and end."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

_INSIDE = re.compile(r"""["'()\[\]{}%]""")
_RAW = re.compile(r"\{%[-+]?\s*raw\s*(-?)[-+]?%\}")
_END_RAW = re.compile(r"\{%([-+]?)\s*endraw\s*[-+]?%\}\n?")
_OPEN, _CLOSED = "([{", ")]}"


class Kind(Enum):
    """What a piece of Jinja is: `{{ }}`, `{% %}`, `{# #}`, or text between raw and endraw."""

    EXPRESSION = "{{"
    STATEMENT = "{%"
    COMMENT = "{#"
    RAW = "raw"


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of Jinja, to `end` (exclusive). `text` is what stands within; for an expression without its marks."""

    kind: Kind
    end: int
    text: str
    marked: bool = False
    """It has a - or + that takes whitespace away, or keeps it."""


def jinja_piece(source: str, at: int) -> Piece | None:
    """The piece that begins at `at` (where a `{{`, `{%` or `{#` stands), or None if it does not end."""
    raw = _RAW.match(source, at)
    if raw:
        return _raw_piece(source, raw)
    kind = Kind(source[at : at + 2])
    if kind is Kind.COMMENT:
        end = source.find("#}", at + 2)
        return None if end < 0 else Piece(kind, end + 2, "")
    close = _close(source, at + 2, "}}" if kind is Kind.EXPRESSION else "%}")
    if close is None:
        return None
    inner = source[at + 2 : close]
    text = inner.removeprefix("-").removeprefix("+").removesuffix("-").removesuffix("+")
    return Piece(kind, close + 2, text, marked=inner[:1] in ("-", "+") or inner[-1:] in ("-", "+"))


def _raw_piece(source: str, raw: re.Match[str]) -> Piece | None:
    end = _END_RAW.search(source, raw.end())
    if end is None:
        return None
    text = source[raw.end() : end.start()]
    text = text.lstrip() if raw[1] == "-" else text.removeprefix("\n")
    return Piece(Kind.RAW, end.end(), text.rstrip() if end[1] == "-" else text)


def _close(source: str, at: int, mark: str) -> int | None:
    """Where the closing mark stands: outside of texts and brackets. None if it is missing or the brackets disagree."""
    nested: list[str] = []
    while (found := _INSIDE.search(source, at)) is not None:
        at, character = found.start(), found.group()
        if not nested and source.startswith(mark, at):
            return at
        if character in "\"'":
            at = _text_end(source, at)
            continue
        if character in _OPEN:
            nested.append(_CLOSED[_OPEN.index(character)])
        elif character in _CLOSED and (not nested or nested.pop() != character):
            return None
        at += 1
    return None


def _text_end(source: str, at: int) -> int:
    """Where a quoted text ends; the end of all if it does not."""
    quote, at = source[at], at + 1
    while at < len(source):
        if source[at] == "\\":
            at += 1
        elif source[at] == quote:
            return at + 1
        at += 1
    return at
