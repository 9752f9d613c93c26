"""What Pillow says about the bytes that came back: one full decode, off the event loop, and never an exception."""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from dataclasses import dataclass

from PIL import Image  # noqa: TID251 - one of the three places where images are opened

from fluxbatch.bare import bare

PIXELS_MAX = 2500 * 2500
"""No model can be asked for more (a test compares); a header that says more is a bomb and is not decoded: 8192x8192 in
200 kB took 384 MB."""
PIXELS_WHOLE_MAX = 4 * 1024 * 1024
"""A JPEG with more is decoded at half its sides: all of it is read, in a fifth of the memory. A WebP with more is not
decoded at all: it would take 75 MB, and no model answers with one."""

SIDE_MULTIPLE = 16
"""Sides are cut down to a multiple of this by flux-2 (seen: asked 1920x1080, got 1920x1072)."""

BLANK_SPREAD = 8
"""A picture is blank when the luminance of all its pixels lies within this many of the 256 levels."""

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
class Picture:
    """The facts of a picture. Sizes are in pixels, as the header says; `check` is ok, wrong_size, undecodable or blank.

    `phash` is imagehash's 64-bit perceptual hash in hex, None for an undecodable picture.
    """

    width: int | None
    height: int | None
    format: str | None
    size_bytes: int
    sha256: str
    phash: str | None
    check: str


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

    A blank picture is called blank whatever its size: the size can be seen in the columns, blankness cannot.
    """
    image = _open(content)
    if image is None:
        return _picture(content, (None, None), None, None, "undecodable")
    size, kind = image.size, image.format  # as the header says: decoding may halve the sides
    small_and_spread = _look(image)
    if small_and_spread is None:
        return _picture(content, size, kind, None, "undecodable")
    phash, spread = small_and_spread
    if spread <= BLANK_SPREAD:
        return _picture(content, size, kind, phash, "blank")
    # Only flux-2 is known to cut sides, and it is never asked for one that it would cut: both are what was asked.
    right = size in ((width, height), expected_size(width, height))
    return _picture(content, size, kind, phash, "ok" if right else "wrong_size")


def _picture(
    content: bytes, size: tuple[int, int] | tuple[None, None], kind: str | None, phash: str | None, check: str
) -> Picture:
    return Picture(
        width=size[0],
        height=size[1],
        format=kind,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        phash=phash,
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


def _look(image: Image.Image) -> tuple[str, int] | None:
    """The one full decode: perceptual hash, and the spread of the luminance (0 to 255)."""
    pixels = image.width * image.height
    if pixels > (PIXELS_WHOLE_MAX if image.format == "WEBP" else PIXELS_MAX):
        return None
    try:
        if pixels > PIXELS_WHOLE_MAX:
            image.draft(None, (image.width // 2, image.height // 2))
        image.load()
        grey = _luminance(image)
    except _UNDECODABLE:
        return None
    low, high = grey.getextrema()
    return _phash(grey), int(high) - int(low)  # type: ignore[arg-type]


def _luminance(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a pixel: Pillow would clip instead of scaling
        image = image.point(lambda value: value * (1 / 256))
    elif image.mode == "P":  # straight to grey, Pillow warns about transparent palettes
        image = image.convert("RGBA")
    return image.convert("L")


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
