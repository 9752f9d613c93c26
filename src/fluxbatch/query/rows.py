"""The rows of a dataset without their pictures: chosen, counted and sorted by conditions in SQL.

SQL says which rows; Arrow hands them out, so each column has exactly the type that the dataset gives it. Batch by
batch: in memory are one batch, the sidecars that are asked for, and, for an order, what is sorted by.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import cache, cached_property
from itertools import islice
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.columns import ROWS, column_rows
from fluxbatch.dataset.header import Part
from fluxbatch.dataset.quarantine import Damaged
from fluxbatch.dataset.shards import GROUP_ROWS_MAX
from fluxbatch.errors import UsageError
from fluxbatch.query.conditions import Condition, Term, condition, order
from fluxbatch.query.duck import TABLE, Duck, asked, kind, opened, told, told_to
from fluxbatch.query.names import Names, free_name
from fluxbatch.query.sidecars import KEY, Joined, Sidecar, sidecars

IMAGE = "image"
Numbers: TypeAlias = np.ndarray[tuple[int], np.dtype[np.int64]]
"""Of rows, in their natural order, from 0."""
_TRUTHS = ("BOOLEAN", "NULL", '"NULL"')
AT = "row at"
"""Of a batch that is asked: no column's alias has a space."""

Asker = Callable[[], Duck]
"""Opens DuckDB where it is needed first: it takes a twentieth of a second, and nothing where nothing is asked."""


class Rows:
    """The sealed rows of a dataset as it was opened, in their natural order: parts as listed, then rows.

    `schema` has all columns but the picture, those of the sidecars (null where a sidecar has no such key), and where a
    row stands: `part` (the file, relative to the dataset) and `place` (its row there, from 0). A name that is taken
    already gets underscores behind it: see `part_column` and `place_column`. For any thread.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.parts = dataset.parts
        own = [field for field in dataset.schema if field.name != IMAGE]
        self.sidecars = sidecars(dataset, [field.name for field in own])
        late = [field.with_name(name) for one in self.sidecars for name, field in one.columns.items()]
        taken = [field.name for field in (*own, *late)]
        self.part_column = free_name("part", taken)
        self.place_column = free_name("place", taken)
        where = [pa.field(self.part_column, pa.string()), pa.field(self.place_column, pa.int64())]
        self.schema = pa.schema([*own, *late, *where])
        self.names = Names(tuple(self.schema.names))
        self._duck: Duck | None = None
        self._joined: dict[str, Joined] = {}
        self._opening = threading.Lock()

    @cached_property
    def late_columns(self) -> tuple[str, ...]:
        """Those of the sidecars."""
        return tuple(name for one in self.sidecars for name in one.columns)

    def count(self, where: str | None = None) -> int:
        """How many rows there are, or how many a condition is true for. UsageError for a condition that is none."""
        if where is None:
            return sum(part.rows for part in self.parts)
        return sum(len(batch) for batch in self.read((self.place_column,), where))

    def check(self, where: str | None = None, order_by: str | None = None) -> None:
        """UsageError when a condition or an order is none. No row is read."""
        self.read(limit=0, where=where, order_by=order_by)

    def read(
        self,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        order_by: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> Iterator[pa.RecordBatch]:
        """These columns (None: all) of the rows for which the condition is true, never an empty batch.

        Without `order_by` in their natural order; with it, what is the same stays in it. UsageError at once for a
        condition, an order or a column that is none; Damaged or StorageError when a part cannot be read.
        """
        wanted, duck = self._wanted(columns), cache(self._cursor)
        chosen = None if where is None else condition(duck(), where, self.names)
        terms = () if order_by is None else order(duck(), order_by, self.names)
        self._try(duck, chosen, terms)
        if limit == 0:
            return iter(())
        if terms:
            return self._sorted(duck, wanted, chosen, terms, limit, offset)
        if chosen is None:
            return _cut(self._natural(duck, wanted, offset), limit, 0)
        return _cut(self._chosen(duck, wanted, chosen), limit, offset)

    def numbers(self, where: str | None = None, order_by: str | None = None) -> Numbers:
        """The numbers of the rows that `read` would hand out, in the same order. Raises what `read` does.

        For who pages through an answer: eight bytes a row, and only the columns that are asked about are read.
        """
        duck = cache(self._cursor)
        chosen = None if where is None else condition(duck(), where, self.names)
        terms = () if order_by is None else order(duck(), order_by, self.names)
        self._try(duck, chosen, terms)
        if terms:
            return self._order(duck, chosen, terms, None, 0)
        if chosen is None:
            return np.arange(self.count(), dtype=np.int64)
        start, found = 0, [np.empty(0, np.int64)]
        for batch in _gathered(self._natural(duck, chosen.columns or (self.place_column,))):
            found.append(start + _fitting(duck(), self.names, batch, chosen).to_numpy(zero_copy_only=False))
            start += len(batch)
        return np.concatenate(found)

    def at(self, numbers: Sequence[int], columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """These rows, in the order given. Raises what `read` does."""
        return self._fetched(cache(self._cursor), self._wanted(columns), numbers)

    def _try(self, duck: Asker, where: Condition | None, terms: Sequence[Term]) -> None:
        """On no rows: what does not fit the columns' types is said before any is read."""
        nothing = pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in self.schema], schema=self.schema)
        for asked_for, one in (("the condition", where), *(("the order", term.expression) for term in terms)):
            if one is not None:
                with told(asked_for):
                    found = kind(duck(), _aliased(self.names, nothing, one.columns), one.sql)
                if one is where and found not in _TRUTHS:
                    raise UsageError(
                        f"the condition is no condition, but {found}: write a comparison, as in `row > 10`"
                    )

    def _wanted(self, columns: Sequence[str] | None) -> tuple[str, ...]:
        wanted = self.names.columns if columns is None else tuple(columns)
        missing = [name for name in wanted if name not in self.names.columns]
        if missing:
            complaints = "; ".join(map(self.names.complaint, missing))
            raise UsageError(f"{complaints}; {self.names.listed}")
        return wanted

    def _cursor(self) -> Duck:
        with self._opening:
            if self._duck is None:
                self._duck = opened()
            return self._duck.cursor()

    def _natural(self, duck: Asker, names: Sequence[str], offset: int = 0) -> Iterator[pa.RecordBatch]:
        """All rows from `offset` on; a part that lies before is not opened."""
        for part in self.parts:
            if offset >= part.rows:
                offset -= part.rows
                continue
            yield from self._of_part(duck, part, names, offset)
            offset = 0

    def _of_part(
        self, duck: Asker, part: Part, names: Sequence[str], first: int, rows_max: int = ROWS
    ) -> Iterator[pa.RecordBatch]:
        wanted, read = set(names), first
        late = [one for one in self.sidecars if wanted & set(one.columns)]
        here = [f.name for f in self.dataset.schema if f.name in wanted or (f.name == KEY and late)] or [KEY]
        for place, batch in column_rows(self.dataset.folder / part.file, self.dataset.schema, here, first, rows_max):
            read = place + len(batch)
            found = dict(zip(batch.schema.names, batch.columns, strict=True))
            for one in late:
                chosen = [name for name in one.columns if name in wanted]
                values = self._join(duck(), one).columns(duck(), found[KEY], chosen)
                found |= dict(zip(chosen, values, strict=True))
            found[self.part_column] = pa.repeat(part.file, len(batch))
            found[self.place_column] = pa.arange(place, read)
            yield pa.RecordBatch.from_arrays([found[name] for name in names], schema=self._schema(names))
        if read != part.rows:
            raise Damaged(f"{self.dataset.folder / part.file}: has {read} rows, listed are {part.rows}")

    def _schema(self, names: Sequence[str]) -> pa.Schema:
        return pa.schema([self.schema.field(name) for name in names])

    def _join(self, duck: Duck, sidecar: Sidecar) -> Joined:
        with self._opening:
            if sidecar.name not in self._joined:
                self._joined[sidecar.name] = Joined(duck, sidecar, self.sidecars.index(sidecar))
            return self._joined[sidecar.name]

    def _chosen(self, duck: Asker, names: Sequence[str], where: Condition) -> Iterator[pa.RecordBatch]:
        needed = list(dict.fromkeys([*names, *where.columns]))
        for batch in self._natural(duck, needed):
            at = _fitting(duck(), self.names, batch, where)
            if len(at):
                yield batch.select(list(names)).take(at)

    def _sorted(
        self, duck: Asker, names: Sequence[str], where: Condition | None, terms: Sequence[Term],
        limit: int | None, offset: int,
    ) -> Iterator[pa.RecordBatch]:  # fmt: skip
        """What is sorted by is kept in memory, for the rows that fit; then the rows are fetched from their places."""
        yield from self._fetched(duck, names, self._order(duck, where, terms, limit, offset).tolist())

    def _order(
        self, duck: Asker, where: Condition | None, terms: Sequence[Term], limit: int | None, offset: int
    ) -> Numbers:
        """The numbers of the rows that fit, as they are sorted."""
        keys = [*terms] if where is None else [*terms, Term(where, "")]
        needed = list(dict.fromkeys(column for term in keys for column in term.expression.columns))
        columns = ", ".join(f"{term.expression.sql} AS s{number}" for number, term in enumerate(terms))
        fits = "" if where is None else f"WHERE {where.sql}"
        how, start = "CREATE TEMP TABLE sorted AS", 0
        for batch in _gathered(self._natural(duck, needed or [self.place_column])):
            sql = f'{how} SELECT "{AT}" + {start} AS n, {columns} FROM {TABLE} {fits}'  # noqa: S608
            with told("the order"):
                told_to(duck(), _aliased(self.names, batch, needed), sql)
            how, start = "INSERT INTO sorted", start + len(batch)
        if not start:
            return np.empty(0, np.int64)
        ways = "".join(f"s{number} {term.way}, " for number, term in enumerate(terms))
        cut = f"LIMIT {'ALL' if limit is None else int(limit)} OFFSET {int(offset)}"
        found = duck().sql(f"SELECT n FROM sorted ORDER BY {ways} n {cut}").to_arrow_table()  # noqa: S608
        numbers: Numbers = found.column("n").to_numpy().astype(np.int64)
        return numbers

    def _fetched(self, duck: Asker, names: Sequence[str], numbers: Sequence[int]) -> Iterator[pa.RecordBatch]:
        """Rows by their numbers in the natural order, in the order given."""
        waiting = iter(numbers)
        while some := list(islice(waiting, ROWS)):
            places = sorted(range(len(some)), key=some.__getitem__)
            batches = list(self._at(duck, names, [some[index] for index in places]))
            back = pa.array(sorted(range(len(places)), key=places.__getitem__), pa.int64())
            table = pa.Table.from_batches(batches).unify_dictionaries().combine_chunks().take(back)
            yield from table.combine_chunks().to_batches()

    def _at(self, duck: Asker, names: Sequence[str], numbers: Sequence[int]) -> Iterator[pa.RecordBatch]:
        """Rows by ascending numbers: of each part that has some, from the first one's row group to the last one's."""
        start, index = 0, 0
        for part in self.parts:
            behind = bisect_left(numbers, start + part.rows, index)
            places = [number - start for number in numbers[index:behind]]
            if places:
                yield from _picked(self._of_part(duck, part, names, places[0], GROUP_ROWS_MAX), places)
            start, index = start + part.rows, behind


def _picked(batches: Iterator[pa.RecordBatch], places: Sequence[int]) -> Iterator[pa.RecordBatch]:
    """The rows at these ascending places of a part, of which the batches begin with the first one. No batch is read
    behind the last one."""
    start, index = places[0], 0
    while index < len(places):
        batch = next(batches)
        behind = bisect_left(places, start + len(batch), index)
        if behind > index:
            yield batch.take(pa.array([place - start for place in places[index:behind]], pa.int64()))
        start, index = start + len(batch), behind


def _gathered(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Small ones together: each that is asked costs milliseconds, however few rows it has."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        if sum(map(len, waiting)) >= ROWS:
            yield _joined(waiting)
            waiting = []
    if waiting:
        yield _joined(waiting)


def _joined(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    if len(batches) == 1:
        return batches[0]
    table = pa.Table.from_batches(batches).unify_dictionaries().combine_chunks()
    return table.to_batches()[0]


def _aliased(names: Names, batch: pa.RecordBatch, columns: Sequence[str]) -> pa.RecordBatch:
    """These columns as SQL knows them, and where in the batch each row stands."""
    arrays = [batch.column(name) for name in columns]
    at = pa.arange(0, len(batch))
    return pa.RecordBatch.from_arrays([*arrays, at], [*(names.alias(name) for name in columns), AT])


def _fitting(duck: Duck, names: Names, batch: pa.RecordBatch, where: Condition) -> pa.Array:
    """The rows of the batch, by their numbers in it, for which the condition is true."""
    with told("the condition"):
        sql = f'SELECT "{AT}" FROM {TABLE} WHERE {where.sql}'  # noqa: S608 - written anew from a tree that was looked at
        return asked(duck, _aliased(names, batch, where.columns), sql).column(AT).combine_chunks()


def _cut(batches: Iterator[pa.RecordBatch], limit: int | None, offset: int) -> Iterator[pa.RecordBatch]:
    """The rows behind the first `offset` ones, at most `limit`."""
    for batch in batches:
        skipped = min(offset, len(batch))
        offset -= skipped
        kept = batch.slice(skipped, limit)
        if len(kept):
            yield kept
        if limit is not None:
            limit -= len(kept)
            if limit <= 0:
                return
