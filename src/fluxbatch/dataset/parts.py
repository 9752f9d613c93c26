"""Reading parts back, with every check on: page checksums, the schema, each picture against its own hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fluxbatch.dataset import place
from fluxbatch.dataset.place import Place
from fluxbatch.dataset.quarantine import Damaged
from fluxbatch.dataset.record import integers
from fluxbatch.errors import StorageError
from fluxbatch.models.money import ZERO, Money

METADATA_KEY = b"fluxbatch"
"""Where a part's schema metadata tells the dataset that it belongs to."""

_KEY_COLUMNS = ("key", "attempts", "usd", "neurons")
_ROWS_KEYS = 10_000
_ROWS_PICTURES = 32
_BUFFER_BYTES = 1024 * 1024
"""Pages are read through a buffer of this size; without one, pyarrow reads a row group's pictures at once."""

UNREADABLE = (OSError, UnicodeError, pa.ArrowException)
"""What pyarrow raises for a damaged file. Text is decoded when it is looked at, and a dictionary has no checksum."""


@dataclass(frozen=True, slots=True)
class RowFacts:
    """One row of a part, checked: `sound` says whether the picture's bytes have the hash beside them."""

    key: str
    attempt: int
    actual: Money
    run_id: str
    sound: bool


def key_rows(path: Place) -> Iterator[tuple[str, int, Money]]:
    """Key, attempt and actual charge of each row. Damaged when the part cannot be read."""
    for batch in _batches(path, _KEY_COLUMNS, _ROWS_KEYS):
        yield from zip(*_values(path, batch, "key", "attempts"), _charges(batch), strict=True)


def sent_rows(path: Place) -> Iterator[tuple[str, int, Money, int, str]]:
    """As `key_rows`, and when the request was sent, in microseconds since 1970, and to which model (its id)."""
    for batch in _batches(path, [*_KEY_COLUMNS, "created_at", "latency_s", "model"], _ROWS_KEYS):
        made_us = batch.column("created_at").cast(pa.int64()).to_pylist()
        took_s = batch.column("latency_s").to_pylist()
        sent_us = (made - round(1e6 * took) for made, took in zip(made_us, took_s, strict=True))
        (models,) = _values(path, batch, "model")
        yield from zip(*_values(path, batch, "key", "attempts"), _charges(batch), sent_us, models, strict=True)


def picture_rows(path: Place) -> Iterator[RowFacts]:
    """Every row, all columns read and its picture hashed, a few rows in memory. Damaged when one cannot be read."""
    for batch in _batches(path, None, _ROWS_PICTURES):
        yield from _facts(path, batch)


def _facts(path: Place, batch: pa.RecordBatch) -> list[RowFacts]:
    hashes = [hashlib.sha256(p.as_buffer()).hexdigest() for p in batch.column("image").field("bytes")]
    columns = _values(path, batch, "key", "attempts", "run_id", "sha256")
    rows = zip(*columns, _charges(batch), hashes, strict=True)
    return [RowFacts(key, attempt, actual, run, found == told) for key, attempt, run, told, actual, found in rows]


def _values(path: Place, batch: pa.RecordBatch, *names: str) -> list[list[Any]]:
    """Columns as Python values. Only here is text decoded, and found to be none."""
    try:
        return [batch.column(name).to_pylist() for name in names]
    except UNREADABLE as error:
        raise Damaged(f"{path}: {error}") from error


def belongs(dataset_id: str) -> bytes:
    """What stands under `METADATA_KEY` in every part of a dataset."""
    return json.dumps({"dataset": dataset_id}).encode()


def check_belongs(path: Place, schema: pa.Schema, dataset_id: str) -> None:
    """Damaged when a part was written for another dataset, or has other columns than this one."""
    with opened(path) as part:
        found = part.schema_arrow
    if (found.metadata or {}).get(METADATA_KEY) != belongs(dataset_id):
        raise Damaged(f"{path}: was not written for this dataset ({dataset_id})")
    if not found.equals(schema):
        raise Damaged(f"{path}: has other columns than this dataset")


def file_sha256(path: Place) -> str:
    """SHA-256 (hex) of a file, read as a stream."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise place.storage_error(path, error, "could not be read") from error


def check_whole(path: Place, sha256: str) -> None:
    """Damaged when a part is not the bytes that are listed: what it says was paid is not to be booked."""
    if path.exists() and file_sha256(path) != sha256:
        raise Damaged(
            f"{path}: is damaged (its SHA-256 is not the listed one); mend it with `fluxbatch verify --repair`"
        )


def total(amounts: Sequence[Money]) -> Money:
    return sum(amounts, ZERO)


def _charges(batch: pa.RecordBatch) -> list[Money]:
    return list(map(Money, integers(batch.column("usd")), integers(batch.column("neurons"))))


def _batches(path: Place, columns: Sequence[str] | None, rows: int) -> Iterator[pa.RecordBatch]:
    """The rows of a part, as many as its footer says. A page whose header is damaged would be skipped silently."""
    with opened(path) as part:
        left = part.metadata.num_rows
        batches = part.iter_batches(batch_size=rows, columns=columns and list(columns), use_threads=False)
        while (batch := _next(path, batches)) is not None:
            left -= len(batch)
            yield batch
    if left:
        raise Damaged(f"{path}: {left} of its rows cannot be read")


def _next(path: Place, batches: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
    try:
        return next(batches, None)
    except UNREADABLE as error:
        raise Damaged(f"{path}: {error}") from error


def opened(path: Place) -> pq.ParquetFile:
    """A Parquet file of ours, its page checksums verified as it is read. Damaged when it cannot be opened."""
    if not path.exists():
        raise StorageError(f"{path} is missing; bring it back from a copy")
    try:
        source = place.source(path)
        return pq.ParquetFile(source, page_checksum_verification=True, pre_buffer=False, buffer_size=_BUFFER_BYTES)
    except UNREADABLE as error:
        raise Damaged(f"{path}: {error}") from error
