"""What a body asks for, checked as Cloudflare checks it: some is refused, some defaulted, some ignored in silence."""

from __future__ import annotations

import hashlib
import json
import math
import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fluxbatch.simulator.multipart import MalformedForm, Part, is_multipart, parse_form
from fluxbatch.simulator.offers import Offer, Parameter

SHOWN_MAX = 4096
_IMAGE_FIELD = re.compile(r"input_image_\d+")
_IMAGE_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF", b"GIF8")


class Unfit(ValueError):
    """The request does not fit the model: the fault (faults.py) to answer with, and what to say in it."""

    def __init__(self, fault: str, message: str | None = None) -> None:
        super().__init__(message or fault)
        self.fault = fault
        self.message = message


@dataclass(frozen=True, slots=True)
class Asked:
    """One picture as it was asked for: sides in pixels, uncut; `references` counts the input images.

    `said` is the body as it came, as plain values; a picture or a very long text is told by its size and SHA-256.
    """

    prompt: str
    width: int
    height: int
    steps: int
    guidance: float | None
    seed: int | None
    references: int
    said: Mapping[str, Any] = field(default_factory=dict, repr=False)


def read_asked(offer: Offer, content_type: bytes, body: bytes) -> Asked:
    """Parse and check a body for a model. Unfit says how Cloudflare answers."""
    if offer.body == "form":
        fields = _form(offer, content_type, body)
        found = {name: _of_form(name, wanted, fields[name]) for name, wanted in _given(offer, fields)}
        said: dict[str, Any] = {name: _part_told(part) for name, part in fields.items()}
    else:
        values = _json(offer, content_type, body)
        found = {name: _of_json(name, wanted, values[name]) for name, wanted in _given(offer, values)}
        said = {name: _told(value) for name, value in values.items()}
    prompt = offer.names.get("prompt", "prompt")
    if prompt not in found:
        raise Unfit("5006", f"Error: required properties at '/' are '{prompt}'")
    for name, value in found.items():
        _check_range(offer, name, value)
    asked = _asked(offer, found, said)
    if offer.pixels_served_max is not None:
        _check_served(offer, asked)
    return asked


def cut(offer: Offer, side: int) -> int:
    """The side that the picture really gets."""
    return side - side % offer.side_multiple


def _asked(offer: Offer, found: Mapping[str, Any], said: Mapping[str, Any]) -> Asked:
    def value(name: str) -> Any:
        if name in offer.fixed:
            return offer.fixed[name]
        said_as = offer.names.get(name, name)
        wanted = offer.parameters.get(said_as)
        return found.get(said_as, None if wanted is None else wanted.default)

    return Asked(
        prompt=value("prompt"),
        width=value("width"),
        height=value("height"),
        steps=value("steps"),
        guidance=value("guidance"),
        seed=value("seed"),
        references=sum(offer.parameters[name].kind == "picture" for name in found),
        said=said,
    )


def _form(offer: Offer, content_type: bytes, body: bytes) -> dict[str, Part]:
    if not is_multipart(content_type):
        raise Unfit("5006", "Error: required properties at '/' are 'multipart'")
    try:
        parts = parse_form(content_type, body)
    except MalformedForm as error:
        raise Unfit("3003", f"Bad input: {error}") from error
    fields = {part.name: part for part in parts}
    if sum(_IMAGE_FIELD.fullmatch(name) is not None for name in fields) > offer.references_max:
        raise Unfit("3030-references", "too many input images")
    return fields


def _json(offer: Offer, content_type: bytes, body: bytes) -> dict[str, Any]:
    """A form is no JSON; what kind of content the header calls it is not looked at."""
    if is_multipart(content_type):
        raise Unfit("5006", "Error: required properties at '/' are 'prompt'; the body is a form, not JSON")
    try:
        values = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise Unfit("5006", "Error: the body is no JSON") from None
    if not isinstance(values, dict):
        raise Unfit("5006", "Error: Type mismatch of '/', it is no 'object'")
    if offer.strict and (extra := sorted(set(values) - set(offer.parameters))):
        raise Unfit("5006", f"Error: Additional properties at '/' are not allowed: {', '.join(extra)}")
    return values


def _given(offer: Offer, values: Mapping[str, Any]) -> list[tuple[str, Parameter]]:
    """The parameters that the body names; what else is in it is ignored in silence."""
    return [(name, wanted) for name, wanted in offer.parameters.items() if name in values]


def _of_form(name: str, wanted: Parameter, part: Part) -> Any:
    if wanted.kind == "picture":
        if not part.is_file or not part.content.startswith(_IMAGE_STARTS):
            raise Unfit("5004", "Invalid input image: not a binary picture")
        return part.content
    try:
        text = part.content.decode()
    except UnicodeDecodeError:
        raise Unfit("5006", f"Error: '/{name}' is not UTF-8") from None
    if wanted.kind == "integer":
        if not re.fullmatch(r"-?[0-9]{1,18}", text):
            raise _mismatch(name, "string", "integer")
        return int(text)
    return text if wanted.kind == "text" else _number(name, text)


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise _mismatch(name, "string", "number")
    return number


def _of_json(name: str, wanted: Parameter, value: Any) -> Any:
    """A number has to be a number: a text that looks like one is refused, and so is a fraction for a whole number."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if wanted.kind == "integer" and not (is_number and isinstance(value, int)):
        raise _mismatch(name, type(value).__name__, "integer")
    if wanted.kind == "number" and not (is_number and math.isfinite(value)):
        raise _mismatch(name, type(value).__name__, "number")
    if wanted.kind in ("text", "picture") and not isinstance(value, str):
        raise _mismatch(name, type(value).__name__, "string")
    return _picture(value) if wanted.kind == "picture" else value


def _picture(text: str) -> bytes:
    try:
        content = b64decode(text, validate=True)
    except ValueError:
        content = b""
    if not content.startswith(_IMAGE_STARTS):
        raise Unfit("5004", "Invalid data type for base64 input")
    return content


def _mismatch(name: str, found: str, wanted: str) -> Unfit:
    return Unfit("5006", f"Error: Type mismatch of '/{name}', '{found}' not in '{wanted}'")


def _check_range(offer: Offer, name: str, value: Any) -> None:
    wanted = offer.parameters[name]
    if wanted.kind == "picture":
        return
    measure = len(value) if wanted.kind == "text" else value
    if wanted.least is not None and measure < wanted.least:
        raise _out_of_range(offer, name, "min", wanted.least)
    if wanted.most is not None and measure > wanted.most:
        raise _out_of_range(offer, name, "max", wanted.most)


def _out_of_range(offer: Offer, name: str, which: str, limit: float) -> Unfit:
    """flux-2 answers about its sides with the catch-all 3030 (seen); the rest is the schema's to refuse."""
    if offer.body == "form" and name in ("width", "height"):
        limit = offer.side_said or limit if which == "max" else limit
        return Unfit("3030-width", f"{which} {name} is {limit:g}")
    what = f"Length of '/{name}'" if offer.parameters[name].kind == "text" else f"'/{name}'"
    return Unfit("5006", f"Error: {what} must be {'>=' if which == 'min' else '<='} {limit:g}")


def _check_served(offer: Offer, asked: Asked) -> None:
    assert offer.pixels_served_max is not None
    if max(asked.width, asked.height) > offer.side_said and asked.width * asked.height > offer.pixels_served_max:
        raise Unfit("500")


def _part_told(part: Part) -> Any:
    if part.is_file:
        return _digest(part.content)
    return _told(part.content.decode("utf-8", "replace"))


def _told(value: Any) -> Any:
    return _digest(value.encode("utf-8", "replace")) if isinstance(value, str) and len(value) > SHOWN_MAX else value


def _digest(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
