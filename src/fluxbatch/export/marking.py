"""Every picture that leaves says in itself what made it, unless that cannot be said in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fluxbatch.provenance import Provenance, mark


class Marker:
    """Marks pictures by their rows; `unmarked` counts those that stay as they are (signed ones, other formats)."""

    def __init__(self, unmarked: int = 0) -> None:
        self.unmarked = unmarked

    def __call__(self, content: bytes, row: Mapping[str, Any]) -> bytes:
        facts = Provenance.of(row["model"], row["prompt"], row["key"], row["created_at"])
        found = mark(content, facts)
        self.unmarked += found.unmarked is not None
        return found.content
