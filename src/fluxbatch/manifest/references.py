"""Reference images: opened, checked, and fitted under the side that the model takes.

The original is never changed. What is sent in its place is made when it is sent, from the same bytes: the key of a
request is over the original's hash, so a new Pillow never makes a new picture.
"""

from __future__ import annotations

import hashlib
import io
import struct
import threading
import warnings
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Generic, TypeVar

from PIL import Image, ImageOps, UnidentifiedImageError  # noqa: TID251 - one of the three places where images are opened

from fluxbatch.errors import UsageError
from fluxbatch.manifest.request import Reference
from fluxbatch.manifest.values import Unusable
from fluxbatch.models.catalogue import Model

# Pillow's warnings are errors, set once for its own modules: `catch_warnings` swaps a global and is not for threads.
warnings.filterwarnings("error", module=r"PIL\.")

FORMATS = ("PNG", "JPEG", "WEBP")
PIXELS_MAX = 50_000_000
BYTES_MAX = 50_000_000
JPEG_QUALITY = 95
PATH_SHOWN_MAX = 200
KEPT_REFERENCES = 10_000
KEPT_FITTED = 64

_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, OverflowError, MemoryError)
"""What Pillow raises for a damaged file."""

K = TypeVar("K")
V = TypeVar("V")


class _Recent(Generic[K, V]):
    """The last few values by key, for any thread."""

    def __init__(self, entries_max: int) -> None:
        self._entries_max = entries_max
        self._entries: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K, make: Callable[[], V]) -> V:
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key]
        value = make()
        with self._lock:
            self._entries[key] = value
            if len(self._entries) > self._entries_max:
                self._entries.popitem(last=False)
        return value


_read: _Recent[tuple[str, int, int, int], Reference] = _Recent(KEPT_REFERENCES)
_fitted: _Recent[tuple[str, int, int], bytes] = _Recent(KEPT_FITTED)


def read_reference(source: Path | bytes, model: Model) -> Reference:
    """Open and check one reference image, by path or by its bytes; decoded once in full. Unusable says what is wrong.

    Sizes are upright, as the camera's orientation mark says. A file is looked at once as long as its time and size
    stay the same.
    """
    if isinstance(source, bytes):
        return replace(_look(source, model), content=source)
    try:
        stat = source.stat()
        if not source.is_file():
            raise Unusable(f"{_named(source)} is no file", "give the path of a PNG, JPEG or WebP file")
        if stat.st_size > BYTES_MAX:
            raise _too_heavy(stat.st_size)
        key = (str(source), stat.st_mtime_ns, stat.st_size, model.reference_side_max)
        return _read.get(key, lambda: replace(_look(_content(source), model), path=str(source)))
    except FileNotFoundError:
        raise Unusable(
            f"{_named(source)} does not exist", "correct the path (it is relative to the manifest)"
        ) from None
    except OSError as error:
        raise Unusable(f"{_named(source)} cannot be read ({error.strerror or error})", "check the file") from None


def _named(source: Path) -> str:
    """A path in a message: its end, where it is longer than anybody reads."""
    name = str(source)
    return name if len(name) <= PATH_SHOWN_MAX else f"…{name[-PATH_SHOWN_MAX:]}"


def was_fitted(reference: Reference) -> bool:
    """Whether a smaller picture is sent in place of the original."""
    return (reference.width, reference.height) != (reference.fitted_width, reference.fitted_height)


def fitted_bytes(reference: Reference, model: Model) -> bytes:
    """What is sent: the original bytes if they fit, else a PNG (a JPEG of a JPEG) of the fitted size.

    Reads the file again; UsageError if it has gone or changed since the manifest was read. `model` must be the one
    that the reference was read for. Safe in any thread; decoding takes milliseconds, so keep it off the event loop.
    """
    content = _original(reference)
    if not was_fitted(reference):
        return content
    size = (reference.fitted_width, reference.fitted_height)
    if max(size) > model.reference_side_max:
        raise UsageError(f"a reference was fitted to {size[0]}x{size[1]}, too large for {model.name}; read it again")
    return _fitted.get((reference.sha256, *size), lambda: _resized(content, size))


def _original(reference: Reference) -> bytes:
    if reference.content is not None:
        return reference.content
    where = reference.path or "a reference image"
    try:
        content = _content(Path(where))
    except OSError as error:
        raise UsageError(f"{where}: cannot be read any more ({error.strerror or error}); restore it") from None
    if hashlib.sha256(content).hexdigest() != reference.sha256:
        raise UsageError(f"{where}: the picture was changed since the manifest was read; start the run again")
    return content


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(BYTES_MAX + 1)
    if len(content) > BYTES_MAX:
        raise _too_heavy(len(content))
    return content


def _look(content: bytes, model: Model) -> Reference:
    if len(content) > BYTES_MAX:
        raise _too_heavy(len(content))
    with _opened(content) as image:
        width, height = _upright_size(image)
        image.load()
    longest, side_max = max(width, height), model.reference_side_max
    fitted = (width, height)
    if longest > side_max:
        fitted = (max(1, round(width * side_max / longest)), max(1, round(height * side_max / longest)))
    return Reference(hashlib.sha256(content).hexdigest(), width, height, *fitted)


@contextmanager
def _opened(content: bytes) -> Iterator[Image.Image]:
    """The picture, header read and within the limits, not yet decoded. Whatever Pillow minds becomes Unusable."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > PIXELS_MAX:
                size = f"{image.width}x{image.height}"
                raise Unusable(f"the picture is {size}, over {PIXELS_MAX // 10**6} megapixels", "make it smaller")
            if image.format in ("PNG", "WEBP") and getattr(image, "n_frames", 1) > 1:
                raise Unusable("the picture is an animation", "give a single picture")
            yield image
    except UnidentifiedImageError:
        raise Unusable("this is no PNG, JPEG or WebP picture", "convert it to one of these") from None
    except (Image.DecompressionBombError, Warning, *_UNREADABLE) as error:
        raise Unusable(f"the picture is damaged ({error})", "save it again from its source") from None


def _upright_size(image: Image.Image) -> tuple[int, int]:
    turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)  # the orientation mark: a quarter turn
    return (image.height, image.width) if turned else (image.width, image.height)


def _resized(content: bytes, size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    with _opened(content) as image:
        is_jpeg = image.format in ("JPEG", "MPO")
        profile = image.info.get("icc_profile")
        upright = _plain(ImageOps.exif_transpose(image), is_jpeg)
        smaller = upright.resize(size, Image.Resampling.LANCZOS)
        if is_jpeg:
            smaller.save(buffer, "JPEG", quality=JPEG_QUALITY, icc_profile=profile if image.mode == "RGB" else None)
        else:
            smaller.save(buffer, "PNG", icc_profile=profile if image.mode in ("RGB", "RGBA") else None)
    return buffer.getvalue()


def _plain(image: Image.Image, is_jpeg: bool) -> Image.Image:
    """The picture in a mode that resizes smoothly and saves as its format: palettes and rare modes made plain."""
    if image.mode in ("RGB", "L") or (image.mode in ("RGBA", "LA") and not is_jpeg):
        return image
    if image.mode.startswith("I"):  # 16 bits of grey: a plain conversion would cut off all above 255
        return image.convert("I").point(lambda value: value / 257).convert("L")
    return image.convert("RGBA" if image.has_transparency_data and not is_jpeg else "RGB")


def _too_heavy(size_bytes: int) -> Unusable:
    return Unusable(f"the picture has {size_bytes / 1e6:.0f} MB, over {BYTES_MAX // 10**6}", "make it smaller")
