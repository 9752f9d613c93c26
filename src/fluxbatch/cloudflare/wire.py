"""What is sent: a request as form fields, and the fields as one multipart body. Pure.

CLOUDFLARE.md section 1: flux-2 takes multipart/form-data only, buffered, with a Content-Length and a real boundary; a
file part's index is in its name (`input_image_0` … `input_image_3`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

from fluxbatch.cloudflare.answer import picture_type
from fluxbatch.manifest.request import ImageRequest


def fields_of(request: ImageRequest) -> dict[str, str]:
    """The form fields of one request, as text. Size and steps are always said, or the price would be unknown."""
    fields = {
        "prompt": request.prompt,
        "width": str(request.width),
        "height": str(request.height),
        "steps": str(request.steps),
    }
    if request.guidance is not None:
        fields["guidance"] = repr(float(request.guidance))
    if request.seed is not None:
        fields["seed"] = str(request.seed)
    return fields


def multipart(fields: Mapping[str, str], images: Sequence[bytes]) -> tuple[bytes, str]:
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
    return b"".join([*pieces, line, b"--\r\n"]), f"multipart/form-data; boundary={boundary}"


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
