"""Parquet. The user's own columns keep the types that pyarrow reads; only parameters become Python values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fluxbatch.errors import UsageError
from fluxbatch.manifest.columns import Layout
from fluxbatch.manifest.source import Broken, Chunk, chunk_rows, own_batch
from fluxbatch.manifest.values import Trouble, shown

CHUNK_BYTES_MAX = 64_000_000
READ_BUFFER_BYTES = 1 << 20

_DAMAGED = (pa.ArrowException, OSError, OverflowError, UnicodeDecodeError)


class Parquet:
    """A Parquet file."""

    header_line: int | None = None

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._open() as file:
            self._schema = file.schema_arrow
            metadata = file.metadata
            groups = (metadata.row_group(index) for index in range(metadata.num_row_groups))
            size_bytes = sum(group.total_byte_size for group in groups)
            self._row_bytes = max(0, size_bytes) // max(1, metadata.num_rows) + 1
        self.headers = self._names()
        for field in self._schema:
            self._check_zone(field)

    def _names(self) -> tuple[str, ...]:
        try:
            return tuple(self._schema.names)
        except UnicodeDecodeError as error:
            raise UsageError(f"{self._path}: the name of a column is not UTF-8 ({error}); write it again") from None

    def _damaged(self, why: object) -> UsageError:
        return UsageError(f"{self._path}: the file is damaged ({why}); write it again")

    def _check_zone(self, field: pa.Field) -> None:
        if pa.types.is_timestamp(field.type) and field.type.tz is not None:
            try:
                pa.scalar(0, field.type).as_py()
            except (LookupError, ValueError):
                problem = f"the time zone {shown(field.type.tz)} is not known; write it in UTC"
                raise UsageError(f"{self._path}, column {field.name}: {problem}") from None

    def _open(self) -> pq.ParquetFile:
        """Opened so that a column is read in pieces, and checked where the writer left checksums.

        A small file's columns are read whole: Arrow's buffered reader takes as much memory as a page's header says
        (up to 2 GB, where a damaged footer sends it to the wrong byte) before it looks how long the page is."""
        try:
            is_small = self._path.stat().st_size <= CHUNK_BYTES_MAX
            return pq.ParquetFile(
                self._path,
                buffer_size=0 if is_small else READ_BUFFER_BYTES,
                pre_buffer=False,
                page_checksum_verification=True,
            )
        except _DAMAGED as error:
            raise UsageError(f"{self._path}: this cannot be read as Parquet ({error})") from None

    def own_fields(self, layout: Layout) -> tuple[list[pa.Field], list[Trouble]]:
        return [_own_field(self._schema.field(position)) for position in layout.own], []

    def chunks(self, layout: Layout, own_schema: pa.Schema) -> Iterator[Chunk]:
        size = max(1, min(chunk_rows(layout), CHUNK_BYTES_MAX // self._row_bytes))
        with self._open() as file:
            left = file.metadata.num_rows
            batches = file.iter_batches(size, use_threads=False)
            while (batch := self._next(batches)) is not None:
                left -= batch.num_rows
                broken: dict[int, Broken] = {}
                columns = {position: _sound(batch, position, broken) for position in _wanted(layout)}
                cells = [_values(columns[position]) for position in layout.parameters.values()]
                own = own_batch([columns[position] for position in layout.own], own_schema)
                yield Chunk(batch.num_rows, cells, own, broken=broken)
            if left:
                raise self._damaged(f"its footer speaks of {file.metadata.num_rows} rows, {left} are not there")

    def _next(self, batches: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
        try:
            return next(batches, None)
        except _DAMAGED as error:
            raise self._damaged(error) from None


def _wanted(layout: Layout) -> tuple[int, ...]:
    return (*layout.parameters.values(), *layout.own)


def _sound(batch: pa.RecordBatch, position: int, broken: dict[int, Broken]) -> pa.Array:
    """A column of which every value can be read: Parquet's readers do not look whether texts are UTF-8. The rows of
    those that are not are broken, and null here."""
    column = batch.column(position)
    if _is_sound(column):
        return column
    kept = [index if _is_sound(column.slice(index, 1)) else None for index in range(len(column))]
    trouble = Trouble(batch.schema.field(position).name, "the text is not UTF-8", "write it as UTF-8")
    broken.update({row: Broken((trouble,), {}) for row, index in enumerate(kept) if index is None})
    return column.take(pa.array(kept, pa.int64()))


def _is_sound(column: pa.Array) -> bool:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _own_field(field: pa.Field) -> pa.Field:
    """The field without the number that Parquet gave it."""
    metadata = {key: value for key, value in (field.metadata or {}).items() if key != b"PARQUET:field_id"}
    return field.with_metadata(metadata or None)


def _values(column: pa.Array) -> list[object]:
    """Python values. A float of 32 bits becomes its shortest decimal: 3.3, and not 3.299999952316284."""
    values: list[object] = (column.cast(pa.string()) if pa.types.is_float32(column.type) else column).to_pylist()
    return values
