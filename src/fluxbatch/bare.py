"""A picture without what is told about it: only what its pixels need goes to the decoder. Pure.

Pillow walks over a picture's segments in Python and unpacks their texts, so 50 kB of comments took 180 MB, and a
progressive JPEG of 2 MB with 100,000 scans of 20 bytes each half an hour. What an encoder writes stays far below the
limits here. WebP is taken apart in C, and has no such parts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

SCANS_MAX = 64
"""A progressive JPEG has some ten scans; each is a pass over all of its pixels."""
SEGMENTS_MAX = 2_000
CHUNKS_MAX = 20_000
"""Encoders that write the rows of a PNG in pieces of 8 kB come to 2,000 for the largest picture."""

_JPEG = b"\xff\xd8"
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_START_OF_SCAN, _JFIF, _ADOBE, _COMMENT = 0xDA, 0xE0, 0xEE, 0xFE
_ALONE = frozenset({0x01, 0xD8, *range(0xD0, 0xD8)})
_LENGTH = struct.Struct(">H")
_CHUNK = struct.Struct(">I4s")


def bare(content: bytes) -> bytes | None:
    """The same pixels in fewer bytes; None when its build is none that an encoder makes, so it must not be decoded."""
    if content.startswith(_PNG):
        return _bare_png(content)
    return _bare_jpeg(content) if content.startswith(_JPEG) else content


def _bare_jpeg(content: bytes) -> bytes | None:
    """Without comments and application segments before the first scan, but for those that say how colours are meant."""
    kept = [_JPEG]
    try:
        for marker, at, end in segments(content):
            if marker == _START_OF_SCAN and content.count(b"\xff\xda", at) > SCANS_MAX:
                return None
            if marker in (_JFIF, _ADOBE) or not (0xE0 <= marker <= 0xEF or marker == _COMMENT):
                kept.append(content[at:end])
    except ValueError:
        return None
    return b"".join(kept)


def segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """The segments of a JPEG: marker, start, end; the first scan is the last, and goes to the end of the file.
    ValueError where its build is none that an encoder makes."""
    at = len(_JPEG)
    for _ in range(SEGMENTS_MAX):
        at = content.find(b"\xff", at)  # decoders skip what stands between two segments and is none
        if at < 0 or at + 4 > len(content):
            break
        marker = content[at + 1]
        if marker == 0xFF:  # a marker may be filled up in front
            at += 1
            continue
        if marker == _START_OF_SCAN:
            yield marker, at, len(content)
            return
        end = at + 2 if marker in _ALONE else at + 2 + _LENGTH.unpack_from(content, at + 2)[0]
        if end < at + 2 or end > len(content) or (end < at + 4 and marker not in _ALONE):
            break
        yield marker, at, end
        at = end
    raise ValueError("no encoder builds such a JPEG")


def _bare_png(content: bytes) -> bytes | None:
    """The chunks of the pixels, and nothing behind the end."""
    try:
        return b"".join([_PNG, *(content[at:end] for name, at, end in chunks(content) if name in _PNG_KEPT)])
    except ValueError:
        return None


def chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The chunks of a PNG up to its end: name, start, end (behind the file's own where it was cut off). ValueError
    where there are more than any encoder writes."""
    at = len(_PNG)
    for _ in range(CHUNKS_MAX):
        if at + _CHUNK.size > len(content):
            return
        length, name = _CHUNK.unpack_from(content, at)
        end = at + 12 + length
        yield name, at, end
        if name == b"IEND" or end > len(content):
            return
        at = end
    raise ValueError("no encoder builds such a PNG")
