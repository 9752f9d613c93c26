"""The forms that an export can have, each of units that are written whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import pyarrow as pa

from fluxbatch.export.stream import Chunk
from fluxbatch.export.survey import Limits, Survey, Unit

HF, WEBDATASET, IMAGEFOLDER, CSV, IMAGES = "hf", "webdataset", "imagefolder", "csv", "images"
TARGETS = (HF, WEBDATASET, IMAGEFOLDER, CSV, IMAGES)


class Target(Protocol):
    """How one form is written. What it writes depends on nothing but the chunks it is given."""

    has_pictures: bool
    limits: Limits

    def write(self, unit: Unit, units: int, chunks: Iterator[Chunk]) -> None:
        """The files of one of so many units, whole and durable when this returns. It may have been begun before."""
        ...

    def finish(self, found: Survey, columns: pa.Schema) -> None:
        """What is put together of all units, whose rows have these columns."""
        ...

    def loading(self, target: str) -> str:
        """How the export is loaded, as a line of Python or of a shell."""
        ...
