"""A WebP's XMP packet: the chunk `XMP ` of an extended file (WebP Container Specification, "Extended File Format":
https://developers.google.com/speed/webp/docs/riff_container). It stands at the end, behind pixels and Exif.

A simple file (one VP8 or VP8L chunk) becomes an extended one: VP8X in front says the canvas's size, that there is XMP,
and for VP8L whether there is alpha. The chunk of the pixels stays what it is.
"""

from __future__ import annotations

import struct

from fluxbatch.provenance.facts import Unmarkable
from fluxbatch.provenance.form import Form, Spot

CHUNKS_MAX = 20_000
"""Of an animation each picture is one."""

_HEAD_BYTES, _CHUNK_HEAD_BYTES, _VP8X_BYTES = 12, 8, 10
_HAS_XMP, _HAS_ALPHA = 0x04, 0x10
_SIDE = 0x3FFF  # 14 bits
_UINT32 = 0xFFFFFFFF
_Chunk = tuple[bytes, int, int]


def _find(content: bytes) -> Spot:
    found = _chunks(content)
    packets = [(at, end) for name, at, end in found if name == b"XMP "]
    is_signed = any(name == b"C2PA" for name, _, _ in found)
    if len(packets) > 1:
        raise Unmarkable("has more than one XMP packet")
    for at, end in packets:
        (length,) = struct.unpack_from("<I", content, at + 4)
        return Spot(content[at + _CHUNK_HEAD_BYTES :][:length], at, end, is_signed)
    return Spot(None, found[-1][2], found[-1][2], is_signed)


def _chunks(content: bytes) -> list[_Chunk]:
    """Name, start and end (with the padding) of each. Unmarkable when they are not what the container says."""
    end = _CHUNK_HEAD_BYTES + struct.unpack_from("<I", content, 4)[0]
    found, at = list[_Chunk](), _HEAD_BYTES
    while at + _CHUNK_HEAD_BYTES <= min(end, len(content)) and len(found) < CHUNKS_MAX:
        (length,) = struct.unpack_from("<I", content, at + 4)
        found.append((content[at : at + 4], at, at + _CHUNK_HEAD_BYTES + length + length % 2))
        at = found[-1][2]
    if not found or at != end or end > len(content):
        raise Unmarkable("is damaged (its chunks do not fit into it)")
    is_extended = found[0][0] == b"VP8X" and found[0][2] - found[0][1] == _CHUNK_HEAD_BYTES + _VP8X_BYTES
    if not is_extended and (len(found) > 1 or found[0][0] not in (b"VP8 ", b"VP8L")):
        raise Unmarkable("is damaged (its chunks are not those of a WebP)")
    return found


def _put(content: bytes, spot: Spot, packet: bytes) -> bytes:
    (length,) = struct.unpack_from("<I", content, 4)
    body = b"".join(
        (_extended(content[_HEAD_BYTES : spot.at]), _chunk(b"XMP ", packet), content[spot.end : 8 + length])
    )
    if len(body) + 4 > _UINT32 - 1:
        raise Unmarkable("has no room for a mark")
    return b"".join((b"RIFF", struct.pack("<I", 4 + len(body)), b"WEBP", body, content[8 + length :]))


def _chunk(name: bytes, content: bytes) -> bytes:
    return b"".join((name, struct.pack("<I", len(content)), content, b"\0" * (len(content) % 2)))


def _extended(chunks: bytes) -> bytes:
    """The chunks of an extended file that says that it has XMP."""
    if chunks.startswith(b"VP8X"):
        flags = chunks[_CHUNK_HEAD_BYTES] | _HAS_XMP
        return b"".join((chunks[:_CHUNK_HEAD_BYTES], bytes([flags]), chunks[_CHUNK_HEAD_BYTES + 1 :]))
    width, height, alpha = _lossless(chunks) if chunks.startswith(b"VP8L") else _lossy(chunks)
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return _chunk(b"VP8X", bytes([_HAS_XMP | alpha, 0, 0, 0]) + sides) + chunks


def _lossy(chunk: bytes) -> tuple[int, int, int]:
    """Width, height and flag of alpha (none) of a key frame (RFC 6386, 9.1: a tag of 3 bytes, a start code, 14 bits of
    each side, and 2 of scaling)."""
    frame = chunk[_CHUNK_HEAD_BYTES:][:10]
    if len(frame) < 10 or frame[0] & 1 or frame[3:6] != b"\x9d\x01\x2a":
        raise Unmarkable("is damaged (its pixels do not begin with a key frame)")
    width, height = (side & _SIDE for side in struct.unpack_from("<HH", frame, 6))
    if not width or not height:
        raise Unmarkable("is damaged (it has no size)")
    return width, height, 0


def _lossless(chunk: bytes) -> tuple[int, int, int]:
    """Width, height and flag of alpha (WebP Lossless Bitstream, 3: a signature, 14 bits of each side less one, a bit
    that says whether alpha is used)."""
    head = chunk[_CHUNK_HEAD_BYTES:][:5]
    if len(head) < 5 or head[0] != 0x2F:
        raise Unmarkable("is damaged (its pixels do not begin as they should)")
    (bits,) = struct.unpack_from("<I", head, 1)
    return (bits & _SIDE) + 1, (bits >> 14 & _SIDE) + 1, _HAS_ALPHA if bits >> 28 & 1 else 0


WEBP = Form(lambda content: content[:4] == b"RIFF" and content[8:12] == b"WEBP", _find, _put)
