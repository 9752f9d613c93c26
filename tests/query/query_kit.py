"""Datasets for the tests of what is asked of their rows: real parts with real pictures, small ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fluxbatch.dataset import place
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.own import kept_schema
from fluxbatch.dataset.place import Place
from fluxbatch.dataset.shards import seal
from fluxbatch.query import Rows
from fluxbatch.query.sidecars import sidecar_file
from tests.dataset.dataset_kit import NO_COLUMNS, SEALED_AT, WHEN, spool_one


def dataset_of(where: Place, parts: Sequence[int] = (3, 2), own: pa.Table | None = None, **asking: Any) -> Dataset:
    """So many pictures a part; row N has the prompt `picture N` (or `prompts[N - 1]`), and own columns' row N - 1."""
    columns = NO_COLUMNS if own is None else own.schema
    dataset = Dataset.create(where, kept_schema(columns), True, created_at=WHEN, dataset_id="ab" * 16)
    spool, last = dataset.spool(), 0
    prompts = asking.pop("prompts", None)
    for count in parts:
        entries = []
        for row in range(last + 1, last + 1 + count):
            mine = None if own is None else own.slice(row - 1, 1).combine_chunks().to_batches()[0]
            prompt = prompts[row - 1] if prompts else f"picture {row}"
            entries.append(spool_one(dataset, spool, prompt, row, own=mine, **asking))
        last += count
        seal(dataset, spool, entries, run_id="r", sealed_at=SEALED_AT)
    return Dataset.open(where)


def values(rows: Rows, *columns: str, **asked: Any) -> list[Any]:
    """What comes back, row by row; of one column alone, its values."""
    found = [row for batch in rows.read(columns, **asked) for row in batch.to_pylist()]
    return [tuple(row.values()) if len(columns) > 1 else row[columns[0]] for row in found]


def put_sidecar(dataset: Dataset, name: str, table: pa.Table) -> None:
    path = sidecar_file(dataset, name)
    place.make_folders(path.parent)
    place.put_atomic(path, lambda file: pq.write_table(table, file))


def part_files(dataset: Dataset) -> list[Path]:
    return [Path(str(dataset.path(part))) for part in dataset.parts]


def keys_scored(dataset: Dataset, scores: Sequence[float]) -> None:
    """A sidecar `aesthetic` with a column `score`, in the rows' order."""
    put_sidecar(dataset, "aesthetic", pa.table({"key": values(Rows(dataset), "key"), "score": list(scores)}))
