"""A picture's bytes -> the same picture with its mark, whatever its format; and back. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from fluxbatch.provenance.facts import Provenance, Unmarkable
from fluxbatch.provenance.form import Form
from fluxbatch.provenance.jpeg import JPEG
from fluxbatch.provenance.packet import read_packet, with_mark
from fluxbatch.provenance.png import PNG
from fluxbatch.provenance.webp import WEBP


@dataclass(frozen=True, slots=True)
class Marked:
    """A picture with its mark; or as it was, and why: `unmarked`."""

    content: bytes = field(repr=False)
    unmarked: str | None = None


def mark(content: bytes, facts: Provenance) -> Marked:
    """The picture with this mark in the place of any earlier one of ours. Marking twice gives the same bytes.

    A packet that somebody else wrote is kept word for word, and ours stands in it: a file has one. What is left as it
    is: other formats, damaged files, files that are signed (C2PA: any change breaks the signature, as IPTC's own
    example says: https://iptc.org/news/tag/photo-metadata/), and packets that say something of their own about what
    ours says.
    """
    try:
        return Marked(_with_mark(content, facts))
    except Unmarkable as error:
        return Marked(content, str(error))


def _with_mark(content: bytes, facts: Provenance) -> bytes:
    form = _form_of(content)
    spot = form.find(content)
    if spot.is_signed:
        raise Unmarkable("is signed (C2PA), and a mark would break the signature")
    return form.put(content, spot, with_mark(spot.packet, facts))


def marked(content: bytes, facts: Provenance) -> bytes:
    """The same, for who need not know why a picture could not be marked."""
    return mark(content, facts).content


def read(content: bytes) -> Provenance | None:
    """The mark of ours in a picture; None when there is none, or none that can be read."""
    try:
        packet = _form_of(content).find(content).packet
    except Unmarkable:
        return None
    return None if packet is None else read_packet(packet)


def _form_of(content: bytes) -> Form:
    for form in (JPEG, PNG, WEBP):
        if form.begins(content):
            return form
    raise Unmarkable("is no JPEG, PNG or WebP")
