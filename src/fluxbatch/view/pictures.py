"""The pictures themselves: as they lie in the dataset, and small. What was made small last is kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from fluxbatch.dataset.image import suffix_of, thumbnail
from fluxbatch.view.viewed import Viewed, Viewer

SIDE = 320
"""Pixels: sharp in a cell of the page, also where a CSS pixel has two."""
KEPT_BYTES_MAX = 64_000_000

MEDIA_TYPES = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}
UNKNOWN = "application/octet-stream"

Name = tuple[str, int]


class Kept:
    """What was made last, up to so many bytes. For any thread."""

    def __init__(self, bytes_max: int = KEPT_BYTES_MAX) -> None:
        self.size_bytes = 0
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._kept: OrderedDict[Name, bytes] = OrderedDict()

    def get(self, name: Name, make: Callable[[], bytes | None]) -> bytes | None:
        """What is kept, or made now; what cannot be made (None) is not kept. Two that ask at once may both make it."""
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
        made = make()
        if made is not None:
            self._keep(name, made)
        return made

    def _keep(self, name: Name, made: bytes) -> None:
        with self._lock:
            self.size_bytes += len(made) - len(self._kept.pop(name, b""))
            self._kept[name] = made
            while self.size_bytes > self._bytes_max:
                self.size_bytes -= len(self._kept.popitem(last=False)[1])


class Pictures:
    """By the number of their row. Damaged and StorageError are the disk's. For any thread."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self.kept = Kept()

    def full(self, viewed: Viewed, number: int) -> bytes:
        group, row = viewed.place(number)
        return self._viewer.contents.get(group, row)

    def small(self, viewed: Viewed, number: int) -> bytes | None:
        """A WebP that fits into `SIDE` x `SIDE` pixels; None when the picture cannot be decoded."""
        return self.kept.get(viewed.name_of(number), lambda: thumbnail(self.full(viewed, number), SIDE))


def media_type(content: bytes) -> tuple[str, str]:
    """What its first bytes say that it is, and what its file's name ends in."""
    suffix = suffix_of(content)
    return MEDIA_TYPES.get(suffix, UNKNOWN), suffix
