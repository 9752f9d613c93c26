"""`--name`: how a picture's file is called, from its row's columns. Pure.

`{id}-{seed:06}` has columns in braces, with a width for numbers (`{seed:06}`), decimals (`{guidance:.1f}`) or a length
for texts (`{key:.8}`). A slash in the template makes a folder, one in a value never does. An extension that is written
is dropped: each file gets the one of its bytes. Braces themselves are written twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa

from fluxbatch.errors import UsageError
from fluxbatch.export.names import cleaned, is_kept, named
from fluxbatch.query.names import Names

NAME_DEFAULT = "{key}"
FOLDERS_MAX = 8
_EXTENSION = re.compile(r"\.(jpe?g|png|webp|gif|avif|bmp|tiff?)$", re.IGNORECASE)
_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|([{}])|([^{}]+)")
_NOTHING = "none"
_SPECS = {
    "whole": (re.compile(r"0?[1-9][0-9]?"), "a width, as in {seed:06}"),
    "fraction": (re.compile(r"\.[0-9]f"), "decimals, as in {guidance:.1f}"),
    "text": (re.compile(r"\.[1-9][0-9]?"), "a length, as in {key:.8}"),
    "other": (re.compile(r"(?!)"), "nothing behind a colon"),
}


@dataclass(frozen=True, slots=True)
class Field:
    """A column in a name, and how its value is written."""

    column: str
    spec: str


@dataclass(frozen=True, slots=True)
class Template:
    """Folders and name, each of texts and fields."""

    steps: tuple[tuple[str | Field, ...], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it names, each once."""
        fields = [piece for step in self.steps for piece in step if isinstance(piece, Field)]
        return tuple(dict.fromkeys(field.column for field in fields))

    def stem(self, row: Mapping[str, Any]) -> str:
        """The file's path below the export, without its extension: always safe, not always its own."""
        return "/".join(named("".join(_piece(piece, row) for piece in step)) for step in self.steps)


def parsed(text: str, schema: pa.Schema) -> Template:
    """UsageError with everything that is wrong with it, and the columns there are."""
    names, complaints = Names(tuple(schema.names)), list[str]()
    steps: list[list[str | Field]] = [[]]
    for match in _PIECE.finditer(_EXTENSION.sub("", text)):
        field, stray, literal = match.groups()
        if stray:
            complaints.append(f"a {stray} without its other half (a brace itself is written twice)")
        elif field is not None:
            _add_field(steps[-1], field, names, schema, complaints)
        else:
            _add_text(steps, literal if literal is not None else match[0][0], complaints)
    complaints += _of_steps(steps)
    if complaints:
        raise UsageError(f"--name {text!r}: {'; '.join(dict.fromkeys(complaints))}; {names.listed}")
    return Template(tuple(map(tuple, steps)))


def _add_field(step: list[str | Field], field: str, names: Names, schema: pa.Schema, complaints: list[str]) -> None:
    written, colon, spec = field.rpartition(":")
    if not colon or names.found(field) is not None:
        written, spec = field, ""
    column = names.found(written)
    if column is None:
        complaints.append(names.complaint(written))
        return
    family = _family(schema.field(column).type)
    if family is None:
        complaints.append(f"{column!r} is {schema.field(column).type}, which is no name")
    elif spec and not _SPECS[family][0].fullmatch(spec):
        complaints.append(f"{{{field}}}: {column!r} takes {_SPECS[family][1]}")
    step.append(Field(column, spec))


def _add_text(steps: list[list[str | Field]], text: str, complaints: list[str]) -> None:
    strange = sorted({one for one in text if not is_kept(one) and one != "/"})
    if strange:
        complaints.append(f"{', '.join(map(repr, strange))} cannot be in a name")
    for number, piece in enumerate(text.split("/")):
        if number:
            steps.append([])
        if piece:
            steps[-1].append(piece)


def _of_steps(steps: Sequence[Sequence[str | Field]]) -> list[str]:
    complaints = []
    if any(not step for step in steps):
        complaints.append("a folder or the file has no name (a slash at the beginning or the end, or two together)")
    if any(step and all(isinstance(piece, str) and not piece.strip(".") for piece in step) for step in steps):
        complaints.append("a name of dots alone leads to another folder")
    if len(steps) > FOLDERS_MAX:
        complaints.append(f"at most {FOLDERS_MAX - 1} folders within each other")
    return complaints


def _family(kind: pa.DataType) -> str | None:
    """Which specs a column takes; None: it cannot be in a name."""
    if pa.types.is_dictionary(kind):
        return _family(kind.value_type)
    if pa.types.is_integer(kind):
        return "whole"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "fraction"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "text"
    is_plain = pa.types.is_boolean(kind) or pa.types.is_temporal(kind) or pa.types.is_null(kind)
    return "other" if is_plain and not pa.types.is_duration(kind) and not pa.types.is_interval(kind) else None


def _piece(piece: str | Field, row: Mapping[str, Any]) -> str:
    return piece if isinstance(piece, str) else cleaned(_text(row[piece.column], piece.spec))


def _text(value: Any, spec: str) -> str:
    """A value as text; what is missing is `none`."""
    if value is None:
        return _NOTHING
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value[: int(spec[1:])] if spec else value
    if isinstance(value, datetime):
        moment = value if value.tzinfo is None else value.astimezone(UTC)
        return moment.strftime("%Y%m%dT%H%M%S") + (f".{moment.microsecond:06}" if moment.microsecond else "")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, time):
        return value.strftime("%H%M%S")
    if isinstance(value, Decimal):
        return format(value, spec or "f")
    return format(value, spec)
