"""Small real pictures, requests and deliveries for the tests of the dataset's room."""

from __future__ import annotations

import io
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image  # noqa: TID251 - tests paint their own pictures

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.header import Part
from fluxbatch.dataset.image import inspect
from fluxbatch.dataset.record import Delivery, looked_at, picture_row
from fluxbatch.dataset.recovery import Recovered, recover
from fluxbatch.dataset.shards import seal
from fluxbatch.dataset.spool import Spool, Spooled
from fluxbatch.dataset.verify import verify_dataset
from fluxbatch.manifest.request import ImageRequest, OwnColumns, Reference, content_digest, request_key
from fluxbatch.models.catalogue import FLUX_2_DEV
from fluxbatch.models.money import Money, charge

WHEN = datetime(2026, 11, 22, 12, 30, 15, 123456, tzinfo=UTC)
SEALED_AT = "2026-11-22T13:00:00+00:00"
NO_COLUMNS = pa.schema([])


class Killed(BaseException):
    """The process dies here: nothing in the program may catch it and tidy up."""


def pixels(width: int, height: int, seed: int = 0) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@lru_cache(maxsize=256)
def jpeg(width: int = 64, height: int = 48, seed: int = 0) -> bytes:
    return encoded(pixels(width, height, seed))


def asked(
    prompt: str = "a lighthouse",
    *,
    row: int = 1,
    sample: int = 0,
    width: int = 64,
    height: int = 48,
    references: tuple[Reference, ...] = (),
    own: pa.RecordBatch | None = None,
    **other: object,
) -> ImageRequest:
    content = content_digest(FLUX_2_DEV, prompt, width, height, 25, None, None, references)
    values: dict[str, object] = {"id": None, "guidance": None, "seed": None, **other}
    return ImageRequest(
        row=row,
        model=FLUX_2_DEV,
        prompt=prompt,
        width=width,
        height=height,
        steps=25,
        references=references,
        sample=sample,
        key=request_key(content, sample),
        own=None if own is None else OwnColumns(own, 0),
        **values,  # type: ignore[arg-type]
    )


def delivered(
    request: ImageRequest, content: bytes | None = None, *, attempt: int = 1, actual: Money | None = None
) -> Delivery:
    return Delivery(
        request=request,
        content=jpeg(seed=request.row) if content is None else content,
        actual=charge(375_012) if actual is None else actual,
        attempt=attempt,
        latency_s=12.5,
        request_id="req-1",
        created_at=WHEN,
        run_id="run-1",
    )


def row_of(delivery: Delivery, own: pa.Schema = NO_COLUMNS) -> pa.RecordBatch:
    """The row as it stands in a part; the spool's has not been looked at."""
    picture = inspect(delivery.content, delivery.request.width, delivery.request.height)
    return looked_at(picture_row(delivery, own), picture)


def seen(row: pa.RecordBatch) -> pa.RecordBatch:
    """A row of the spool as it stands in a part."""
    content, width, height = (row.column(name)[0].as_py() for name in ("image", "width", "height"))
    return looked_at(row, inspect(content["bytes"], width, height))


def spool_one(dataset: Dataset, spool: Spool, prompt: str, row: int, *, attempt: int = 1, **asking: object) -> Spooled:
    request = asked(prompt, row=row, **asking)  # type: ignore[arg-type]
    delivery = delivered(request, attempt=attempt)
    return spool.put(picture_row(delivery, dataset.own_schema), request.key, attempt)


def spool_many(dataset: Dataset, spool: Spool, count: int, first: int = 1) -> list[Spooled]:
    return [spool_one(dataset, spool, f"picture {number}", number) for number in range(first, first + count)]


def sealed(dataset: Dataset, spool: Spool, count: int, first: int = 1) -> list[Part]:
    return seal(dataset, spool, spool_many(dataset, spool, count, first), run_id="run-1", sealed_at=SEALED_AT)


def again(dataset: Dataset) -> tuple[Dataset, Recovered]:
    """The next life: everything is read from where it lies."""
    opened = Dataset.open(dataset.folder)
    with opened.hold():
        return opened, recover(opened, opened.spool())


def prompts(dataset: Dataset) -> list[str]:
    return sorted(dataset.to_pandas(columns=["prompt"])["prompt"])


def sealed_in_two_lives(dataset: Dataset, spool: Spool, step: str, which: int) -> None:
    """Three parts of two pictures: the first life dies after this step of this part, the second ends in all six."""
    entries = spool_many(dataset, spool, 6)
    limit = 2 * max(entry.size_bytes for entry in entries)
    seen: list[str] = []

    def die(done: str) -> None:
        seen.append(done)
        if seen.count(step) == which:
            raise Killed

    with pytest.raises(Killed):
        seal(dataset, spool, entries, run_id="run-1", sealed_at=SEALED_AT, part_bytes_max=limit, after=die)
    opened, found = again(dataset)
    assert found.quarantined == []
    assert len(found.listed) == (1 if step == "part" else 0)
    assert len(found.adoptable) == 6 - 2 * which
    seal(opened, opened.spool(), found.adoptable, run_id="run-2", sealed_at=SEALED_AT, part_bytes_max=limit)
    assert prompts(opened) == [f"picture {number}" for number in range(1, 7)]
    assert opened.spent == charge(375_012) * 6
    assert verify_dataset(opened) == []
    assert list(opened.spool().entries()) == []


@contextmanager
def small_disk(bytes_max: int) -> Iterator[None]:
    """No file may grow beyond this: the system refuses the write, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def flip(path: Path, position: int) -> None:
    """One bit of a file, as a bad disk would."""
    content = bytearray(path.read_bytes())
    content[position] ^= 0x10
    path.write_bytes(content)
