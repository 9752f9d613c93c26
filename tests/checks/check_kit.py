"""Datasets whose pictures are chosen, and scorers that note what they are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from PIL import Image  # noqa: TID251 - tests paint their own pictures

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.header import Part
from fluxbatch.dataset.place import Place
from fluxbatch.dataset.record import picture_row
from fluxbatch.dataset.shards import seal
from fluxbatch.scores import Scored
from tests.dataset.dataset_kit import NO_COLUMNS, SEALED_AT, WHEN, asked, delivered, encoded, pixels

RED = encoded(Image.new("RGB", (64, 48), (200, 30, 30)), "PNG")
BLACK = encoded(Image.new("RGB", (64, 48)), "PNG")
NONE = b"\xff\xd8\xff and then nothing"


@lru_cache(maxsize=512)
def picture(seed: int, quality: int = 90, width: int = 64, height: int = 48) -> bytes:
    return encoded(pixels(width, height, seed), "JPEG", quality=quality)


def dataset_at(where: Place) -> Dataset:
    return Dataset.create(where, NO_COLUMNS, True, created_at=WHEN, dataset_id="ab" * 16)


def add_part(dataset: Dataset, *contents: bytes) -> Part:
    """Seal one part more, with these pictures in their order. Each is asked for at 64x48, as `picture N`."""
    first = 1 + sum(part.rows for part in dataset.parts)
    spool = dataset.spool()
    entries = []
    for row, content in enumerate(contents, first):
        request = asked(f"picture {row}", row=row)
        delivery = delivered(request, content)
        entries.append(spool.put(picture_row(delivery, dataset.own_schema, dataset.header.version), request.key, 1))
    [part] = seal(dataset, spool, entries, run_id="run-1", sealed_at=SEALED_AT)
    return part


def key(row: int) -> str:
    """Of the picture in this row of such a dataset."""
    return asked(f"picture {row}", row=row).key


@dataclass
class Reds:
    """A scorer: how red a picture is in the mean. Notes the prompts that it was given."""

    name: str = "reds"
    columns: Mapping[str, type] = field(default_factory=lambda: {"red": float, "prompted": str})
    identity: str = "reds, version 1"
    given: list[str] = field(default_factory=list)
    before: Callable[[Sequence[Scored]], None] = lambda pictures: None

    def score(self, pictures: Sequence[Scored]) -> dict[str, list[object]]:
        self.before(pictures)
        self.given += [one.prompt for one in pictures]
        return {
            "red": [float(one.pixels[..., 0].mean()) for one in pictures],
            "prompted": [one.prompt for one in pictures],
        }
