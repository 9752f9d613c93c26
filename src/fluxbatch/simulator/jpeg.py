"""JPEG as bytes: comments go in, nothing else is touched. A comment (COM segment) is skipped by every decoder.

Each picture carries a label that no other has, so that a test can tell whose picture it holds.
"""

from __future__ import annotations

import random
from functools import lru_cache

START = b"\xff\xd8"
_COMMENT = b"\xff\xfe"
_COMMENT_BYTES_MAX = 65_533
_OVERHEAD = 4


def comment(payload: bytes) -> bytes:
    """One COM segment: marker, length (which counts itself), payload of at most 65,533 bytes."""
    if len(payload) > _COMMENT_BYTES_MAX:
        raise ValueError(f"a JPEG comment holds {_COMMENT_BYTES_MAX} bytes, not {len(payload)}")
    return _COMMENT + (len(payload) + 2).to_bytes(2, "big") + payload


@lru_cache(maxsize=64)
def filler(size: int) -> bytes:
    """COM segments of exactly `size` bytes together, incompressible like a picture; none below 4 bytes."""
    noise = random.Random(size)
    segments = []
    while size >= _OVERHEAD:
        rest = size - _OVERHEAD
        length = min(rest, _COMMENT_BYTES_MAX)
        if 0 < rest - length < _OVERHEAD:
            length -= _OVERHEAD
        segments.append(comment(noise.randbytes(length)))
        size = rest - length
    return b"".join(segments)


def read_label(picture: bytes) -> str | None:
    """The label that the simulator put into a JPEG: its first comment, or None."""
    if not picture.startswith(START + _COMMENT):
        return None
    length = int.from_bytes(picture[4:6], "big")
    return picture[6 : 4 + length].decode("ascii", "replace").rstrip()
