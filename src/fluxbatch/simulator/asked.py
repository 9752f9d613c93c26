"""What a body asks for, checked as Cloudflare checks it: some is refused, some defaulted, some ignored in silence."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from fluxbatch.models.catalogue import Model
from fluxbatch.simulator.multipart import MalformedForm, Part, is_multipart, parse_form

DEFAULT_WIDTH, DEFAULT_HEIGHT = 1024, 768
DEFAULT_STEPS = 50
"""Not published; a call without steps cost 7,500 neurons at 1024x1024 (seen), which is 50."""

SIDE_TAKEN_MAX = 2304
PIXELS_SERVED_MAX = 1408 * 2112
"""Above the documented side, flux-2-dev served 1408x2112 and failed at 1536x2304 with 500 (seen)."""

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
    """One picture as it was asked for: sides in pixels, uncut; `references` counts the input images."""

    prompt: str
    width: int
    height: int
    steps: int
    guidance: float | None
    seed: int | None
    references: int


def read_asked(model: Model, content_type: bytes, body: bytes) -> Asked:
    """Parse and check a body for a flux-2 model. Unfit says how Cloudflare answers."""
    if not is_multipart(content_type):
        raise Unfit("5006", "Error: required properties at '/' are 'multipart'")
    try:
        parts = parse_form(content_type, body)
    except MalformedForm as error:
        raise Unfit("3003", f"Bad input: {error}") from error
    fields = {part.name: part for part in parts}
    references = _references(model, fields)
    width = _side(model, fields, "width", DEFAULT_WIDTH)
    height = _side(model, fields, "height", DEFAULT_HEIGHT)
    if max(width, height) > model.side_max and width * height > PIXELS_SERVED_MAX:
        raise Unfit("500")
    return Asked(
        prompt=_prompt(fields),
        width=width,
        height=height,
        steps=_steps(model, fields),
        guidance=_float(fields, "guidance"),
        seed=_integer(fields, "seed"),
        references=references,
    )


def cut(model: Model, side: int) -> int:
    """The side that the picture really gets."""
    return side - side % model.side_multiple


def _prompt(fields: Mapping[str, Part]) -> str:
    text = _text(fields, "prompt")
    if text is None:
        raise Unfit("5006", "Error: required properties at '/' are 'prompt'")
    return text


def _references(model: Model, fields: Mapping[str, Part]) -> int:
    if sum(_IMAGE_FIELD.fullmatch(name) is not None for name in fields) > model.references_max:
        raise Unfit("3030-references", "too many input images")
    names = [f"input_image_{index}" for index in range(model.references_max)]
    images = [fields[name] for name in names if name in fields]
    if not all(image.is_file and image.content.startswith(_IMAGE_STARTS) for image in images):
        raise Unfit("5004", "Invalid input image: not a binary picture")
    return len(images)


def _side(model: Model, fields: Mapping[str, Part], name: str, default: int) -> int:
    side = _integer(fields, name)
    if side is None:
        return default
    if side < model.side_min:
        raise Unfit("3030-width", f"min {name} is {model.side_min}")
    if side > SIDE_TAKEN_MAX:
        raise Unfit("3030-width", f"max {name} is {model.side_max}")
    return side


def _steps(model: Model, fields: Mapping[str, Part]) -> int:
    steps = _integer(fields, "steps")
    if steps is None:
        return DEFAULT_STEPS
    if not model.steps_min <= steps <= model.steps_max:
        bound = f">= {model.steps_min}" if steps < model.steps_min else f"<= {model.steps_max}"
        raise Unfit("5006", f"Error: '/steps' must be {bound}")
    return steps


def _integer(fields: Mapping[str, Part], name: str) -> int | None:
    text = _text(fields, name)
    if text is None:
        return None
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise Unfit("5006", f"Error: Type mismatch of '/{name}', 'string' not in 'integer'")
    return int(text)


def _float(fields: Mapping[str, Part], name: str) -> float | None:
    text = _text(fields, name)
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise Unfit("5006", f"Error: Type mismatch of '/{name}', 'string' not in 'number'")
    return number


def _text(fields: Mapping[str, Part], name: str) -> str | None:
    if name not in fields:
        return None
    try:
        return fields[name].content.decode()
    except UnicodeDecodeError:
        raise Unfit("5006", f"Error: '/{name}' is not UTF-8") from None
