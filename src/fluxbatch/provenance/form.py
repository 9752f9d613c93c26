"""What each format has to say for itself: where a packet stands in a file, or would, and how it is put there. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spot:
    """`content[at:end]` is what holds the XMP packet; nothing yet where `packet` is None and `at` is `end`.

    `is_signed` says that the file carries a C2PA manifest.
    """

    packet: bytes | None
    at: int
    end: int
    is_signed: bool = False


@dataclass(frozen=True, slots=True)
class Form:
    """A format. `find` raises Unmarkable for a damaged file, `put` for a packet that does not fit into it."""

    begins: Callable[[bytes], bool]
    find: Callable[[bytes], Spot]
    put: Callable[[bytes, Spot, bytes], bytes]
