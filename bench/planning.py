"""`fluxbatch plan` over a Parquet manifest of 1,000,000 rows against one of 10,000: seconds and peak memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bench.common import Took, child, megabytes, options, scratch, seconds, show, warm_up

BATCH_ROWS = 10_000
SCHEMA = pa.schema([("prompt", pa.string()), ("id", pa.string()), ("split", pa.string()), ("weight", pa.float64())])

NOTES = (
    "The whole command, from start to exit: every row read, checked, keyed and priced. `split` and `weight` are the",
    "user's own columns; two rows in a thousand ask for a prompt that was asked before (a second sample).",
)


def write_manifest(path: Path, rows: int) -> Path:
    """A Parquet manifest, written as a stream."""
    with pq.ParquetWriter(path, SCHEMA) as writer:
        for batch in _batches(rows):
            writer.write_batch(batch)
    return path


def _batches(rows: int) -> Iterator[pa.RecordBatch]:
    for start in range(0, rows, BATCH_ROWS):
        numbers = range(start, min(start + BATCH_ROWS, rows))
        columns = [
            [f"a lighthouse by the sea at dusk, oil on canvas, number {_repeated(number)}" for number in numbers],
            [f"row-{number}" for number in numbers],
            ["train" if number % 10 else "test" for number in numbers],
            [number / rows for number in numbers],
        ]
        yield pa.record_batch(columns, schema=SCHEMA)


def _repeated(number: int) -> int:
    return number - 1 if number % 500 == 1 else number


def plan(manifest: Path, folder: Path) -> Took:
    environment = {"FLUXBATCH_LEDGER": f"sqlite:///{folder / 'ledger.sqlite3'}"}
    arguments = ("plan", str(manifest), "--budget", "20", "--out", str(folder / "new"), "--json")
    return child("fluxbatch.cli:main", *arguments, environment=environment)


def row(rows: int, took: Took) -> list[str]:
    assert took.answer["asked"] == rows, took.answer
    a_row = f"{1e6 * took.wall_s / rows:.0f} µs"
    return [f"{rows:,}", seconds(took.wall_s), seconds(took.cpu_s), a_row, megabytes(took.peak_bytes)]


def main() -> None:
    sizes = (10_000, 100_000) if options(__doc__).quick else (10_000, 1_000_000)
    warm_up()
    with scratch() as folder:
        rows = [row(size, plan(write_manifest(folder / f"{size}.parquet", size), folder)) for size in sizes]
    show("Planning a Parquet manifest", ("rows", "seconds", "CPU", "a row", "peak memory"), rows, NOTES)


if __name__ == "__main__":
    main()
