"""Pictures that show what was asked for, as base64 in pieces, so that a ready picture costs no encoding.

Each picture begins with a label of its own (jpeg.py): `request=<id> prompt=<first 16 digits of its SHA-256>`.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import textwrap
from base64 import b64encode
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO

from PIL import Image, ImageDraw, ImageFont  # noqa: TID251 - this is where the simulator makes pictures

from fluxbatch.simulator import jpeg

_LABEL_BYTES = 69
"""With the start marker (2) and the segment's overhead (4) a multiple of 3: base64 of the rest can be joined to it."""

_QUALITY = 80


@dataclass(frozen=True, slots=True)
class Sketch:
    """What is to be painted, with sides in pixels as the picture gets them. `variant` changes the pixels."""

    request_id: str
    model: str
    prompt: str
    width: int
    height: int
    steps: int
    seed: int | None
    references: int
    variant: int


def paint_text(sketch: Sketch, picture_bytes: int | None) -> bytes:
    """Base64 of a JPEG that shows prompt, model and numbers; takes some milliseconds, so call it in a thread."""
    image = _ground(sketch.prompt, sketch.variant, sketch.width, sketch.height)
    _write(image, sketch)
    return _head(sketch) + _tail(image, picture_bytes)


def paint_plain(sketch: Sketch, picture_bytes: int | None) -> bytes:
    """Base64 of a JPEG without text: painted once per size, labelled for each request; costs microseconds."""
    return _head(sketch) + _plain_tail(sketch.width, sketch.height, picture_bytes)


def paint_blank(sketch: Sketch) -> bytes:
    """Base64 of a JPEG of one colour."""
    return _head(sketch) + _tail(Image.new("RGB", (sketch.width, sketch.height)), None)


def paint_png(sketch: Sketch) -> bytes:
    """Base64 of a PNG, which has no label."""
    encoded = BytesIO()
    _ground(sketch.prompt, sketch.variant, sketch.width, sketch.height).save(encoded, "PNG", compress_level=1)
    return b64encode(encoded.getvalue())


def picture_label(request_id: str, prompt: str) -> str:
    """What `jpeg.read_label` finds in the picture of this request."""
    return f"request={request_id} prompt={hashlib.sha256(prompt.encode()).hexdigest()[:16]}"


def _head(sketch: Sketch) -> bytes:
    label = picture_label(sketch.request_id, sketch.prompt).encode("ascii").ljust(_LABEL_BYTES)[:_LABEL_BYTES]
    return b64encode(jpeg.START + jpeg.comment(label))


@lru_cache(maxsize=64)
def _plain_tail(width: int, height: int, picture_bytes: int | None) -> bytes:
    return _tail(_ground("plain", 0, width, height), picture_bytes)


def _tail(image: Image.Image, picture_bytes: int | None) -> bytes:
    encoded = BytesIO()
    image.save(encoded, "JPEG", quality=_QUALITY)
    picture = encoded.getvalue()[len(jpeg.START) :]
    head_bytes = len(jpeg.START) + len(jpeg.comment(b" " * _LABEL_BYTES))
    return b64encode(jpeg.filler((picture_bytes or 0) - head_bytes - len(picture)) + picture)


def _ground(prompt: str, variant: int, width: int, height: int) -> Image.Image:
    """A dim gradient in the prompt's colours; the variant moves the shades, never the tone."""
    tone = hashlib.sha256(prompt.encode("utf-8", "replace")).digest()
    shade = random.Random(variant)
    spots = bytes(min(150, 30 + tone[index % 3] // 3 + shade.randrange(48)) for index in range(6 * 6 * 3))
    small = Image.frombytes("RGB", (6, 6), spots).resize((-(-width // 4), -(-height // 4)), Image.Resampling.BICUBIC)
    return small.resize((width, height), Image.Resampling.NEAREST)


def _write(image: Image.Image, sketch: Sketch) -> None:
    margin = max(8, min(image.size) // 20)
    size, lines = _fit(sketch.prompt, image.width - 2 * margin, image.height - 4 * margin)
    draw = ImageDraw.Draw(image)
    draw.multiline_text(
        (margin, margin), "\n".join(lines), font=_font(size, sketch.prompt.isascii()), fill=(255, 255, 255)
    )
    seed = "none" if sketch.seed is None else sketch.seed
    facts = f"{sketch.width}x{sketch.height}  {sketch.steps} steps  seed {seed}  {sketch.references} references"
    small = max(9, min(margin, image.width // 34))
    for line, text in enumerate((facts, sketch.model)):
        place = (margin, image.height - margin - small - line * round(1.4 * small))
        draw.text(place, text, font=_font(small, True), fill=(235, 235, 200))


def _fit(prompt: str, width: int, height: int) -> tuple[int, list[str]]:
    """The largest of a few font sizes in which the prompt fits the box; at the smallest the end is left out."""
    text = "".join(c if c.isprintable() else " " for c in prompt[:2000])
    letter = 0.56 if text.isascii() else 0.63  # the width of a letter, of the font's size
    lines: list[str] = []
    size = 10
    for divisor in (12, 16, 20, 26, 34, 44):
        size = max(10, min(width, height) // divisor)
        lines = textwrap.wrap(text, max(8, int(width / (size * letter))))
        if len(lines) * size * 1.3 <= height:
            break
    return size, lines[: max(1, int(height / (size * 1.3)))]


@lru_cache(maxsize=64)
def _font(size: int, ascii_only: bool) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font has ASCII only; for the rest a common one, where the machine has it."""
    if not ascii_only:
        with contextlib.suppress(OSError):
            return ImageFont.truetype("DejaVuSans.ttf", size)
    return ImageFont.load_default(size)
