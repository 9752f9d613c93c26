"""`--to imagefolder | images | csv`: files of pictures, a table about them, or both."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from fluxbatch.dataset import files
from fluxbatch.export.cells import csv_line, json_line
from fluxbatch.export.plain_rows import plain_rows
from fluxbatch.export.staging import Staging
from fluxbatch.export.stream import Chunk
from fluxbatch.export.survey import Limits, Survey, Unit
from fluxbatch.query.names import free_name

PICTURES = Limits(256 * 1024 * 1024, 1_000)
"""Of a unit of files: what is written again at most when an export has died."""
TABLES = Limits(1 << 62, 50_000)
FILE_NAME = "file_name"
_PICTURE_COLUMN = re.compile(r"(^|.*_)file_names?")
"""`datasets` takes every column that is called so for pictures' files (folder_based_builder.py)."""
FORMATS = ("parquet", "jsonl", "csv")


class Files:
    """Pictures below `folder` (None: none), and `table` (None: none), a .csv, .jsonl or .parquet file beside them."""

    def __init__(self, staging: Staging, folder: str | None, table: str | None, loading: str) -> None:
        self.has_pictures = folder is not None
        self.limits = PICTURES if self.has_pictures else TABLES
        self._staging, self._folder, self._table, self._loading = staging, folder, table, loading

    def write(self, unit: Unit, units: int, chunks: Iterator[Chunk]) -> None:
        written = []

        def kept() -> Iterator[pa.Table]:
            for chunk in chunks:
                for name, content in zip(chunk.names, chunk.contents, strict=True):
                    written.append(self._staging.path(f"{self._folder}{name}"))
                    files.write_new(written[-1], content)
                yield _with_names(chunk) if self.has_pictures else pa.Table.from_batches([chunk.rows])

        if self._table is None:
            for _ in kept():
                pass
        else:
            files.put_atomic(self._staging.piece(unit.number), lambda file: _put_rows(file, kept()))
        files.sync_many(written)

    def finish(self, found: Survey, columns: pa.Schema) -> None:
        if self._table is None:
            return
        put = _PUTS[self._table.rpartition(".")[2]]
        path = self._staging.path(self._table)
        files.make_folders(path.parent)
        files.put_atomic(path, lambda file: put(file, self._pieces(found.units)))

    def loading(self, target: str) -> str:
        return self._loading.format(target=target)

    def _pieces(self, units: Sequence[Unit]) -> Iterator[pa.Table]:
        """What the units have left, row group by row group."""
        for unit in units:
            with pq.ParquetFile(self._staging.piece(unit.number)) as piece:
                for number in range(piece.num_row_groups):
                    yield piece.read_row_group(number, use_threads=False)


def _with_names(chunk: Chunk) -> pa.Table:
    """The rows with each picture's file first, from the table's folder on."""
    table = pa.Table.from_batches([chunk.rows])
    names = [FILE_NAME]
    for name in table.schema.names:
        names.append(free_name(f"{name}_" if _PICTURE_COLUMN.fullmatch(name.casefold()) else name, names))
    return table.add_column(0, FILE_NAME, pa.array(chunk.names, pa.string())).rename_columns(names)


def _put_rows(file: BinaryIO, tables: Iterator[pa.Table]) -> None:
    first = next(tables)
    with pq.ParquetWriter(file, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)


def _put_json(file: BinaryIO, tables: Iterator[pa.Table]) -> None:
    for table in tables:
        file.writelines(json_line(row).encode() for batch in table.to_batches() for row in plain_rows(batch))


def _put_csv(file: BinaryIO, tables: Iterator[pa.Table]) -> None:
    is_begun = False
    for table in tables:
        if not is_begun:
            file.write(csv_line(table.schema.names).encode())
            is_begun = True
        file.writelines(csv_line(row.values()).encode() for batch in table.to_batches() for row in plain_rows(batch))


_PUTS: dict[str, Callable[[BinaryIO, Iterator[pa.Table]], None]] = {
    "parquet": _put_rows,
    "jsonl": _put_json,
    "csv": _put_csv,
}
