"""The pixels of a reference: looked at once in full, and made into what is sent. Pillow sees nothing but pixels.

What is sent is upright, opaque, 8 bits a channel and in sRGB: models read pixels, and drop what is told about them.
"""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from PIL import Image, ImageCms, UnidentifiedImageError  # noqa: TID251 - one of the three places where images are opened

from fluxbatch.bare import bare
from fluxbatch.manifest.frame import Size
from fluxbatch.manifest.marks import Marks, marks_of
from fluxbatch.manifest.recent import Recent
from fluxbatch.manifest.request import Change
from fluxbatch.manifest.values import Unusable

# Pillow's warnings are errors, set once for its own modules: `catch_warnings` swaps a global and is not for threads.
warnings.filterwarnings("error", module=r"PIL\.")

FORMATS = ("PNG", "JPEG", "WEBP")
PIXELS_MAX = 50_000_000
JPEG_QUALITY = 95
SHADE_MAX = 2
"""A profile that moves no colour by more than this many of 256 levels is sRGB, whatever it is called."""

KEPT_PROFILES = 1_000

_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, OverflowError, MemoryError)
"""What Pillow raises for a damaged file."""

_SPACES = {"RGB": "RGB ", "L": "GRAY", "CMYK": "CMYK"}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class _Profile(Enum):
    """A colour profile, as it is found out."""

    SRGB = "sRGB, or none"
    OTHER = "another one"
    UNUSABLE = "unusable"


_profiles: Recent[tuple[bytes, str], _Profile] = Recent(KEPT_PROFILES)


class Seen(NamedTuple):
    """A look at an original: its upright size, and what has to be changed before it is sent."""

    size: Size
    changes: tuple[Change, ...]


def look(content: bytes) -> Seen:
    """Decode a picture in full. Unusable says what is wrong with it."""
    with _opened(content) as (image, marks):
        image.load()
        size = image.size if marks.orientation < 5 else (image.height, image.width)
        return Seen(size, tuple(_changes(image, marks)))


def _changes(image: Image.Image, marks: Marks) -> Iterator[Change]:
    if marks.orientation != 1:
        yield Change.TURNED
    if image.mode.startswith("I"):
        yield Change.DEEP
    elif image.has_transparency_data and _alpha(image).getextrema()[0] != 255:
        yield Change.FLATTENED
    mode = _mode(image)
    judged = _judged(marks.profile, mode)
    if judged is _Profile.UNUSABLE:
        yield Change.PROFILE_DROPPED
    if mode == "CMYK" or judged is _Profile.OTHER:
        yield Change.RECOLOURED


def render(content: bytes, size: Size, crop: Size) -> bytes:
    """The picture as it is sent: the middle part of size `crop` of the upright picture, made `size`. A JPEG of a JPEG,
    else a PNG; without a profile, because it is in sRGB."""
    buffer = io.BytesIO()
    with _opened(content) as (image, marks):
        is_jpeg = image.format == "JPEG"
        upright = _turned(_resized(_plain(image), size, crop, marks.orientation), marks.orientation)
        opaque = _flattened(upright, marks.profile)
        options = {"format": "JPEG", "quality": JPEG_QUALITY} if is_jpeg else {"format": "PNG"}
        opaque.save(buffer, icc_profile=None, **options)
    return buffer.getvalue()


@contextmanager
def _opened(content: bytes) -> Iterator[tuple[Image.Image, Marks]]:
    """The picture, header read and within the limits, not yet decoded. Whatever Pillow minds becomes Unusable."""
    try:
        marks, pixels_only = marks_of(content), bare(content)
        if pixels_only is None:
            raise ValueError("no program builds one so")
        with Image.open(io.BytesIO(pixels_only), formats=FORMATS) as image:
            if image.width * image.height > PIXELS_MAX:
                size = f"{image.width}x{image.height}"
                raise Unusable(f"the picture is {size}, over {PIXELS_MAX // 10**6} megapixels", "make it smaller")
            if marks.frames > 1:
                raise Unusable("the picture is an animation", "give a single picture")
            yield image, marks
    except UnidentifiedImageError:
        raise Unusable("this is no PNG, JPEG or WebP picture", "convert it to one of these") from None
    except (Image.DecompressionBombError, Warning, *_UNREADABLE) as error:
        raise Unusable(f"the picture is damaged ({error})", "save it again from its source") from None


def _mode(image: Image.Image) -> str:
    """The mode in which the picture's colours are read: L, RGB or CMYK."""
    if image.mode in ("1", "L", "LA", "CMYK") or image.mode.startswith("I"):
        return "CMYK" if image.mode == "CMYK" else "L"
    return "RGB"


def _alpha(image: Image.Image) -> Image.Image:
    return image.convert("RGBA").getchannel("A")


def _plain(image: Image.Image) -> Image.Image:
    """The picture in a mode that resizes smoothly: L, LA, RGB, RGBA or CMYK."""
    if image.mode.startswith("I"):  # 16 bits of grey: a plain conversion would cut off all above 255
        return image.convert("I").point(lambda value: value / 257).convert("L")
    mode = _mode(image)
    mode = {"L": "LA", "RGB": "RGBA"}[mode] if image.has_transparency_data else mode
    return image if image.mode == mode else image.convert(mode)


def _resized(image: Image.Image, size: Size, crop: Size, orientation: int) -> Image.Image:
    """The middle of the picture as it lies: `size` and `crop` are upright."""
    if orientation >= 5:
        size, crop = size[::-1], crop[::-1]
    if image.size == size == crop:
        return image
    left, top = (image.width - crop[0]) / 2, (image.height - crop[1]) / 2
    box = (left, top, left + crop[0], top + crop[1])
    return image.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def _flattened(image: Image.Image, profile: bytes | None) -> Image.Image:
    """In sRGB, and over white where it is transparent."""
    if image.mode not in ("RGBA", "LA"):
        return _in_srgb(image, profile)
    alpha = image.getchannel("A")
    colours = _in_srgb(image.convert("RGB" if image.mode == "RGBA" else "L"), profile)
    ground = Image.new(colours.mode, colours.size, "white")
    ground.paste(colours, mask=alpha)
    return ground


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if profile is not None and _judged(profile, image.mode) is _Profile.OTHER:
        return _converted(image, profile)
    return image.convert("RGB") if image.mode == "CMYK" else image


def _converted(image: Image.Image, profile: bytes) -> Image.Image:
    """The same colours in sRGB; what sRGB has not becomes the nearest that it has."""
    made = ImageCms.profileToProfile(
        image,
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        _srgb(),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert made is not None, "it is not converted in place"
    return made


@lru_cache(maxsize=1)
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _judged(profile: bytes | None, mode: str) -> _Profile:
    """What a profile means for pictures of this mode; remembered by its hash."""
    if profile is None:
        return _Profile.SRGB
    return _profiles.get((hashlib.sha256(profile).digest(), mode), lambda: _judge(profile, mode))


def _judge(profile: bytes, mode: str) -> _Profile:
    """Colours are tried on an even sample of them: names lie, and sRGB is written in many ways."""
    sample = _sample(mode)
    try:
        space: str = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space
        if space != _SPACES[mode]:
            return _Profile.UNUSABLE
        as_told, as_srgb = _converted(sample, profile).tobytes(), sample.convert("RGB").tobytes()
    except (ImageCms.PyCMSError, *_UNREADABLE):
        return _Profile.UNUSABLE
    moved = max(abs(told - plain) for told, plain in zip(as_told, as_srgb, strict=True))
    return _Profile.SRGB if moved <= SHADE_MAX and mode != "CMYK" else _Profile.OTHER


def _sample(mode: str) -> Image.Image:
    if mode == "L":
        return Image.frombytes("L", (256, 1), bytes(range(256)))
    if mode == "CMYK":
        return Image.new("CMYK", (1, 1))
    levels = range(0, 256, 17)
    colours = bytes(level for red in levels for green in levels for blue in levels for level in (red, green, blue))
    return Image.frombytes("RGB", (len(colours) // 3, 1), colours)
