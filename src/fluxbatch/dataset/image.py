"""What Pillow says about the bytes that came back: one full decode, off the event loop, and never an exception."""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from typing import cast

import numpy as np
from PIL import Image  # noqa: TID251 - one of the three places where images are opened

from fluxbatch.bare import bare
from fluxbatch.dataset.measures import (
    DOMINANT_SIDE,
    SHARPNESS_SIDE_MAX,
    Pixels,
    dominant_color,
    is_solid,
    luminance,
    sharpness,
    spread_of,
)

PIXELS_MAX = 2500 * 2500
"""No model can be asked for more (a test compares); a header that says more is a bomb and is not decoded: 8192x8192 in
200 kB took 384 MB."""
PIXELS_WHOLE_MAX = 4 * 1024 * 1024
"""A JPEG with more is decoded at half its sides: all of it is read, in a fifth of the memory. A WebP with more is not
decoded at all: it would take 75 MB, and no model answers with one."""

SIDE_MULTIPLE = 16
"""Sides are cut down to a multiple of this by flux-2 (seen: asked 1920x1080, got 1920x1072)."""

BLANK_SPREAD = 8
"""A picture is blank when the luminance of all its pixels lies within this many of the 256 levels; it is solid when
moreover all of it is one colour that is no grey."""

THUMBNAIL_QUALITY = 72

FORMATS = ("JPEG", "PNG", "WEBP")

# Warnings are errors: a picture that Pillow has doubts about is not ok. Set once, for Pillow's own modules only:
# `warnings.catch_warnings` swaps a global and two threads that use it at once leave it wrong for good.
warnings.filterwarnings("error", module=r"PIL\.")

# What Pillow's decoders raise on hostile bytes, from its source and from fuzzing. `Exception` would hide our bugs.
_UNDECODABLE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    EOFError,
    RuntimeError,
    MemoryError,
    AttributeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Warning,
)


def suffix_of(content: bytes) -> str:
    """What a file with these bytes should end in, by their first ones."""
    if content.startswith(b"\xff\xd8\xff"):
        return ".jpg"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return ".png"
    return ".webp" if content[:4] == b"RIFF" and content[8:12] == b"WEBP" else ".bin"


@dataclass(frozen=True, slots=True)
class Measured:
    """What the pixels say. `sharpness` is the variance of the Laplacian (`measures.sharpness`), `luminance_mean` and
    `luminance_spread` are mean and standard deviation (0 to 255), `dominant_color` is #rrggbb; `phash` is imagehash's
    64-bit perceptual hash in hex."""

    phash: str
    sharpness: float
    luminance_mean: float
    luminance_spread: float
    dominant_color: str
    dud: str | None
    """blank or solid, when it is one."""


@dataclass(frozen=True, slots=True)
class Picture:
    """The facts of a picture. Sizes are in pixels, as the header says; `check` is one of `CHECKS`.

    `measured` is None for an undecodable picture.
    """

    width: int | None
    height: int | None
    format: str | None
    size_bytes: int
    sha256: str
    measured: Measured | None
    check: str


CHECKS = ("ok", "wrong_size", "blank", "solid", "undecodable")
"""What a look says: `blank` is a sheet of black, white or grey (or of colours of one luminance), `solid` a sheet of one
other colour."""


def expected_size(width: int, height: int) -> tuple[int, int]:
    """The size that Cloudflare makes of the size that was asked for."""
    return width - width % SIDE_MULTIPLE, height - height % SIDE_MULTIPLE


def sample() -> bytes:
    """A small sound JPEG, 256x256."""
    buffer = io.BytesIO()
    Image.linear_gradient("L").save(buffer, "JPEG")
    return buffer.getvalue()


def inspect(content: bytes, width: int, height: int) -> Picture:
    """Look at the bytes of a picture for which `width` x `height` was asked. Bad bytes are a result, not an error.

    A blank or solid picture is called that whatever its size: the size can be seen in the columns, blankness cannot.
    """
    image = _open(content)
    if image is None:
        return _picture(content, (None, None), None, None, "undecodable")
    size, kind = image.size, image.format  # as the header says: decoding may halve the sides
    measured = _look(image)
    if measured is None:
        return _picture(content, size, kind, None, "undecodable")
    # Only flux-2 is known to cut sides, and it is never asked for one that it would cut: both are what was asked.
    right = size in ((width, height), expected_size(width, height))
    return _picture(content, size, kind, measured, measured.dud or ("ok" if right else "wrong_size"))


def decoded(content: bytes) -> Pixels | None:
    """The pixels (height x width x 3, RGB, 0 to 255) of what came back; None when it cannot be decoded. Those of a
    JPEG that is too large are decoded at half its sides."""
    image = _open(content)
    plain = None if image is None else _decoded(image)
    return None if plain is None else np.asarray(plain.convert("RGB"))


def scaled(rgb: Pixels, width: int, height: int, resample: int) -> Pixels:
    """Pixels at another size. `resample` is Pillow's number of a filter (2 bilinear, 3 bicubic), as preprocessor files
    have it; ValueError for a number that is none."""
    return np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling(resample)))


def _picture(
    content: bytes,
    size: tuple[int, int] | tuple[None, None],
    kind: str | None,
    measured: Measured | None,
    check: str,
) -> Picture:
    return Picture(
        width=size[0],
        height=size[1],
        format=kind,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        measured=measured,
        check=check,
    )


def _open(content: bytes) -> Image.Image | None:
    """Read the header only."""
    pixels_only = bare(content)
    if pixels_only is None:
        return None
    try:
        return Image.open(io.BytesIO(pixels_only), formats=FORMATS)
    except _UNDECODABLE:
        return None


def _look(image: Image.Image) -> Measured | None:
    """The one full decode, and all that is measured on it. None: it cannot be decoded."""
    plain = _decoded(image)
    return None if plain is None else _measured(plain, plain.convert("L"))


def _decoded(image: Image.Image) -> Image.Image | None:
    pixels = image.width * image.height
    if pixels > (PIXELS_WHOLE_MAX if image.format == "WEBP" else PIXELS_MAX):
        return None
    try:
        if pixels > PIXELS_WHOLE_MAX:
            image.draft(None, (image.width // 2, image.height // 2))
        image.load()
        return _plain(image)
    except _UNDECODABLE:
        return None


def _plain(image: Image.Image) -> Image.Image:
    """With 8 bits a channel, and without a palette."""
    if image.mode.startswith("I"):  # 16 bits a pixel: Pillow would clip instead of scaling
        return image.point(lambda value: value * (1 / 256)).convert("L")
    if image.mode == "P":  # not to RGB: Pillow warns about transparent palettes
        return image.convert("RGBA")
    return image.convert("L") if image.mode == "1" else image


def _measured(plain: Image.Image, grey: Image.Image) -> Measured:
    histogram = grey.histogram()
    mean, deviation = luminance(histogram)
    blank = spread_of(histogram) <= BLANK_SPREAD
    return Measured(
        phash=_phash(grey),
        sharpness=sharpness(_reduced(grey)),
        luminance_mean=mean,
        luminance_spread=deviation,
        dominant_color=dominant_color(_small_rgb(plain)),
        dud=("solid" if _is_solid(plain) else "blank") if blank else None,
    )


def _is_solid(plain: Image.Image) -> bool:
    rgb = plain if plain.mode in ("RGB", "RGBA") else plain.convert("RGB")
    return is_solid(cast("tuple[tuple[int, int], ...]", rgb.getextrema()[:3]), BLANK_SPREAD)


def _reduced(grey: Image.Image) -> Pixels:
    """For the sharpness: its longer side cut down to the one that all are measured at."""
    part = SHARPNESS_SIDE_MAX / max(grey.size)
    if part < 1:
        size = (max(1, round(grey.width * part)), max(1, round(grey.height * part)))
        grey = grey.resize(size, Image.Resampling.BOX, reducing_gap=1.0)
    return np.asarray(grey)


def _small_rgb(plain: Image.Image) -> Pixels:
    """For the colours: transparency does not count. Each channel by itself where there is one, because Pillow would
    copy the whole picture to weigh its pixels by it."""
    size = (min(DOMINANT_SIDE, plain.width), min(DOMINANT_SIDE, plain.height))
    if plain.mode in ("RGBA", "LA"):
        channels = [_boxed(plain.getchannel(name), size) for name in plain.mode[:-1]]
        return np.asarray(Image.merge(plain.mode[:-1], channels).convert("RGB"))
    return np.asarray(_boxed(plain, size).convert("RGB"))


def _boxed(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image.resize(size, Image.Resampling.BOX, reducing_gap=1.0)


def _phash(grey: Image.Image) -> str:
    import imagehash  # pulls scipy, half a second; only where pictures come back

    return str(imagehash.phash(grey))


def thumbnail(content: bytes, side: int) -> bytes | None:
    """The picture as a WebP that fits into `side` x `side` pixels; None when it cannot be decoded. Never an exception.

    A JPEG is decoded at an eighth, a quarter or half of its sides, whichever is enough: a few milliseconds.
    """
    image = _open(content)
    if image is None or image.width * image.height > PIXELS_MAX:
        return None
    try:
        image.draft("RGB", (side, side))
        image.load()
        small = image.convert("RGBA" if image.mode in ("P", "LA", "PA", "RGBA") else "RGB")
        small.thumbnail((side, side))
        buffer = io.BytesIO()
        small.save(buffer, "WEBP", quality=THUMBNAIL_QUALITY, method=2)
    except _UNDECODABLE:
        return None
    return buffer.getvalue()
