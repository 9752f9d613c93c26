"""The pictures of an export, a few at a time: each read once, held against its hash, marked and named."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from fluxbatch.dataset.columns import group_rows, row_groups
from fluxbatch.dataset.image import suffix_of
from fluxbatch.dataset.place import Place
from fluxbatch.dataset.quarantine import Damaged
from fluxbatch.export.plain_rows import plain_rows
from fluxbatch.export.template import Template
from fluxbatch.query import Rows

ROWS_PICTURES = 32
"""So many pictures are in memory at once, besides what a target collects."""

Mark = Callable[[bytes, Mapping[str, Any]], bytes]
"""A picture's bytes and its row (all columns but the picture, as Python values) -> the bytes that are exported."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Neighbours: their columns, the same as Python values, and, where pictures are exported, names and bytes.

    `sha256` and `size_bytes` are those of the bytes that are exported.
    """

    rows: pa.RecordBatch
    values: list[dict[str, Any]]
    names: list[str]
    contents: list[bytes]

    def __len__(self) -> int:
        return len(self.values)

    def cut(self, start: int, stop: int) -> Chunk:
        return Chunk(
            self.rows.slice(start, stop - start),
            self.values[start:stop],
            self.names[start:stop],
            self.contents[start:stop],
        )


class Stream:
    """The chosen rows from the `first`-th one on, handed out in the amounts that are asked for."""

    def __init__(self, rows: Rows, where: str | None, first: int, template: Template | None, mark: Mark | None) -> None:
        self._rows = rows
        self._template, self._mark = template, mark
        self._groups: dict[str, list[range]] = {}
        batches = rows.read(None, where, offset=first)
        self._chunks = (chunk for batch in batches for chunk in self._of_batch(batch))
        self._left: Chunk | None = None

    def take(self, rows: int) -> Iterator[Chunk]:
        """The next so many rows."""
        while rows:
            chunk = self._left if self._left is not None else next(self._chunks)
            self._left = None if len(chunk) <= rows else chunk.cut(rows, len(chunk))
            yield chunk if len(chunk) <= rows else chunk.cut(0, rows)
            rows -= min(rows, len(chunk))

    def _of_batch(self, batch: pa.RecordBatch) -> Iterator[Chunk]:
        kept = exported_columns(self._rows)
        if self._template is None:
            rows = batch.select(kept)
            yield Chunk(rows, plain_rows(rows), [], [])
            return
        part = batch.column(self._rows.part_column)[0].as_py()
        places = batch.column(self._rows.place_column).to_pylist()
        contents = self._contents(part, places)
        for start in range(0, len(batch), ROWS_PICTURES):
            rows = batch.slice(start, ROWS_PICTURES)
            found = [next(contents) for _ in range(len(rows))]
            where = [(part, place) for place in places[start : start + ROWS_PICTURES]]
            yield self._chunk(rows.select(kept), found, where, self._template)

    def _chunk(
        self, rows: pa.RecordBatch, contents: list[bytes], where: Sequence[tuple[str, int]], template: Template
    ) -> Chunk:
        values = plain_rows(rows)
        for value, content, (part, place) in zip(values, contents, where, strict=True):
            if hashlib.sha256(content).hexdigest() != value["sha256"]:
                raise Damaged(
                    f"{self._rows.dataset.folder / part}: row {place + 1}: the picture {value['key']} does not have "
                    "the SHA-256 beside it; bring the part back from a copy, or see `fluxbatch verify --repair`"
                )
        names = [f"{template.stem(value)}{suffix_of(content)}" for value, content in zip(values, contents, strict=True)]
        if self._mark is not None:
            contents = [self._mark(content, value) for content, value in zip(contents, values, strict=True)]
            for content, value in zip(contents, values, strict=True):
                value["sha256"], value["size_bytes"] = hashlib.sha256(content).hexdigest(), len(content)
            rows = _corrected(rows, values)
        return Chunk(rows, values, names, contents)

    def _contents(self, part: str, places: Sequence[int]) -> Iterator[bytes]:
        """The pictures at these places of a part, which ascend; of each row group that has one, all pages are read."""
        dataset = self._rows.dataset
        path = dataset.folder / part
        if part not in self._groups:
            self._groups = {part: row_groups(path, dataset.schema)}
        index = 0
        for number, span in enumerate(self._groups[part]):
            wanted = []
            while index < len(places) and places[index] in span:
                wanted.append(places[index] - span.start)
                index += 1
            if wanted:
                yield from _of_group(path, number, wanted)


def _of_group(path: Place, number: int, wanted: Sequence[int]) -> Iterator[bytes]:
    chosen, start = frozenset(wanted), 0
    for batch in group_rows(path, number, ["image"], ROWS_PICTURES):
        pictures = batch.column("image").field("bytes")
        for index in range(len(batch)):
            if start + index in chosen:
                yield pictures[index].as_py() or b""
        start += len(batch)


def _corrected(rows: pa.RecordBatch, values: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
    arrays = [
        pa.array([value[field.name] for value in values], field.type)
        if field.name in ("sha256", "size_bytes")
        else column
        for field, column in zip(rows.schema, rows.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=rows.schema)


def exported_columns(rows: Rows) -> list[str]:
    """All columns but the picture, and but those that say where it lies in the dataset."""
    return [name for name in rows.schema.names if name not in (rows.part_column, rows.place_column)]
