"""A batch of rows as Python values, whatever a user's own columns hold."""

from __future__ import annotations

from typing import Any

import pyarrow as pa


def plain_rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """One mapping a row, in the columns' order."""
    columns = [_values(column) for column in batch.columns]
    return [dict(zip(batch.schema.names, row, strict=True)) for row in zip(*columns, strict=True)]


def _values(column: pa.Array) -> list[Any]:
    """What Python has no value for (nanoseconds of a day, the year 300000) is written as Arrow writes it."""
    try:
        values: list[Any] = column.to_pylist()
    except (ValueError, OverflowError):
        values = [_text(column[index]) for index in range(len(column))]
    return values


def _text(value: pa.Scalar) -> str | None:
    if not value.is_valid:
        return None
    try:
        return str(value.cast(pa.string()).as_py())
    except pa.ArrowException:
        return repr(value)
