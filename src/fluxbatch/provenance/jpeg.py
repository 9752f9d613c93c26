"""A JPEG's XMP packet: an APP1 segment of its own (XMP Specification Part 3, 1.1.3: `http://ns.adobe.com/xap/1.0/`, a
zero byte, the packet; 65,502 bytes of it at most). It stands behind APP0 and Exif, which have to be first."""

from __future__ import annotations

import struct

from fluxbatch.bare import segments
from fluxbatch.provenance.facts import Unmarkable
from fluxbatch.provenance.form import Form, Spot

PACKET_BYTES_MAX = 65_502

_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_APP0, _APP1, _APP11, _START_OF_SCAN = 0xE0, 0xE1, 0xEB, 0xDA
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_EXIF, _XMP, _JUMBF = b"Exif\0", b"http://ns.adobe.com/xap/1.0/\0", b"JP"
_HEAD_BYTES = 4  # marker and length


def _find(content: bytes) -> Spot:
    found = _segments(content)
    packets = [(at, end) for marker, at, end in found if marker == _APP1 and _says(content, at, _XMP)]
    is_signed = any(marker == _APP11 and _says(content, at, _JUMBF) for marker, at, _ in found)
    if len(packets) > 1:
        raise Unmarkable("has more than one XMP packet")
    for at, end in packets:
        return Spot(content[at + _HEAD_BYTES + len(_XMP) : end], at, end, is_signed)
    first = len(_SOI)
    for marker, at, end in found:
        if marker != _APP0 and not (marker == _APP1 and _says(content, at, _EXIF)):
            break
        first = end
    return Spot(None, first, first, is_signed)


def _segments(content: bytes) -> list[tuple[int, int, int]]:
    """Marker, start and end of each up to the first scan. Unmarkable for what no decoder would take to its end."""
    try:
        found = list(segments(content))
    except ValueError as error:
        raise Unmarkable(f"is damaged ({error})") from None
    if not any(marker in _FRAMES for marker, _, _ in found) or content.rfind(_EOI) < found[-1][1]:
        raise Unmarkable("is damaged (its end is missing, or what says how large it is)")
    return found


def _says(content: bytes, at: int, name: bytes) -> bool:
    return content.startswith(name, at + _HEAD_BYTES)


def _put(content: bytes, spot: Spot, packet: bytes) -> bytes:
    if len(packet) > PACKET_BYTES_MAX:
        raise Unmarkable("has no room for a mark in its XMP packet")
    head = struct.pack(">BBH", 0xFF, _APP1, 2 + len(_XMP) + len(packet))
    return b"".join((content[: spot.at], head, _XMP, packet, content[spot.end :]))


JPEG = Form(lambda content: content.startswith(_SOI + b"\xff"), _find, _put)
