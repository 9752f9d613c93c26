"""`fluxbatch check`: looks at the sealed pictures of a dataset, and adds what it finds as columns beside its parts.

    checks.parquet          the figures of the pixels, for a dataset that was made before these were columns
    duplicates.parquet      groups of near-duplicates
    NAME.parquet            what a scorer says

Parts that were looked at before are left alone; what has been done is put down every minute, and whatever ends the
check. Changes nothing else, and may go on beside a run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from fluxbatch.checks import similar
from fluxbatch.checks.checked import Found, Looked
from fluxbatch.checks.covered import KEYS, Covered, checking, covered, standings
from fluxbatch.checks.duplicates import Facts, facts_of, near_duplicates
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.columns import column_rows
from fluxbatch.dataset.header import Part
from fluxbatch.dataset.image import Measured, decoded, inspect
from fluxbatch.dataset.place import Place, place_of
from fluxbatch.dataset.quarantine import Damaged
from fluxbatch.dataset.record import LOOKED, missing
from fluxbatch.errors import StorageError, UsageError
from fluxbatch.query.sidecars import KEY
from fluxbatch.scores.protocol import BATCH, Scored, Scorer, fields_of, scores

CHECKS = "checks"
WRITE_EVERY_S = 60.0
_WITH_PICTURES = (KEY, "prompt", "width", "height", "image")

Watch = Callable[[str, int, int], None]
"""Is told what is done, how many pictures of it, and of how many."""


class Maker(Protocol):
    """Makes the columns of one file, batch by batch."""

    name: str
    made_by: str
    fields: tuple[pa.Field, ...]

    def of(self, batch: pa.RecordBatch) -> pa.Table:
        """Key and columns of these pictures, or of some of them."""


class Measures:
    """The figures of the pixels, for a dataset whose version has no columns for them."""

    name = CHECKS
    made_by = "fluxbatch, record version 3"

    def __init__(self, dataset: Dataset, pool: ThreadPoolExecutor) -> None:
        names = missing(dataset.header.version) & set(Measured.__slots__)
        self._columns = tuple(column for column in LOOKED if column.name in names)
        self.fields = tuple(pa.field(column.name, column.type) for column in self._columns)
        self._pool = pool

    def of(self, batch: pa.RecordBatch) -> pa.Table:
        contents, widths, heights = (
            _contents(batch),
            batch.column("width").to_pylist(),
            batch.column("height").to_pylist(),
        )
        looks = list(self._pool.map(inspect, contents, widths, heights))
        arrays = [pa.array([column.value(look) for look in looks], column.type) for column in self._columns]
        return pa.table([batch.column(KEY), *arrays], schema=pa.schema([KEYS, *self.fields]))


class Scores:
    """What a scorer says of the pictures that can be decoded."""

    def __init__(self, scorer: Scorer, pool: ThreadPoolExecutor) -> None:
        self.name = scorer.name
        self.made_by = scorer.identity
        self.fields = fields_of(scorer)
        self._scorer = scorer
        self._pool = pool

    def of(self, batch: pa.RecordBatch) -> pa.Table:
        keys, prompts = batch.column(KEY).to_pylist(), batch.column("prompt").to_pylist()
        found = zip(keys, prompts, self._pool.map(decoded, _contents(batch)), strict=True)
        pictures = [Scored(key, prompt, pixels) for key, prompt, pixels in found if pixels is not None]
        mine = pa.array([picture.key for picture in pictures], pa.string())
        return pa.table([mine, *scores(self._scorer, pictures)], schema=pa.schema([KEYS, *self.fields]))


def _contents(batch: pa.RecordBatch) -> list[bytes]:
    return [content.as_py() or b"" for content in batch.column("image").field("bytes")]


def check(
    folder: Place,
    scorers: Sequence[Scorer] = (),
    distance_max: int = similar.DISTANCE,
    watch: Watch = lambda what, done, total: None,
    clock: Callable[[], float] = time.monotonic,
) -> Found:
    """Look at what was not looked at yet, and say what is found in all. UsageError for bad arguments, or when there is
    no dataset; DatasetInUse while another check goes on; StorageError, when all else is done, names every part that
    cannot be read."""
    _check_arguments(scorers, distance_max)
    dataset = Dataset.open(place_of(folder))
    pictures = sum(part.rows for part in dataset.parts)
    unread: dict[str, str] = {}
    facts = Facts()
    with checking(dataset), ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="look") as pool:
        makers: list[Maker] = [Scores(scorer, pool) for scorer in scorers]
        if (measures := Measures(dataset, pool)).fields:
            makers.insert(0, measures)
        looked = [_bring_up(dataset, maker, unread, watch, clock) for maker in makers]
        for part in dataset.parts:
            with _noted(dataset, part, unread):
                facts.add(part, facts_of(dataset, part))
                watch("near-duplicates", facts.pictures, pictures)
        groups = near_duplicates(dataset, facts, distance_max)
    if unread:
        told = "; ".join(unread.values())
        raise StorageError(f"{told}. All other parts were checked; mend these with `fluxbatch verify --repair`")
    stale = [one for one in standings(dataset) if one.is_stale]
    return Found(dataset.folder, pictures, len(dataset.parts), facts.suspects, distance_max, groups, looked, stale)


def _check_arguments(scorers: Sequence[Scorer], distance_max: int) -> None:
    wrong = []
    if not 0 <= distance_max <= similar.DISTANCE_MAX:
        wrong.append(f"--distance {distance_max} is not between 0 (the same hash) and {similar.DISTANCE_MAX} bits")
    names = [scorer.name for scorer in scorers]
    wrong += [f"--scorer {name} is given more than once" for name in sorted({n for n in names if names.count(n) > 1})]
    if wrong:
        raise UsageError("; ".join(wrong))


def _bring_up(
    dataset: Dataset, maker: Maker, unread: dict[str, str], watch: Watch, clock: Callable[[], float]
) -> Looked:
    """Make the columns of the parts that have none yet. What is done is put down whatever happens."""
    made = covered(dataset, maker.name, maker.made_by, maker.fields)
    left = made.missing(dataset)
    total, now, written = sum(part.rows for part in left), 0, clock()
    try:
        for part in left:
            with _noted(dataset, part, unread):
                pieces = [made.schema.empty_table()]
                for _, batch in column_rows(dataset.path(part), dataset.schema, _WITH_PICTURES, rows_max=BATCH):
                    pieces.append(maker.of(batch))
                    now += len(batch)
                    watch(maker.name, now, total)
                made.add(part, pa.concat_tables(pieces))
            if clock() - written > WRITE_EVERY_S:
                made.write(dataset)
                written = clock()
    finally:
        if not made.is_all_of(dataset, left):
            made.write(dataset)
    before = sum(part.rows for part in dataset.parts if made.covers(part) and part not in left)
    return Looked(maker.name, now, before, _ranges(made))


@contextmanager
def _noted(dataset: Dataset, part: Part, unread: dict[str, str]) -> Iterator[None]:
    """A part that is damaged or gone is noted, and the others are looked at. A store that does not answer is no such
    part."""
    try:
        yield
    except StorageError as error:
        if not isinstance(error, Damaged) and not isinstance(dataset.folder, Path):
            raise
        unread[part.file] = str(error)


def _ranges(made: Covered) -> dict[str, tuple[float, float, float]]:
    table = pa.concat_tables([made.schema.empty_table(), *(piece.rows for piece in made.pieces.values())])
    ranges = {}
    for kept in made.fields:
        column = table.column(kept.name).drop_null()
        if len(column) and (pa.types.is_floating(kept.type) or pa.types.is_integer(kept.type)):
            least, most = pc.min_max(column).as_py().values()
            ranges[kept.name] = (float(least), float(pc.mean(column).as_py()), float(most))
    return ranges
