"""What a template is made of, as it was written."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """Literal text; escapes are taken away."""

    text: str


@dataclass(frozen=True, slots=True)
class Jinja:
    """`{{ … }}` or `{% … %}`: `text` is what stands within, `whole` all of it."""

    text: str
    whole: str
    offset: int
    is_statement: bool
    marked: bool


@dataclass(frozen=True, slots=True)
class Option:
    weight: float
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Variant:
    """`{a|b}`: `low` to `high` of the options, in any order (None: as many as there are)."""

    options: tuple[Option, ...]
    low: int
    high: int | None
    separator: str
    offset: int


@dataclass(frozen=True, slots=True)
class Wildcard:
    """`__name__` or `__name(variable=value)__`."""

    name: str
    arguments: tuple[tuple[str, tuple[Part, ...]], ...]
    offset: int


@dataclass(frozen=True, slots=True)
class Assign:
    """`${name=value}`; `=!` decides at once, `?=` keeps what is set."""

    name: str
    value: tuple[Part, ...]
    at_once: bool
    keeps: bool
    offset: int


@dataclass(frozen=True, slots=True)
class Use:
    """`${name}` or `${name:default}`."""

    name: str
    default: tuple[Part, ...] | None
    offset: int


Part = Text | Jinja | Variant | Wildcard | Assign | Use
