"""What a picture says of itself besides its pixels: how it is to be turned, and what its colours mean. Pure.

Read here and not by Pillow, which unpacks every text and every tag that it meets: 55 kB took 199 MB.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from fluxbatch.bare import chunks, segments

PROFILE_BYTES_MAX = 4_000_000
"""Those of printing presses have some 2 MB."""
WEBP_CHUNKS_MAX = 2_000
TAGS_MAX = 1_000
"""A camera writes some fifty. Thousands that share their bytes are there to fill a reader's memory."""

_ORIENTATION, _SHORT = 0x0112, 3
_EXIF = b"Exif\0\0"
_ICC = b"ICC_PROFILE\0"
_JPEG_EXIF, _JPEG_ICC = 0xE1, 0xE2


class Marks(NamedTuple):
    """`orientation` is EXIF's, 1 (upright) to 8. `profile` is the ICC profile: None where there is none, empty where it
    cannot be read."""

    orientation: int = 1
    profile: bytes | None = None
    frames: int = 1


def marks_of(content: bytes) -> Marks:
    """The marks of a PNG, JPEG or WebP, as far as they can be read. ValueError for what no program writes."""
    if content.startswith(b"\x89PNG"):
        return _of_png(content)
    if content.startswith(b"\xff\xd8"):
        return _of_jpeg(content)
    return _of_webp(content) if content[:4] == b"RIFF" else Marks()


def _of_jpeg(content: bytes) -> Marks:
    exif: bytes = b""
    pieces: dict[int, bytes] = {}
    for marker, at, end in segments(content):
        body = content[at + 4 : end] if marker in (_JPEG_EXIF, _JPEG_ICC) else b""
        if marker == _JPEG_EXIF and body.startswith(_EXIF):
            exif = exif or body
        elif marker == _JPEG_ICC and body.startswith(_ICC) and len(body) > len(_ICC) + 2:
            pieces[body[len(_ICC)]] = body[len(_ICC) + 2 :]
    profile = b"".join(pieces[number] for number in sorted(pieces)) if pieces else None
    return Marks(_orientation(exif), _bounded(profile))


def _of_png(content: bytes) -> Marks:
    exif, profile, frames = b"", None, 1
    for name, at, end in chunks(content):
        if name == b"eXIf":
            exif = exif or content[at + 8 : end - 4]
        elif name == b"iCCP" and profile is None:
            profile = _unpacked(content[at + 8 : end - 4])
        elif name == b"acTL":
            frames = int.from_bytes(content[at + 8 : at + 12], "big")
    return Marks(_orientation(exif), _bounded(profile), frames)


def _of_webp(content: bytes) -> Marks:
    exif, profile, frames = b"", None, 0
    for name, at, end in _webp_chunks(content):
        if name == b"EXIF":
            exif = exif or content[at:end]
        elif name == b"ICCP" and profile is None:
            profile = content[at:end]
        frames += name == b"ANMF"
    return Marks(_orientation(exif), _bounded(profile), max(1, frames))


def _webp_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    at = 12
    for _ in range(WEBP_CHUNKS_MAX):
        if at + 8 > len(content):
            return
        name, length = struct.unpack_from("<4sI", content, at)
        yield name, at + 8, at + 8 + length
        at += 8 + length + length % 2


def _unpacked(body: bytes) -> bytes:
    """The profile of an iCCP chunk: a name, a zero, the method, and the profile packed by zlib."""
    packed = body.partition(b"\0")[2][1:]
    try:
        return zlib.decompressobj().decompress(packed, PROFILE_BYTES_MAX + 1)
    except zlib.error:
        return b""


def _bounded(profile: bytes | None) -> bytes | None:
    return b"" if profile is not None and len(profile) > PROFILE_BYTES_MAX else profile


def _orientation(exif: bytes) -> int:
    """The one tag of the first directory that is needed. EXIF is a TIFF file without a picture."""
    tiff = exif.removeprefix(_EXIF)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return 1
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    if start + 2 > len(tiff):
        return 1
    (count,) = struct.unpack_from(f"{order}H", tiff, start)
    if count > TAGS_MAX:
        raise ValueError(f"EXIF with {count} tags")
    for at in range(start + 2, min(start + 2 + 12 * count, len(tiff) - 11), 12):
        tag, kind, _count, value = struct.unpack_from(f"{order}HHIH", tiff, at)
        if (tag, kind) == (_ORIENTATION, _SHORT):
            return value if 1 <= value <= 8 else 1
    return 1
