"""`rejected.parquet`: the rows that were not sent, with what is wrong with each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import BinaryIO, Self

import pyarrow as pa
import pyarrow.parquet as pq

from fluxbatch.manifest.reader import Rejected

FLUSH_ROWS = 2_000
FLUSH_CHARACTERS = 8_000_000
CELL_CHARACTERS_MAX = 1_000_000

_FIRST = (pa.field("row", pa.int64()), pa.field("line", pa.int64()), pa.field("complaints", pa.string()))


class RejectedWriter:
    """Streams rejected rows to a binary sink that the caller opened (and syncs and renames): row, line, complaints
    as one text, and every column of the manifest as text. Bytes are only counted ("1234 bytes").

    `headers` are `Manifest.headers`. A header that is taken by the first three gets " (manifest)" behind it.
    A context manager: the Parquet footer is written when the block ends without an error.
    """

    def __init__(self, sink: BinaryIO, headers: Sequence[str]) -> None:
        taken = {field.name for field in _FIRST}
        self._headers = tuple(headers)
        names = [f"{header} (manifest)" if header in taken else header for header in headers]
        self._schema = pa.schema([*_FIRST, *(pa.field(name, pa.string()) for name in names)])
        self._writer = pq.ParquetWriter(sink, self._schema, compression="zstd")
        self._rows: list[list[object]] = []
        self._characters = 0
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is None:
            self.close()
        else:
            with suppress(OSError):  # the disk may be full; what is written is dropped in any case
                self._writer.close()  # while the sink is open: the writer would do it when it is collected, and fail

    def add(self, rejected: Rejected) -> None:
        """Keep one rejected row; it reaches the sink with a group of others."""
        line = rejected.complaints[0].line if rejected.complaints else None
        complaints = "\n".join(str(complaint) for complaint in rejected.complaints)
        cells = [as_text(rejected.values.get(header)) for header in self._headers]
        self._rows.append([rejected.row, line, _encodable(complaints), *cells])
        self._characters += len(complaints) + sum(len(cell) for cell in cells if cell)
        self.count += 1
        if len(self._rows) >= FLUSH_ROWS or self._characters >= FLUSH_CHARACTERS:
            self._flush()

    def close(self) -> None:
        """Write what is left and the footer. The sink stays open."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            columns = zip(*self._rows, strict=True)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
            self._writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
            self._rows = []
            self._characters = 0


def as_text(value: object) -> str | None:
    """A value of any column as text: texts as they are, the rest as JSON would have it, bytes by their number."""
    if value is None:
        return None
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=_json_part)
    return _encodable(text[:CELL_CHARACTERS_MAX])


def _json_part(value: object) -> object:
    return (
        f"{len(value)} bytes" if isinstance(value, bytes) else dict(value) if isinstance(value, Mapping) else str(value)
    )


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
