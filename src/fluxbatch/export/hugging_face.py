"""`--to hf`: Parquet as `datasets` would have written it, and as the Hub's viewer and its deduplication like it.

Names that say how many there are, the `huggingface` features in the schema's metadata, row groups of a viewer's page,
the page index, content-defined chunks, and picture bytes plain: the settings are those of the dataset's own parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from fluxbatch.dataset import files
from fluxbatch.dataset.record import HUGGING_FACE, IMAGE
from fluxbatch.dataset.shards import GROUP_BYTES_MAX, GROUP_ROWS_MAX, part_settings
from fluxbatch.export.staging import Staging
from fluxbatch.export.stream import Chunk
from fluxbatch.export.survey import Limits, Survey, Unit

README = "README.md"


class HuggingFace:
    """`card` writes the README for the files in a folder (see `dataset/made.py`)."""

    has_pictures = True

    def __init__(self, staging: Staging, shard_bytes: int, card: Callable[[Path], str]) -> None:
        self.limits = Limits(shard_bytes, 1_000_000)
        self._staging, self._card = staging, card

    def write(self, unit: Unit, units: int, chunks: Iterator[Chunk]) -> None:
        path = self._staging.path(f"data/train-{unit.number:05d}-of-{units:05d}.parquet")
        files.make_folders(path.parent)

        def content(file: BinaryIO) -> None:
            groups = _groups(chunks)
            first = next(groups)
            schema = first.schema
            with pq.ParquetWriter(file, schema, **part_settings(schema)) as writer:
                for table in _and(first, groups):
                    writer.write_table(table, row_group_size=len(table))

        files.put_atomic(path, content)

    def finish(self, found: Survey, columns: pa.Schema) -> None:
        files.put_atomic(self._staging.path(README), self._card(self._staging.folder).encode())

    def loading(self, target: str) -> str:
        return f"load_dataset({target!r}, split='train')"


def _and(first: pa.Table, others: Iterator[pa.Table]) -> Iterator[pa.Table]:
    yield first
    yield from others


def _groups(chunks: Iterator[Chunk]) -> Iterator[pa.Table]:
    """Row groups: chunks are cut so that the same pictures make the same groups, wherever a chunk ended."""
    waiting: list[Chunk] = []
    rows = size_bytes = 0
    for chunk in chunks:
        start = 0
        for index, content in enumerate(chunk.contents):
            if rows and (rows == GROUP_ROWS_MAX or size_bytes + len(content) > GROUP_BYTES_MAX):
                yield _table([*waiting, chunk.cut(start, index)])
                waiting, start, rows, size_bytes = [], index, 0, 0
            rows += 1
            size_bytes += len(content)
        waiting.append(chunk.cut(start, len(chunk)))
    if rows:
        yield _table(waiting)


def _table(chunks: Sequence[Chunk]) -> pa.Table:
    """The picture first, as `datasets` reads it, then the columns."""
    some = [chunk for chunk in chunks if len(chunk)]
    columns = pa.Table.from_batches([chunk.rows for chunk in some]).unify_dictionaries().combine_chunks()
    contents = pa.array([content for chunk in some for content in chunk.contents], IMAGE.field("bytes").type)
    names = pa.array([name for chunk in some for name in chunk.names], IMAGE.field("path").type)
    image = pa.StructArray.from_arrays([contents, names], fields=list(IMAGE))
    table = columns.add_column(0, pa.field("image", IMAGE), image)
    return table.replace_schema_metadata({b"huggingface": HUGGING_FACE})
