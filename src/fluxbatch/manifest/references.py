"""Reference images: found, looked at, and fitted under the side that the model takes.

The original is never changed. What is sent in its place is made when it is sent, from the same bytes: the key of a
request is over the original's hash (and over how it is cut or stretched), so a new Pillow never makes a new picture.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from fluxbatch.bare import bare
from fluxbatch.errors import UsageError
from fluxbatch.manifest.frame import Fit, Frame, Size, fitted
from fluxbatch.manifest.pixels import Seen, look, render
from fluxbatch.manifest.places import BYTES_MAX, Places, find_original
from fluxbatch.manifest.recent import Recent
from fluxbatch.manifest.request import Change, Reference
from fluxbatch.manifest.values import Unusable
from fluxbatch.models.catalogue import Model

PATH_SHOWN_MAX = 200
KEPT_LOOKS = 50_000
KEPT_FITTED = 64

_AS_IT_LIES = Frame()

_read: Recent[tuple[str, int, int, int, Frame], Reference] = Recent(KEPT_LOOKS)
_looks: Recent[str, Seen] = Recent(KEPT_LOOKS)
_rendered: Recent[tuple[str, Size, Size], bytes] = Recent(KEPT_FITTED)


def open_reference(source: str | bytes, folder: Path, places: Places, model: Model, frame: Frame) -> Reference:
    """The reference that a cell of the manifest in `folder` names, looked at; what was fetched for it is kept.
    Unusable says what is wrong."""
    found = find_original(source, folder, places)
    reference = replace(read_reference(found.place, model, frame), source=found.source)
    if found.keep_as is None or reference.content is None:
        return reference
    kept = places.kept.keep(found.keep_as, reference.content, reference.sha256)
    return reference if kept is None else replace(reference, path=str(kept), content=None)


def read_reference(source: Path | bytes, model: Model, frame: Frame = _AS_IT_LIES) -> Reference:
    """Open and check one reference image, by path or by its bytes; decoded once in full. Unusable says what is wrong.

    Sizes are upright, as the camera's orientation mark says. A file is looked at once as long as its time and size
    stay the same.
    """
    if isinstance(source, bytes):
        return replace(_reference(source, model, frame), content=source)
    try:
        stat = source.stat()
        if not source.is_file():
            raise Unusable(f"{_named(source)} is no file", "give the path of a PNG, JPEG or WebP file")
        if stat.st_size > BYTES_MAX:
            raise _too_heavy(stat.st_size)
        frame = _AS_IT_LIES if frame.fit is Fit.CONTAIN else frame
        key = (str(source), stat.st_mtime_ns, stat.st_size, model.reference_side_max, frame)
        return _read.get(key, lambda: replace(_reference(_content(source), model, frame), path=str(source)))
    except FileNotFoundError:
        raise Unusable(
            f"{_named(source)} does not exist", "correct the path (it is relative to the manifest)"
        ) from None
    except OSError as error:
        raise Unusable(f"{_named(source)} cannot be read ({error.strerror or error})", "check the file") from None


def checked(content: bytes) -> str:
    """The SHA-256 of a whole picture. Unusable when it is none; the look at it is remembered."""
    sha256 = hashlib.sha256(content).hexdigest()
    _looks.get(sha256, lambda: look(content))
    return sha256


def _reference(content: bytes, model: Model, frame: Frame) -> Reference:
    if len(content) > BYTES_MAX:
        raise _too_heavy(len(content))
    sha256 = hashlib.sha256(content).hexdigest()
    seen = _looks.get(sha256, lambda: look(content))
    sent = fitted(seen.size, frame, model.reference_side_max)
    return Reference(sha256, *seen.size, *sent.size, fit=sent.fit, crop=sent.crop, changes=seen.changes)


def _named(source: Path) -> str:
    """A path in a message: its end, where it is longer than anybody reads."""
    name = str(source)
    return name if len(name) <= PATH_SHOWN_MAX else f"…{name[-PATH_SHOWN_MAX:]}"


def was_fitted(reference: Reference) -> bool:
    """Whether a picture of another size, or a part of it, is sent in place of the original."""
    size = (reference.width, reference.height)
    return size != (reference.fitted_width, reference.fitted_height) or reference.crop not in (None, size)


def fitted_bytes(reference: Reference, model: Model) -> bytes:
    """What is sent: the original bytes if nothing has to be changed, else a PNG (a JPEG of a JPEG).

    Reads the file again; UsageError if it has gone or changed since the manifest was read. `model` must be the one
    that the reference was read for. Safe in any thread; decoding takes milliseconds, so keep it off the event loop.
    """
    content = _original(reference)
    if not was_fitted(reference):
        if not reference.changes:
            return content
        pixels_only = bare(content)
        if reference.changes == (Change.PROFILE_DROPPED,) and pixels_only not in (None, content):
            return pixels_only
    size = (reference.fitted_width, reference.fitted_height)
    if max(size) > model.reference_side_max:
        raise UsageError(f"a reference was fitted to {size[0]}x{size[1]}, too large for {model.name}; read it again")
    crop = reference.crop or (reference.width, reference.height)
    return _rendered.get((reference.sha256, size, crop), lambda: render(content, size, crop))


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


def _too_heavy(size_bytes: int) -> Unusable:
    return Unusable(f"the picture has {size_bytes / 1e6:.0f} MB, over {BYTES_MAX // 10**6}", "make it smaller")
