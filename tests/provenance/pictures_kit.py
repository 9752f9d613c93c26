"""Pictures of every kind that a mark goes into, and what is in them beside the packet."""

from __future__ import annotations

import io
import struct
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms, ImageSequence, PngImagePlugin  # noqa: TID251 - tests paint their own pictures

from fluxbatch.bare import chunks, segments
from fluxbatch.provenance import Provenance
from tests.dataset.dataset_kit import encoded, pixels

FACTS = Provenance.of(
    "@cf/black-forest-labs/flux-2-dev",
    "a lighthouse",
    "5e" * 32,
    datetime(2026, 11, 22, 12, 30, 15, 123456, tzinfo=UTC),
)
OTHERS = Provenance.of("@cf/other", "a harbour", "7a" * 32, datetime(2027, 1, 2, tzinfo=UTC))

_EXIF = Image.Exif()
for _tag, _value in ((0x010E, "a description"), (0x011A, 72.0), (0x011B, 72.0), (0x0128, 2), (0x0213, 1)):
    _EXIF[_tag] = _value
_ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _alpha(width: int, height: int) -> Image.Image:
    image = pixels(width, height).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((width, height)))
    return image


def _text() -> PngImagePlugin.PngInfo:
    text = PngImagePlugin.PngInfo()
    text.add_itxt("Comment", "grüße", "de", "Kommentar")
    return text


def _two() -> list[Image.Image]:
    return [pixels(33, 20, 1), pixels(33, 20, 2)]


@lru_cache
def pictures() -> dict[str, bytes]:
    """By a name of what is special about each. Odd sides: padding is where containers go wrong."""
    image, alpha, (first, second) = pixels(33, 21), _alpha(33, 21), _two()
    return {
        "jpeg": encoded(image),
        "jpeg progressive": encoded(image, progressive=True),
        "jpeg exif icc": encoded(image, exif=_EXIF, icc_profile=_ICC),
        "jpeg grey": encoded(image.convert("L")),
        "jpeg comment": encoded(image, comment="a comment"),
        "jpeg cmyk": encoded(image.convert("CMYK")),
        "png": encoded(image, "PNG"),
        "png alpha": encoded(alpha, "PNG"),
        "png palette": encoded(image.quantize(16), "PNG", transparency=3),
        "png 16 bits": encoded(Image.fromarray(np.arange(33 * 21, dtype=np.uint16).reshape(21, 33)), "PNG"),
        "png exif icc text": encoded(image, "PNG", exif=_EXIF, icc_profile=_ICC, pnginfo=_text()),
        "png animated": encoded(first, "PNG", save_all=True, append_images=[second]),
        "webp lossy": encoded(image, "WEBP"),
        "webp lossless": encoded(image, "WEBP", lossless=True),
        "webp lossy alpha": encoded(alpha, "WEBP"),
        "webp lossless alpha": encoded(alpha, "WEBP", lossless=True),
        "webp exif icc": encoded(image, "WEBP", exif=_EXIF, icc_profile=_ICC),
        "webp animated": encoded(first, "WEBP", save_all=True, append_images=[second], duration=40),
    }


def decoded(content: bytes) -> list[tuple[str, tuple[int, int], bytes]]:
    """Mode, size and pixels of each frame."""
    with Image.open(io.BytesIO(content)) as image:
        return [(frame.mode, frame.size, frame.tobytes()) for frame in ImageSequence.Iterator(image)]


def pieces(content: bytes) -> list[bytes]:
    """What a file is made of, in order: segments or chunks, each whole."""
    if content.startswith(b"\xff\xd8"):
        return [content[at:end] for _, at, end in segments(content)]
    if content.startswith(b"\x89PNG"):
        return [content[at:end] for _, at, end in chunks(content)]
    return riff(content)


def riff(content: bytes) -> list[bytes]:
    """The chunks of a WebP, whose sizes add up."""
    assert struct.unpack_from("<I", content, 4) == (len(content) - 8,)
    found, at = [], 12
    while at < len(content):
        (length,) = struct.unpack_from("<I", content, at + 4)
        found.append(content[at : at + 8 + length + length % 2])
        at += len(found[-1])
    assert at == len(content)
    return found


def holds_packet(piece: bytes) -> bool:
    names = ((0, b"XMP "), (8, b"XML:com.adobe.xmp\0"), (4, b"http://ns.adobe.com/xap/1.0/\0"))
    return any(piece.startswith(name, at) for at, name in names)
