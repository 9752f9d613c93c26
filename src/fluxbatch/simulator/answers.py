"""The answers as bytes, in the shapes of CLOUDFLARE.md section 2; pure, apart from the pictures they are given."""

from __future__ import annotations

import gzip
import json
from base64 import b64decode, b64encode
from dataclasses import dataclass

from fluxbatch.simulator.faults import Fault, Kind
from fluxbatch.simulator.offers import Offer

Headers = list[tuple[bytes, bytes]]

_BEFORE = b'{"result":{"image":"'
_AFTER = b'"},"success":true,"errors":[],"messages":[]}'


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent: `headers` without the length and the ids, which every answer gets."""

    status: int
    headers: Headers
    body: bytes
    label: str
    """How the statistics count it."""


def picture_answer(offer: Offer, image: bytes, centineurons: int, fault: Fault | None = None) -> Answer:
    """200 with the picture (given in base64) as the model answers, and the charge in neurons with two decimals, where
    the model says it; spoilt if a fault says so."""
    kind = fault.kind if fault else None
    bare = (offer.answer != "json") is not (kind is Kind.OTHER_FORM)
    headers: Headers = [(b"content-type", _content_type(offer, bare))]
    if kind is not Kind.NO_HEADER and offer.says_charge:
        headers.append((b"cf-ai-neurons", b"%d.%02d" % divmod(centineurons, 100)))
    body = _bare(image, kind) if bare else _BEFORE + _spoilt_image(image, kind) + _AFTER
    if kind is Kind.TRUNCATED_JSON:
        body = body[: len(body) // 2]
    if kind is Kind.GZIP:
        body = gzip.compress(body, 1)
        headers.append((b"content-encoding", b"gzip"))
    return Answer(200, headers, body, fault.label if fault else "200")


def _content_type(offer: Offer, bare: bool) -> bytes:
    """What the header says, which need not be what the bytes are."""
    if not bare:
        return b"application/json"
    return b"image/jpeg" if offer.answer == "json" else offer.answer.encode("ascii")


def _bare(image: bytes, kind: Kind | None) -> bytes:
    """The bytes themselves, or what a fault makes of them."""
    if kind is Kind.BAD_BASE64:
        return image  # nobody has decoded it: base64 where the bytes should be
    return b64decode(_spoilt_image(image, kind))


def _spoilt_image(image: bytes, kind: Kind | None) -> bytes:
    if kind is Kind.BAD_BASE64:
        return image[: len(image) // 2] + b"!*#" + image[len(image) // 2 :]
    if kind is Kind.NO_PICTURE:
        return b64encode(b"This is not the picture that you are looking for.\n" * 40)
    if kind is Kind.CUT_PICTURE:
        picture = b64decode(image)
        return b64encode(picture[: len(picture) // 2])
    return image


def error_answer(fault: Fault, request_id: str, message: str | None = None) -> Answer:
    """The answer of a fault that shows no picture; `message` replaces the fault's own text."""
    retry_after = fault.retry_after_s
    headers: Headers = [(b"retry-after", b"%d" % retry_after)] if retry_after is not None else []
    text = fault.message if message is None else message
    if fault.kind is Kind.HTML:
        page = f"<html>\n<head><title>{fault.status} {text}</title></head>\n<body><center><h1>{fault.status} {text}</h1></center><hr><center>cloudflare</center></body>\n</html>\n"  # noqa: E501 - one page
        return Answer(fault.status, [*headers, (b"content-type", b"text/html")], page.encode(), fault.label)
    if fault.kind is Kind.TEXT:
        return Answer(fault.status, [*headers, (b"content-type", b"text/plain")], text.encode(), fault.label)
    body = json.dumps(_error_object(fault, text, request_id), separators=(",", ":")).encode()
    return Answer(fault.status, [*headers, (b"content-type", b"application/json")], body, fault.label)


def _error_object(fault: Fault, text: str, request_id: str) -> dict[str, object]:
    if fault.routing:
        errors = [] if fault.code is None else [{"code": fault.code, "message": text}]
        return {"result": None, "success": False, "errors": errors, "messages": []}
    errors = [{"code": fault.code, "message": f"AiError: AiError: {text} ({request_id})"}]
    return {"errors": errors, "success": False, "result": {}, "messages": []}
