"""The lists that `__name__` stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path


class Wildcards:
    """Wildcard lists by name (`artists/dutch`); from texts in memory, or from a folder."""

    def __init__(self, lists: Mapping[str, Sequence[str]] | None = None) -> None:
        self._lists = dict(lists or {})


def open_wildcards(folder: Path) -> Wildcards:
    """The wildcards in a folder; its files are read when a template first asks for one."""
    return Wildcards()
