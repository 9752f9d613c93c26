"""A cell as it was read -> the value of a parameter, or None where nothing is given. Pure.

Nothing is given by a null, an empty text and a NaN (pandas writes missing numbers so). A whole number may come as a
float without a fraction ("1024.0"), because pandas turns a column of integers with a gap into floats.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal
from typing import NamedTuple

from fluxbatch.errors import UsageError
from fluxbatch.models.catalogue import CATALOGUE, Catalogue, Model
from fluxbatch.models.catalogue import PROMPT_CHARACTERS_MAX as PROMPT_CHARACTERS_MAX

ID_CHARACTERS_MAX = 1_000
SHOWN_CHARACTERS_MAX = 60

_EXACT_FLOAT_MAX = 2**53
_WHOLE = re.compile(r"[+-]?[0-9]{1,40}(\.0*)?")
_NUMBER = re.compile(r"[+-]?([0-9]{1,30}(\.[0-9]{0,30})?|\.[0-9]{1,30})(e[+-]?[0-9]{1,3})?", re.IGNORECASE)


class Trouble(NamedTuple):
    """What is wrong with a cell, a row or a header, and what to do; a complaint adds where it stands."""

    column: str | None
    problem: str
    remedy: str


class Unusable(UsageError):
    """A value that cannot be sent."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy

    def trouble(self, column: str) -> Trouble:
        return Trouble(column, self.problem, self.remedy)


def shown(value: object) -> str:
    """A value in a message: quoted, on one line, and no longer than a line."""
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{len(value)} bytes"
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[: SHOWN_CHARACTERS_MAX - 1]}…"


def prompt(value: object) -> str:
    """The prompt, exactly as written."""
    if value is None or value == "":
        raise Unusable("the prompt is empty", "write what the picture shall show (an empty prompt would be billed)")
    if type(value) is not str:
        if isinstance(value, Mapping):
            raise Unusable("the prompt is an object", "write a JSON prompt as a text")
        raise Unusable(f"the prompt is {shown(value)}, no text", "write it as a text")
    if len(value) > PROMPT_CHARACTERS_MAX:
        raise Unusable(f"the prompt has {len(value)} characters", f"shorten it to {PROMPT_CHARACTERS_MAX}")
    if value.isspace():
        raise Unusable("the prompt is blank", "write what the picture shall show (a blank prompt would be billed)")
    return _sendable(value)


def identifier(value: object) -> str | None:
    """The row's own name; a number is taken as its digits."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None or value == "" or _is_nan(value):
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Unusable(f"{shown(value)} is no id", "write a text or a whole number")
    text = str(value)
    if len(text) > ID_CHARACTERS_MAX:
        raise Unusable(f"the id has {len(text)} characters", f"shorten it to {ID_CHARACTERS_MAX}")
    return _sendable(text)


def negative_prompt(value: object) -> str | None:
    """What the picture shall not show, exactly as written; nothing where it is blank."""
    if value is None or _is_nan(value):
        return None
    if type(value) is not str:
        raise Unusable(f"the negative prompt is {shown(value)}, no text", "write it as a text, or leave it empty")
    return None if value == "" or value.isspace() else _sendable(value)


def model(value: object, catalogue: Catalogue = CATALOGUE) -> Model | None:
    """A model by its short name or its full id."""
    if value is None or value == "" or _is_nan(value):
        return None
    found = catalogue.find(value) if isinstance(value, str) else None
    if found is None:
        raise Unusable(f"the model {shown(value)} is not known", catalogue.hint(str(value)))
    return found


def whole_number(value: object) -> int | None:
    """An integer; also from a float without a fraction or from digits in a text. A boolean is none."""
    if type(value) is int or value is None:
        return value
    if isinstance(value, str):
        text = value.strip()
        if _WHOLE.fullmatch(text):
            return int(text.split(".", 1)[0])
        if text == "" or text.lower() == "nan":
            return None
    elif isinstance(value, float | Decimal):
        if value.is_nan() if isinstance(value, Decimal) else math.isnan(value):
            return None
        if math.isfinite(value) and value == int(value):
            if isinstance(value, float) and abs(value) > _EXACT_FLOAT_MAX:
                raise Unusable(f"{shown(value)} is a float too large to be exact", "store the column as integers")
            return int(value)
    raise Unusable(f"{shown(value)} is no whole number", "write digits only, or leave the cell empty")


def number(value: object) -> float | None:
    """A finite number; also from a text. A boolean is none. Minus zero is zero: it is the same request."""
    if value is None or _is_nan(value):
        return None
    found = math.inf
    if isinstance(value, str):
        text = value.strip()
        if text == "" or text.lower() == "nan":
            return None
        found = float(text) if _NUMBER.fullmatch(text) else math.inf
    elif isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        with suppress(OverflowError):
            found = float(value)
    if not math.isfinite(found):
        raise Unusable(f"{shown(value)} is no finite number", "write it like 3.5, or leave the cell empty")
    return found + 0.0


def image_source(value: object) -> str | bytes | None:
    """Where a reference image is: a path, the bytes themselves, or a Hugging Face struct of both."""
    if isinstance(value, Mapping) and set(value) <= {"bytes", "path"}:
        content, path = value.get("bytes"), value.get("path")
        value = content if content is not None else path
    if value is None or value == "" or _is_nan(value):
        return None
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return _sendable(value)
    raise Unusable(f"{shown(value)} is no picture", "write a path, or give bytes or a struct of bytes and path")


def image_sources(value: object) -> str | tuple[str | bytes, ...] | None:
    """Where all reference images of a row are: a folder, or a list of what `image_source` takes."""
    if isinstance(value, list):
        found = tuple(image_source(one) for one in value)
        if None in found:
            raise Unusable(f"image {found.index(None)} of the list is empty", "leave it out")
        return tuple(one for one in found if one is not None) or None
    if isinstance(value, str) or value is None or _is_nan(value):
        return _sendable(value) if isinstance(value, str) and value else None
    raise Unusable(f"{shown(value)} is no folder", "write the path of a folder, or give a list of pictures")


def _sendable(text: str) -> str:
    if "\0" in text:
        raise Unusable("the text holds a NUL character", "remove it")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            half = f"U+{ord(text[error.start]):04X}"
            raise Unusable(f"character {error.start + 1} is half of a character ({half})", "remove it") from None
    return text


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)
