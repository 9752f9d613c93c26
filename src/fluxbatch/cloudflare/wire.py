"""What is sent: a request and its fitted references as one body, in the way of its model. Pure.

CLOUDFLARE.md section 1. flux-2 takes multipart/form-data only, buffered, with a Content-Length and a real boundary; a
file part's index is in its name (`input_image_0` … `input_image_3`). The others take a JSON object, numbers as numbers,
a picture as base64. What goes out and under which name is in the model's row (`Model.sends`), and nothing else does:
flux-1-schnell refuses a key that it does not know.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from fluxbatch.cloudflare.answer import picture_type
from fluxbatch.manifest.request import ImageRequest
from fluxbatch.models import catalogue
from fluxbatch.models.catalogue import REFERENCES

Value: TypeAlias = str | int | float


class Body(NamedTuple):
    """The bytes of a body, and its content type."""

    content: bytes
    content_type: str


def body_of(request: ImageRequest, images: Sequence[bytes]) -> Body:
    """The whole body; `images` are the request's references as they are sent, in order."""
    fields = fields_of(request)
    if request.model.body == catalogue.Body.MULTIPART:
        return multipart({name: _as_text(value) for name, value in fields.items()}, images)
    for index, content in enumerate(images):
        name = request.model.wire_name(REFERENCES[index])
        assert name is not None, f"{request.model.name} takes no image {index}: the manifest let it through"
        fields[name] = b64encode(content).decode("ascii")
    return Body(json.dumps(fields, ensure_ascii=False).encode("utf-8"), "application/json")


def fields_of(request: ImageRequest) -> dict[str, Value]:
    """What is said beside the pictures, by its names on the wire. Size and steps are always said where the model takes
    them, or the price would be unknown; what is None is left to the platform."""
    said = {name: getattr(request, name) for name, _ in request.model.sends if name not in REFERENCES}
    return {
        wire: float(said[name]) if name in _FRACTIONS else said[name]
        for name, wire in request.model.sends
        if said.get(name) is not None
    }


_FRACTIONS = ("guidance", "strength")


def _as_text(value: Value) -> str:
    return value if isinstance(value, str) else repr(value)


def multipart(fields: Mapping[str, str], images: Sequence[bytes]) -> Body:
    """The whole body and its content type with the boundary. Text is UTF-8; a lone surrogate raises (a bug of ours).

    The boundary is a hash of the content: the same request is the same bytes, and no prompt can contain it.
    """
    parts = [*_text_parts(fields), *_image_parts(images)]
    digest = hashlib.sha256()
    for head, content in parts:
        digest.update(b"%d,%d;" % (len(head), len(content)))
        digest.update(head)
        digest.update(content)
    boundary = f"fluxbatch-{digest.hexdigest()[:32]}"
    line = b"--" + boundary.encode("ascii")
    pieces = [piece for head, content in parts for piece in (line, b"\r\n", head, b"\r\n\r\n", content, b"\r\n")]
    return Body(b"".join([*pieces, line, b"--\r\n"]), f"multipart/form-data; boundary={boundary}")


def _text_parts(fields: Mapping[str, str]) -> Iterator[tuple[bytes, bytes]]:
    for name, value in fields.items():
        yield b'Content-Disposition: form-data; name="%s"' % name.encode("ascii"), value.encode("utf-8")


def _image_parts(images: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    for index, content in enumerate(images):
        kind = picture_type(content) or "octet-stream"
        extension = {"jpeg": "jpg", "octet-stream": "bin"}.get(kind, kind)
        media = f"image/{kind}" if kind != "octet-stream" else "application/octet-stream"
        head = (
            f'Content-Disposition: form-data; name="input_image_{index}"; filename="image_{index}.{extension}"\r\n'
            f"Content-Type: {media}"
        )
        yield head.encode("ascii"), content
