"""Small sweeps as text: written, opened, counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from fluxbatch.dataset.record import RESERVED
from fluxbatch.errors import ManifestError
from fluxbatch.manifest.reader import Manifest
from fluxbatch.manifest.request import ImageRequest
from fluxbatch.manifest.sweep.source import Sweep
from tests.manifest.manifest_kit import asked, opened, written


@dataclass(frozen=True)
class Counts:
    """A sweep by hand: cells of the blocks, then excluded, included, asked for twice, and the rows that are left."""

    cells: int
    excluded: int = 0
    included: int = 0
    duplicates: int = 0

    @property
    def rows(self) -> int:
        return self.cells - self.excluded + self.included - self.duplicates


def manifest_of(folder: Path, text: str, files: Mapping[str, str] | None = None, **options: Any) -> Manifest:
    for name, content in (files or {}).items():
        written(folder, name, content)
    return opened(written(folder, "s.yaml", dedent(text)), **{"reserved": RESERVED, **options})


def sweep_of(folder: Path, text: str, files: Mapping[str, str] | None = None, **options: Any) -> Sweep:
    sweep = manifest_of(folder, text, files, **options).sweep
    assert sweep is not None
    return sweep


def rows_of(folder: Path, text: str, files: Mapping[str, str] | None = None, **options: Any) -> list[ImageRequest]:
    return asked(manifest_of(folder, text, files, **options))


def counts_of(sweep: Sweep) -> Counts:
    numbers = range(len(sweep.segments))
    included = [number for number in numbers if sweep.segments[number].is_included]
    return Counts(
        sum(sweep.segments[number].cells for number in numbers if number not in included),
        sum(sweep.survey.excluded(number) for number in numbers),
        sum(sweep.segments[number].cells for number in included),
        sum(sweep.survey.duplicates(number) for number in numbers),
    )


def complaints_of(folder: Path, text: str, files: Mapping[str, str] | None = None, **options: Any) -> list[str]:
    """Each complaint as `line: text`, in order; without the path."""
    with pytest.raises(ManifestError) as raised:
        manifest_of(folder, text, files, **options)
    return [str(complaint).replace(f"{folder}/", "") for complaint in raised.value.complaints]
