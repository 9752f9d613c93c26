"""What can still be read of a damaged part, row by row: a flipped bit shall cost one picture, not five hundred.

A row is saved when its picture has the hash beside it, and every other column of its row group is as it was written:
written again, it has to be the same bytes (`rewritten.py` says why checksums are not enough; where not every value
comes back as the same bytes, a sound row may not be saved, but what is saved is sound).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.image import suffix_of
from fluxbatch.dataset.own import fit_row
from fluxbatch.dataset.parts import UNREADABLE
from fluxbatch.dataset.place import Place, source
from fluxbatch.dataset.rewritten import schema_given
from fluxbatch.dataset.shards import part_settings

_IMAGE = "image"


@dataclass(frozen=True, slots=True)
class Saved:
    """One sound row of a damaged part, as it lay in the spool before it was sealed."""

    key: str
    attempt: int
    row: pa.RecordBatch


def salvage(dataset: Dataset, path: Place) -> Iterator[Saved]:
    """The sound rows of a part that is not. None when its footer is gone, or its columns are not the dataset's."""
    try:
        checked = pq.ParquetFile(source(path), page_checksum_verification=True, pre_buffer=False)
        unchecked = pq.ParquetFile(source(path), page_checksum_verification=False, pre_buffer=False)
        groups = checked.num_row_groups if checked.schema_arrow.equals(dataset.schema) else 0
    except UNREADABLE:
        return
    with checked, unchecked:
        for number in range(groups):
            try:
                yield from _group(dataset, path, checked, unchecked, number)
            except (*UNREADABLE, ValueError, KeyError, TypeError, OverflowError):
                continue  # the other row groups may be sound


def _group(
    dataset: Dataset, path: Place, checked: pq.ParquetFile, unchecked: pq.ParquetFile, number: int
) -> list[Saved]:
    schema = dataset.schema
    rest = checked.read_row_group(number, columns=[name for name in schema.names if name != _IMAGE])
    images = unchecked.read_row_group(number, columns=[_IMAGE]).column(_IMAGE)
    if len(images) != len(rest) or not _is_as_written(path, checked, number, rest):
        return []
    table = rest.add_column(schema.get_field_index(_IMAGE), schema.field(_IMAGE), images).cast(schema)
    single = (table.slice(index, 1).combine_chunks().to_batches()[0] for index in range(len(table)))
    rows = (pa.RecordBatch.from_arrays(fit_row(row, schema), schema=schema) for row in single)
    return [Saved(row.column("key")[0].as_py(), row.column("attempts")[0].as_py(), row) for row in rows if _sound(row)]


def _sound(row: pa.RecordBatch) -> bool:
    """The picture is proved by its hash, its file name by the key and the picture; the other columns are proved."""
    picture = row.column(_IMAGE)[0].as_py()
    content, key, sha256 = picture["bytes"] or b"", row.column("key")[0].as_py(), row.column("sha256")[0].as_py()
    is_named: bool = picture["path"] == f"{key}{suffix_of(content)}"
    return is_named and hashlib.sha256(content).hexdigest() == sha256


def _is_as_written(path: Place, file: pq.ParquetFile, number: int, rest: pa.Table) -> bool:
    """Whether these columns, written again, are the same bytes: a column's pages do not depend on other columns."""
    given = schema_given(file)
    schema = pa.schema([given.field(name) for name in rest.schema.names])
    again = BytesIO()
    with pq.ParquetWriter(again, schema, **part_settings(schema)) as writer:
        writer.write_table(rest.cast(schema), row_group_size=len(rest))
    written = _chunks(again, pq.ParquetFile(BytesIO(again.getvalue())).metadata.row_group(0))
    with path.open("rb") as content:
        found = _chunks(content, file.metadata.row_group(number), set(written))
    return all(found.get(name) == pages for name, pages in written.items())


def _chunks(file: BinaryIO, group: pq.RowGroupMetaData, wanted: set[str] | None = None) -> dict[str, bytes]:
    """The pages of the leaf columns of a row group."""
    chunks = {}
    for index in range(group.num_columns):
        column = group.column(index)
        if wanted is None or column.path_in_schema in wanted:
            file.seek(column.dictionary_page_offset if column.has_dictionary_page else column.data_page_offset)
            chunks[column.path_in_schema] = file.read(column.total_compressed_size)
    return chunks
