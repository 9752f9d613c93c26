"""A sweep written out as a table, as a stream: Parquet, CSV or JSON lines."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from fluxbatch.errors import ManifestError, UsageError
from fluxbatch.manifest.request import Complaint
from fluxbatch.manifest.sweep.source import Sweep

ROWS_AT_ONCE = 65_536
REFERENCE = "input_image"
"""What the names of all columns with reference pictures begin with."""

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


def writer_for(path: Path) -> Callable[[BinaryIO, pa.Schema, Iterator[pa.RecordBatch]], int]:
    """The writer for a file of this name; UsageError if its ending is none of a table."""
    ending = path.suffix.lower()
    if ending not in _WRITERS:
        raise UsageError(f"-o {path}: the name's ending does not say what it shall be; use {', '.join(_WRITERS)}")
    return _WRITERS[ending]


def write(sweep: Sweep, path: Path, sink: BinaryIO, rows: Sequence[int] | None = None) -> int:
    """Write all rows, or those with these numbers (from 1, ascending), to the sink; returns how many.

    `path` is where it will lie: reference pictures are named from there. The sink stays open.
    """
    schema = pa.schema([pa.field(name, sweep.type_of(name)) for name in sweep.headers])
    return writer_for(path)(sink, schema, batches(sweep, path, schema, rows))


def batches(sweep: Sweep, path: Path, schema: pa.Schema, rows: Sequence[int] | None) -> Iterator[pa.RecordBatch]:
    """The rows as batches of at most 65,536. ManifestError if a prompt cannot be rendered."""
    row = 0
    for segment, cells in sweep.cells(rows):
        for start in range(0, len(cells), ROWS_AT_ONCE):
            columns, troubles = sweep.columns(segment, cells[start : start + ROWS_AT_ONCE], sweep.headers)
            if troubles:
                complaints = [
                    Complaint(str(sweep.path), row + index + 1, *trouble, segment.line)
                    for index, trouble in list(troubles.items())[:100]
                ]
                raise ManifestError(f"{len(troubles):,} or more prompts cannot be rendered", complaints)
            for position, name in enumerate(sweep.headers):
                if name.startswith(REFERENCE):
                    columns[position] = _moved(columns[position], sweep.path.parent, path.parent)
            row += len(columns[0])
            yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _moved(places: pa.Array, source: Path, target: Path) -> pa.Array:
    """Paths that are relative to the sweep, as they are called from the table's folder."""
    encoded = places.dictionary_encode()
    names = [_seen_from(place, source, target) for place in encoded.dictionary.to_pylist()]
    return pa.array(names, pa.string()).take(encoded.indices)


def _seen_from(place: str, source: Path, target: Path) -> str:
    path = Path(place)
    if _ADDRESS.match(place) or path.is_absolute() or source.absolute() == target.absolute():
        return place
    whole = source.absolute() / path
    inside = os.path.relpath(whole, target.absolute())
    return inside if not inside.startswith("..") else os.path.normpath(whole)


def _parquet(sink: BinaryIO, schema: pa.Schema, found: Iterator[pa.RecordBatch]) -> int:
    rows = 0
    with pq.ParquetWriter(sink, schema, compression="zstd", compression_level=1) as writer:
        for batch in found:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def _csv(sink: BinaryIO, schema: pa.Schema, found: Iterator[pa.RecordBatch]) -> int:
    rows = 0
    with pacsv.CSVWriter(sink, schema, write_options=pacsv.WriteOptions(quoting_style="needed")) as writer:
        for batch in found:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def _jsonl(sink: BinaryIO, schema: pa.Schema, found: Iterator[pa.RecordBatch]) -> int:
    rows = 0
    for batch in found:
        lines = [
            json.dumps({name: value for name, value in row.items() if value is not None}, ensure_ascii=False)
            for row in batch.to_pylist()
        ]
        sink.write("".join(f"{line}\n" for line in lines).encode())
        rows += batch.num_rows
    return rows


_WRITERS = {".parquet": _parquet, ".csv": _csv, ".jsonl": _jsonl}
