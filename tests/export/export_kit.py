"""Exports for tests: made in a process, killed at a step, compared file by file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.export.exporter import Exported, Wish, export


def exported(
    dataset: Dataset, target: Path, to: str, *, force: bool = False, is_marked: bool = False, **wishes: Any
) -> Exported:
    """An export that has pictures, which are as they were unless `is_marked`."""
    done = export(dataset, target, Wish(to, is_marked=is_marked, **wishes), force=force)
    assert done is not None
    return done


def bytes_of(folder: Path) -> dict[str, str]:
    """Every file below a folder, and the hash of what is in it."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
