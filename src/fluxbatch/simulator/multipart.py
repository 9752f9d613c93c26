"""multipart/form-data (RFC 7578) from a body that was read whole: what is malformed is refused, never guessed.

Written apart from any client library, so that the simulator does not share its mistakes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_BOUNDARY = re.compile(rb'(?i);\s*boundary=(?:"([^"\r\n]{1,70})"|([^\s;"]{1,70}))\s*(?:;|$)')
_NAME = re.compile(rb'(?i);\s*name="([^"\r\n]*)"')
_FILENAME = re.compile(rb"(?i);\s*filename\*?=")


class MalformedForm(ValueError):
    """The body is no multipart form; the text says why."""


@dataclass(frozen=True, slots=True)
class Part:
    """One field: its bytes, and whether it came as a file."""

    name: str
    content: bytes
    is_file: bool


def is_multipart(content_type: bytes) -> bool:
    return content_type.partition(b";")[0].strip().lower() == b"multipart/form-data"


def parse_form(content_type: bytes, body: bytes) -> list[Part]:
    """The fields in order, repeated names included. MalformedForm when the boundary or the framing is wrong."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise MalformedForm("Missing boundary in multipart/form-data")
    delimiter = b"\r\n--" + (found[1] or found[2])
    pieces = (b"\r\n" + body).split(delimiter)
    if len(pieces) < 2 or pieces[0]:
        raise MalformedForm("The body does not begin with the boundary")
    if pieces[-1] not in (b"--", b"--\r\n"):
        raise MalformedForm("The body does not end with the closing boundary")
    return [_part(piece) for piece in pieces[1:-1]]


def _part(piece: bytes) -> Part:
    headers, blank, content = piece.partition(b"\r\n\r\n")
    if not headers.startswith(b"\r\n") or not blank:
        raise MalformedForm("A part has no headers")
    disposition = _disposition(headers)
    name = _NAME.search(disposition)
    if name is None:
        raise MalformedForm("A part has no name")
    return Part(name[1].decode("utf-8", "replace"), content, _FILENAME.search(disposition) is not None)


def _disposition(headers: bytes) -> bytes:
    for line in headers.split(b"\r\n"):
        field, _, value = line.partition(b":")
        if field.strip().lower() == b"content-disposition" and value.strip().lower().startswith(b"form-data"):
            return value
    raise MalformedForm("A part has no Content-Disposition: form-data")
