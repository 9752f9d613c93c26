"""What every file format gives: its headers, and its rows in chunks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from fluxbatch.manifest.columns import IMAGES_COLUMN, REFERENCE_COLUMNS, Layout
from fluxbatch.manifest.values import Trouble

CHUNK_ROWS = 4096
CHUNK_ROWS_WITH_REFERENCES = 64
"""Pictures are opened a chunk ahead of the first request of it, so such a chunk is small."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A row whose text does not come apart into cells; `values` is what could be read of it, by header."""

    troubles: tuple[Trouble, ...]
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows in a row: the cells of each parameter column (in the order of the layout), and the own columns.

    `own` is None when the user has no columns. `lines` says where each row starts; only text files have lines.
    `broken` is by index in the chunk; such a row's cells mean nothing.
    """

    size: int
    cells: Sequence[Sequence[object]]
    own: pa.RecordBatch | None
    lines: Sequence[int] | None = None
    broken: Mapping[int, Broken] = field(default_factory=dict)


class Source(Protocol):
    """A manifest file of one format."""

    @property
    def headers(self) -> Sequence[str]:
        """The names of all columns, in order."""
        ...

    @property
    def header_line(self) -> int | None:
        """The line that the header stands in, if it is a text file with one."""
        ...

    def own_fields(self, layout: Layout) -> tuple[list[pa.Field], list[Trouble]]:
        """The own columns with their types, and what is wrong with them."""
        ...

    def chunks(self, layout: Layout, own_schema: pa.Schema) -> Iterator[Chunk]:
        """One streaming pass from the start."""
        ...


def chunk_rows(layout: Layout) -> int:
    """How many rows a chunk has at most."""
    with_references = any(name in layout.parameters for name in (*REFERENCE_COLUMNS, IMAGES_COLUMN))
    return CHUNK_ROWS_WITH_REFERENCES if with_references else CHUNK_ROWS


def own_batch(columns: Sequence[pa.Array], schema: pa.Schema) -> pa.RecordBatch | None:
    """The own columns as one batch; None when there are none."""
    return pa.RecordBatch.from_arrays(list(columns), schema=schema) if columns else None
