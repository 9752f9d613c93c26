"""Some columns of a part, batch by batch, with every check on; the pictures stay where they are unless asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from fluxbatch.dataset.parts import UNREADABLE, opened
from fluxbatch.dataset.place import Place
from fluxbatch.dataset.quarantine import Damaged

ROWS = 10_000
"""A batch has at most so many rows: without the pictures, some megabytes."""


def column_rows(
    path: Place, schema: pa.Schema, columns: Sequence[str], first: int = 0, rows_max: int = ROWS
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The columns from row `first` of a part on, each batch with the number of its first row.

    `schema` is what the part must have. Damaged when it has another, or cannot be read to its end.
    """
    with opened(path) as part:
        if not part.schema_arrow.equals(schema):
            raise Damaged(f"{path}: has other columns than its dataset")
        groups, at = _groups_from(part, first)
        for batch in _batches(path, part, groups, columns, rows_max):
            skipped = min(max(first - at, 0), len(batch))
            if skipped < len(batch):
                yield at + skipped, batch.slice(skipped)
            at += len(batch)
        if at != part.metadata.num_rows:
            raise Damaged(f"{path}: {part.metadata.num_rows - at} of its rows cannot be read")


def row_groups(path: Place, schema: pa.Schema) -> list[range]:
    """Which rows of a part stand in which row group."""
    with opened(path) as part:
        if not part.schema_arrow.equals(schema):
            raise Damaged(f"{path}: has other columns than its dataset")
        return _groups(part)


def group_rows(path: Place, group: int, columns: Sequence[str], rows_max: int) -> Iterator[pa.RecordBatch]:
    """The columns of one row group, `rows_max` rows in memory."""
    with opened(path) as part:
        left = part.metadata.row_group(group).num_rows
        for batch in _batches(path, part, [group], columns, rows_max):
            left -= len(batch)
            yield batch
    if left:
        raise Damaged(f"{path}: {left} rows of its row group {group} cannot be read")


def _groups(part: pq.ParquetFile) -> list[range]:
    groups, start = [], 0
    for number in range(part.num_row_groups):
        rows = part.metadata.row_group(number).num_rows
        groups.append(range(start, start + rows))
        start += rows
    return groups


def _groups_from(part: pq.ParquetFile, first: int) -> tuple[list[int], int]:
    """The row groups that have something behind `first`, and the row at which they begin."""
    groups = _groups(part)
    chosen = [number for number, rows in enumerate(groups) if rows.stop > first]
    return chosen, groups[chosen[0]].start if chosen else part.metadata.num_rows


def _batches(
    path: Place, part: pq.ParquetFile, groups: Sequence[int], columns: Sequence[str], rows_max: int
) -> Iterator[pa.RecordBatch]:
    """Each is looked at whole: text is decoded only when it is used, and a dictionary has no checksum."""
    if not groups:
        return
    batches = part.iter_batches(rows_max, row_groups=list(groups), columns=list(columns), use_threads=False)
    while True:
        try:
            batch = next(batches, None)
            if batch is None:
                return
            chosen = batch.select(list(columns))  # a name with a dot in it reads what is nested so as well
            chosen.validate(full=True)
        except UNREADABLE as error:
            raise Damaged(f"{path}: {error}") from error
        yield chosen
