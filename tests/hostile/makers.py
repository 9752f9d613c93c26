"""What the stories of the corpus are made of: `<<name words>>` in a file becomes bytes here, so that a bomb is a line.

What is long is a `Flow`: a length and a way to walk over its pieces, so that 200 MB are never held.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import random
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image  # noqa: TID251 - the tests paint the pictures that lie

PIECE_BYTES = 1 << 18
_CALL = re.compile(rb"<<([a-z_0-9]+)((?: [^<>\n]*)?)>>")


@dataclass(frozen=True)
class Flow:
    """So many bytes, in pieces."""

    length: int
    pieces: Callable[[], Iterator[bytes]]


Made = bytes | Flow


def expanded(template: bytes) -> list[Made]:
    """The template with every call replaced by what it makes."""
    found: list[Made] = []
    end = 0
    for call in _CALL.finditer(template):
        found += [template[end : call.start()], made(f"{call[1].decode()}{call[2].decode()}")]
        end = call.end()
    return [*found, template[end:]]


def made(words: str) -> Made:
    """What one call makes. The words behind the name are its parameters; `b64`, `gzip`, … take a call of their own."""
    name, _, rest = words.partition(" ")
    if name in _WRAPPERS:
        inner = made(rest)
        assert isinstance(inner, bytes), f"{words}: only what is short can be wrapped"
        return _WRAPPERS[name](inner)
    return _MAKERS[name](*rest.split())


def _text(sizes: str) -> int:
    return int(sizes.replace("_", ""))


def _zeros(count: str) -> Made:
    return _again("00", count)


def _again(piece_hex: str, count: str) -> Made:
    """A few bytes, given in hex, so many times."""
    piece, times = bytes.fromhex(piece_hex), _text(count)
    if len(piece) * times <= PIECE_BYTES * 64:
        return piece * times
    per_piece = max(1, PIECE_BYTES // len(piece))

    def pieces() -> Iterator[bytes]:
        whole = piece * per_piece
        for _ in range(times // per_piece):
            yield whole
        yield piece * (times % per_piece)

    return Flow(len(piece) * times, pieces)


def _chunked(size: str, count: str) -> Made:
    """A chunked body of zeros without its end: so many chunks of that size."""
    one = b"%x\r\n%s\r\n" % (_text(size), b"0" * _text(size))

    def pieces() -> Iterator[bytes]:
        for _ in range(_text(count)):
            yield one

    return Flow(len(one) * _text(count), pieces)


def _nest(opening: str, count: str) -> bytes:
    closing = {"[": "]", "{": "}"}[opening]
    inner = '"a":' if opening == "{" else ""
    return (f"{opening}{inner}" * _text(count) + "1" + closing * _text(count)).encode()


def _numbered(count: str, *words: str) -> bytes:
    """The words so many times, each with its number for %d, joined by commas (or by what `join=` says)."""
    text = " ".join(words)
    return ",".join(text % index if "%d" in text else text for index in range(_text(count))).encode()


def _headers(count: str, length: str = "8") -> bytes:
    """So many header lines, each with a value of that length."""
    return b"\r\n".join(b"x-h%d: %s" % (index, b"v" * _text(length)) for index in range(_text(count)))


def _random(count: str, seed: str = "1") -> bytes:
    return random.Random(int(seed)).randbytes(_text(count))


def _hex(text: str) -> bytes:
    return bytes.fromhex(text)


def _utf8(*points: str) -> bytes:
    return "".join(chr(int(point, 16)) for point in points).encode("utf-8", "surrogatepass")


@lru_cache(maxsize=64)
def painted(kind: str, width: int = 64, height: int = 48, mode: str = "RGB", **options: object) -> bytes:
    """A small picture with some texture, so that it is not blank."""
    colours = random.Random(7).randbytes(16 * 3)
    image = Image.frombytes("RGB", (4, 4), colours).resize((width, height), Image.Resampling.BICUBIC).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind.upper(), **options)
    return buffer.getvalue()


def _image(kind: str) -> Callable[..., bytes]:
    def make(width: str = "64", height: str = "48", mode: str = "RGB") -> bytes:
        return painted(kind, int(width), int(height), mode)

    return make


def chunk(name: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_of(
    *chunks: bytes, width: int = 64, height: int = 48, bits: int = 8, colour: int = 2, rows: bytes | None = None
) -> bytes:
    """A PNG whose header, chunks and rows need not agree; without rows it is a plain one."""
    if rows is None:
        rows = b"".join(b"\0" + bytes((y * 5 + x) % 256 for x in range(width * 3)) for y in range(height))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(rows, 9))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + body + chunk(b"IEND")


def _png_says(width: str, height: str, bits: str = "8", colour: str = "2") -> bytes:
    """A PNG that claims a size and has next to nothing in it."""
    size = {"width": int(width), "height": int(height)}
    return png_of(**size, bits=int(bits), colour=int(colour), rows=b"\0" * 1000)


def _png_true(width: str, height: str, colour: str = "2") -> bytes:
    """A PNG that really is as large as it says: all zeros."""
    samples = {"0": 1, "2": 3, "3": 1, "6": 4}[colour]
    rows = b"\0" * ((int(width) * samples + 1) * int(height))
    palette = [chunk(b"PLTE", bytes(range(255)))] if colour == "3" else []
    return png_of(*palette, width=int(width), height=int(height), colour=int(colour), rows=rows)


def _png_chunks(name: str, count: str, body_hex: str = "") -> bytes:
    return png_of(chunk(name.encode(), bytes.fromhex(body_hex)) * _text(count))


def _png_ztxt(count: str, size: str) -> bytes:
    return png_of(chunk(b"zTXt", b"k\0\0" + zlib.compress(b"a" * _text(size), 9)) * _text(count))


def _png_itxt(count: str, size: str) -> bytes:
    text = zlib.compress(("a" * (_text(size) - 4) + "\U0001f600").encode(), 9)
    return png_of(*(chunk(b"iTXt", b"k%d\0\1\0\0\0" % index + text) for index in range(_text(count))))


def _png_iccp(size: str) -> bytes:
    return png_of(chunk(b"iCCP", b"k\0\0" + zlib.compress(b"a" * _text(size), 9)))


def _apng(frames: str) -> bytes:
    """An animation of frames that are empty."""
    count = _text(frames)
    frame = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 64, 48, 0, 0, 1, 100, 0, 0))
    return png_of(chunk(b"acTL", struct.pack(">II", count, 0)), frame * count)


def _jpeg_scans(width: str, height: str, count: str) -> bytes:
    """A progressive JPEG with its last scan so many times more: each is some 20 bytes, and a pass over all pixels."""
    plain = io.BytesIO()
    Image.new("RGB", (int(width), int(height)), (9, 9, 9)).save(plain, "JPEG", progressive=True)
    content = plain.getvalue()
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + last * _text(count) + b"\xff\xd9"


def _jpeg_with(segment_hex: str, count: str = "1") -> bytes:
    """A sound JPEG with a segment so many times behind its first two bytes."""
    content = painted("jpeg")
    return content[:2] + bytes.fromhex(segment_hex) * _text(count) + content[2:]


def _jpeg_app(marker: str, start: str, size: str, seed: str = "1") -> bytes:
    """A sound JPEG with one application segment: how it starts (hex), and noise behind."""
    content = painted("jpeg")
    body = bytes.fromhex(start) + random.Random(int(seed)).randbytes(_text(size))
    return content[:2] + b"\xff" + bytes.fromhex(marker) + struct.pack(">H", len(body) + 2) + body + content[2:]


def _jpeg_exif(tags: str, unit: str = "4") -> bytes:
    """A JPEG whose EXIF has so many tags, each pointing at the same many bytes."""
    count = _text(tags)
    entries = b"".join(struct.pack("<HHLL", index, 7, 60_000 - count * 12, 8) for index in range(count))
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", count) + entries + b"\0" * 4
    return _jpeg_segment(b"\xe1", exif + b"\0" * (60_000 - len(exif)))


def _jpeg_segment(marker: bytes, body: bytes) -> bytes:
    content = painted("jpeg")
    return content[:2] + b"\xff" + marker + struct.pack(">H", len(body) + 2) + body + content[2:]


def _cut(share: str, *words: str) -> bytes:
    """The first so many thousandths of something."""
    whole = made(" ".join(words))
    assert isinstance(whole, bytes)
    return whole[: len(whole) * int(share) // 1000]


def _joined(*words: str) -> bytes:
    """Several calls, separated by +, behind each other."""
    return b"".join(part for call in " ".join(words).split(" + ") if isinstance(part := made(call), bytes))


def _picture(*words: str) -> bytes:
    """Cloudflare's answer with a picture in it."""
    image = made(" ".join(words) or "jpeg")
    assert isinstance(image, bytes)
    return answer_of(image)


def answer_of(image: bytes) -> bytes:
    text = base64.b64encode(image).decode()
    return json.dumps({"result": {"image": text}, "success": True, "errors": [], "messages": []}).encode()


def _error(code: str, *words: str) -> bytes:
    """Cloudflare's answer with one error; the code as it stands, so `3040`, `"3040"` or `null`."""
    message = json.dumps(" ".join(words))
    return f'{{"errors":[{{"code":{code},"message":{message}}}],"success":false,"result":{{}},"messages":[]}}'.encode()


def _deflate(content: bytes) -> bytes:
    return zlib.compress(content, 9)


def _zstd(content: bytes) -> bytes:
    """One zstd frame of run-length blocks: each four bytes long and 128 kB large (RFC 8878)."""
    blocks, rest = divmod(len(content), 1 << 17)
    sizes = [1 << 17] * blocks + [rest]
    head = b"\x28\xb5\x2f\xfd" + b"\x00\x58"  # no size, no checksum, a window of 2 MB
    last = len(sizes) - 1
    lines = [struct.pack("<I", (size << 3) | 2 | (index == last))[:3] + b"\0" for index, size in enumerate(sizes)]
    return head + b"".join(lines)


_WRAPPERS: dict[str, Callable[[bytes], bytes]] = {
    "b64": base64.b64encode,
    "b64url": base64.urlsafe_b64encode,
    "b64lines": base64.encodebytes,
    "b64php": lambda content: base64.b64encode(content).replace(b"/", b"\\/"),
    "b64net": lambda content: base64.b64encode(content).replace(b"+", b"\\u002B"),
    "gzip": lambda content: gzip.compress(content, 9, mtime=0),
    "deflate": _deflate,
    "zstd": _zstd,
    "utf16": lambda content: content.decode().encode("utf-16"),
    "utf32": lambda content: content.decode().encode("utf-32"),
    "reversed": lambda content: content[::-1],
}

_MAKERS: dict[str, Callable[..., Made]] = {
    "zeros": _zeros, "again": _again, "chunked": _chunked, "nest": _nest, "numbered": _numbered, "headers": _headers,
    "random": _random, "hex": _hex, "utf8": _utf8, "cut": _cut, "joined": _joined, "picture": _picture, "error": _error,
    "png_says": _png_says, "png_true": _png_true, "png_chunks": _png_chunks, "png_ztxt": _png_ztxt,
    "png_itxt": _png_itxt, "png_iccp": _png_iccp, "apng": _apng, "jpeg_scans": _jpeg_scans, "jpeg_with": _jpeg_with,
    "jpeg_app": _jpeg_app, "jpeg_exif": _jpeg_exif,
    **{kind: _image(kind) for kind in ("jpeg", "png", "webp", "gif", "bmp", "tiff", "ico", "ppm", "tga", "avif")},
}  # fmt: skip
