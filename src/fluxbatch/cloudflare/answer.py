"""What the bytes of an answer hold: a picture, or what was said instead. Pure, and never raises, whatever the bytes.

The content type is never asked: it was seen to be wrong, a "binary" model can answer JSON, and an error page of the
edge is HTML (CLOUDFLARE.md section 2). The first bytes decide.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NoReturn

PICTURE_BYTES_MAX = 12 * 1024 * 1024
"""So much has a picture of 2048x2048 pixels that is not compressed at all, and one of 2500x2500 (lucid-origin) with two
bytes a pixel; real ones have a twentieth (seen)."""
ERROR_BYTES_MAX = 1024 * 1024
"""An error answer is some hundred bytes; a bigger one is not parsed (on the event loop), its status is enough."""

_MESSAGE_SCANNED = 2000
_LONG_BYTES_MIN = 4096
_QUOTES_MAX = 4096
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\\"
_ESCAPED = ((rb"\/", b"/"), (rb"\u002F", b"/"), (rb"\u002f", b"/"), (rb"\u002B", b"+"), (rb"\u002b", b"+"),
            (rb"\u003D", b"="), (rb"\u003d", b"="))  # fmt: skip
"""How the characters of base64 that are no letters and digits may stand in JSON: .NET and PHP write them so."""
_PUT_ASIDE = "fluxbatch put a long text aside: "
_TITLE = re.compile(r"<title[^>]{0,100}>([^<]{1,300})", re.IGNORECASE)
_HEADING = re.compile(rb"data:[a-z0-9.+/-]{0,80};base64,", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Picture:
    """Bytes that begin like a JPEG, PNG or WEBP. Whether they decode is for the dataset to see."""

    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Words:
    """No picture: what the answer said. `ours` when it had Cloudflare's JSON shape (an `errors` list).

    `code` is Cloudflare's number as text, or None; `message` is raw text from outside, to be redacted and escaped.
    """

    code: str | None
    message: str
    ours: bool


def picture_type(content: bytes) -> Literal["jpeg", "png", "webp"] | None:
    """What the first bytes promise."""
    if content.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "webp"
    return None


def read_picture(body: bytes) -> Picture | Words:
    """The picture in a successful answer: `result.image` in base64, or the body itself."""
    if picture_type(body) is not None:
        return _picture(body)
    body, long_texts = _put_aside(body)
    if len(body) > ERROR_BYTES_MAX:
        return _said(f"the answer has {len(body)} bytes beside its picture: it is {_looks_like(body)}")
    try:
        answer = _parse(body)
    except (ValueError, RecursionError) as failure:
        return _said(f"the answer is no JSON and no picture ({_reason(failure)}): it is {_looks_like(body)}")
    if not isinstance(answer, dict):
        return _said(f"the answer is not a JSON object: it is {_looks_like(body)}")
    if not _succeeded(answer.get("success", True)):
        return _words(answer) or _said("the answer says that it failed, and not why")
    result = answer.get("result")
    image = result.get("image") if isinstance(result, dict) else None
    if not isinstance(image, str) or not image:
        return _said("the answer says success and has no picture (result.image)")
    return _decoded(long_texts.get(image, image))


def read_words(body: bytes, ranks: Iterable[frozenset[str]] = ()) -> Words:
    """What an error answer says. Of several errors, the first whose code is in the earliest of `ranks`."""
    if len(body) <= ERROR_BYTES_MAX:
        try:
            answer = _parse(body)
        except (ValueError, RecursionError):
            return _said(_page(body))
        if isinstance(answer, dict) and (words := _words(answer, tuple(ranks))):
            return words
    return _said(_page(body))


def read_list(body: bytes) -> list[object] | None:
    """The `result` of an answer that lists something, or None when it is no such answer."""
    if len(body) > ERROR_BYTES_MAX:
        return None
    try:
        answer = _parse(body)
    except (ValueError, RecursionError):
        return None
    result = answer.get("result") if isinstance(answer, dict) else None
    return result if isinstance(result, list) else None


def _succeeded(success: object) -> bool:
    return success.lower() == "true" if isinstance(success, str) else bool(success)


def _put_aside(body: bytes) -> tuple[bytes, dict[str, bytes]]:
    """The body with each long base64 text replaced by a name, and the texts by their names.

    What is left is small, so that no body, however it is built, makes more of itself when it is parsed: a single emoji
    would make text of 16 MiB four times as wide, and a million empty lists take 60 bytes each.
    """
    texts: dict[str, bytes] = {}
    kept, at, opening = [], 0, body.find(b'"')
    for _ in range(_QUOTES_MAX):
        closing = body.find(b'"', opening + 1)
        if opening < 0 or closing < 0:
            break
        if closing - opening > _LONG_BYTES_MIN and _is_base64(text := body[opening + 1 : closing]):
            key = f"{_PUT_ASIDE}{len(texts)}"
            texts[key] = text
            kept += [body[at:opening], f'"{key}"'.encode()]
            at, closing = closing + 1, body.find(b'"', closing + 1)
        opening = closing
    return b"".join([*kept, body[at:]]), texts


def _is_base64(text: bytes) -> bool:
    """Looked at in C: with a regular expression the pictures of a run took five times as long to read."""
    heading = _HEADING.match(text)
    return not (text[heading.end() :] if heading else text).translate(None, _BASE64)


def _decoded(image: str | bytes) -> Picture | Words:
    if isinstance(image, str):
        image = image.encode("utf-8", "replace")
    elif b"\\" in image:  # a text that was put aside was not read as JSON
        for escape, character in _ESCAPED:
            image = image.replace(escape, character)
    if heading := _HEADING.match(image):
        image = image[heading.end() :]
    if len(image) > PICTURE_BYTES_MAX // 3 * 4 + 4:
        return _said(f"the picture is larger than {PICTURE_BYTES_MAX} bytes")
    try:
        return _picture(binascii.a2b_base64(image, strict_mode=True))
    except ValueError as failure:
        return _said(f"the picture is not base64 ({_reason(failure)})")


def _picture(content: bytes) -> Picture | Words:
    if len(content) > PICTURE_BYTES_MAX:
        return _said(f"the picture is larger than {PICTURE_BYTES_MAX} bytes")
    if picture_type(content) is None:
        return _said(f"what came as a picture is not a picture: it is {_looks_like(content)}")
    return Picture(content)


def _words(answer: dict[str, object], ranks: tuple[frozenset[str], ...] = ()) -> Words | None:
    """The error to go by; None when there is no `errors` list, which is Cloudflare's shape."""
    errors = answer.get("errors")
    if not isinstance(errors, list):
        return None
    found = [Words(_code(e.get("code")), _text(e.get("message")), ours=True) for e in errors if isinstance(e, dict)]
    if not found:
        return Words(None, "an error without a code and a message", ours=True)
    return min(found, key=lambda words: next((i for i, rank in enumerate(ranks) if words.code in rank), len(ranks)))


def _parse(body: bytes) -> object:
    # Decoded here: json.loads would guess UTF-16 from zero bytes, and let surrogates through.
    return json.loads(body.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    # With a key twice, readers disagree about which one is meant; a guess here could name the wrong picture.
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _code(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9:
        return str(value)
    return value if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value) else None


def _text(value: object) -> str:
    return value[:_MESSAGE_SCANNED] if isinstance(value, str) and value.strip() else "an error without a message"


def _page(body: bytes) -> str:
    """An HTML or text answer in a few words: the page's title, or how it begins."""
    text = body[: 4 * _MESSAGE_SCANNED].decode("utf-8", "replace").strip()
    title = _TITLE.search(text)
    return title.group(1).strip() if title else " ".join(text[:_MESSAGE_SCANNED].split()) or "an empty answer"


def _said(message: str) -> Words:
    return Words(None, message, ours=False)


def _reason(failure: Exception) -> str:
    if isinstance(failure, UnicodeDecodeError):
        return "not UTF-8"  # its own text would quote the whole body
    return "nested too deeply" if isinstance(failure, RecursionError) else str(failure)[:200]


def _looks_like(content: bytes) -> str:
    start = content[:64].lstrip().lower()
    names = {b"gif8": "a GIF", b"bm": "a BMP", b"<": "HTML", b"{": "a JSON object", b"[": "JSON", b"\x1f\x8b": "gzip"}
    if not content:
        return "empty"
    if content[4:8] == b"ftyp":
        return "an AVIF, HEIC or MP4"
    return next((name for magic, name in names.items() if start.startswith(magic)), f"0x{content[:8].hex()} …")
