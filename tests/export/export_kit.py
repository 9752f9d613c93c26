"""Exports for tests: made in a process, killed at a step, compared file by file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.export.exporter import Exported, Wish, export
from fluxbatch.export.stream import Mark


def card(dataset: Dataset, target: Path, pictures: int) -> str:
    return f"{target.name}: {pictures} pictures\n"


def exported(
    dataset: Dataset, target: Path, to: str, *, mark: Mark | None = None, force: bool = False, **wishes: Any
) -> Exported:
    """An export that has pictures."""
    done = export(dataset, target, Wish(to, **wishes), mark=mark, card=card, force=force)
    assert done is not None
    return done


def bytes_of(folder: Path) -> dict[str, str]:
    """Every file below a folder, and the hash of what is in it."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
