"""A PNG's XMP packet: an iTXt chunk with the keyword `XML:com.adobe.xmp` (PNG Specification, Third Edition, 11.3.3.4;
XMP Specification Part 3, 1.1.5), not compressed. It stands right behind IHDR: chunks of text may stand anywhere, and
readers that do not go through the pixels find it there."""

from __future__ import annotations

import struct
import zlib

from fluxbatch.bare import chunks
from fluxbatch.provenance.facts import Unmarkable
from fluxbatch.provenance.form import Form, Spot
from fluxbatch.provenance.packet import PACKET_BYTES_MAX

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEYWORD = b"XML:com.adobe.xmp\0"
_NOT_COMPRESSED = b"\0\0\0\0"  # flag, method, and neither language nor translated keyword
_HEAD_BYTES, _CRC_BYTES = 8, 4  # length and name; checksum


def _find(content: bytes) -> Spot:
    found = _chunks(content)
    packets = [(at, end) for name, at, end in found if name == b"iTXt" and _is_packet(content, at)]
    is_signed = any(name == b"caBX" for name, _, _ in found)
    if len(packets) > 1:
        raise Unmarkable("has more than one XMP packet")
    for at, end in packets:
        if zlib.crc32(content[at + 4 : end - _CRC_BYTES]) != int.from_bytes(content[end - _CRC_BYTES : end], "big"):
            raise Unmarkable("is damaged (its XMP packet is not what it was)")
        return Spot(_packet(content[at + _HEAD_BYTES + len(_KEYWORD) : end - _CRC_BYTES]), at, end, is_signed)
    first = found[0][2]
    return Spot(None, first, first, is_signed)


def _chunks(content: bytes) -> list[tuple[bytes, int, int]]:
    try:
        found = list(chunks(content))
    except ValueError as error:
        raise Unmarkable(f"is damaged ({error})") from None
    if not found or found[0][0] != b"IHDR" or found[-1][0] != b"IEND" or found[-1][2] > len(content):
        raise Unmarkable("is damaged (its beginning or its end is missing)")
    return found


def _is_packet(content: bytes, at: int) -> bool:
    return content.startswith(_KEYWORD, at + _HEAD_BYTES)


def _packet(text: bytes) -> bytes:
    """The packet of an iTXt chunk, from its compression flag on."""
    is_compressed, *names_and_text = text[:1] == b"\1", *text[2:].split(b"\0", 2)
    if len(names_and_text) != 3:
        raise Unmarkable("has an XMP packet that cannot be read")
    if not is_compressed:
        return names_and_text[2]
    try:
        return zlib.decompressobj().decompress(names_and_text[2], PACKET_BYTES_MAX + 1)
    except zlib.error:
        raise Unmarkable("has an XMP packet that cannot be read") from None


def _put(content: bytes, spot: Spot, packet: bytes) -> bytes:
    chunk = b"".join((b"iTXt", _KEYWORD, _NOT_COMPRESSED, packet))
    length, checksum = struct.pack(">I", len(chunk) - 4), struct.pack(">I", zlib.crc32(chunk))
    return b"".join((content[: spot.at], length, chunk, checksum, content[spot.end :]))


PNG = Form(lambda content: content.startswith(_SIGNATURE), _find, _put)
