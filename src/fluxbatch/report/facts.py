"""What a report says, as one value, read from the dataset and the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from fluxbatch.budget import ledger, records, standings
from fluxbatch.budget.entries import FREE_A_DAY, Balance, Held, Period, Scope
from fluxbatch.budget.lease import Transaction
from fluxbatch.budget.quarters import account_of
from fluxbatch.budget.records import RunRecord
from fluxbatch.budget.store import Store
from fluxbatch.dataset import place
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.failures import FAILURES
from fluxbatch.dataset.parts import UNREADABLE
from fluxbatch.models.money import Money
from fluxbatch.plain import plain
from fluxbatch.query import Rows
from fluxbatch.report.timeline import Timeline, batches, timeline

FAILURES_SHOWN = 100
TEXT_MAX = 300
FAILURE = ("id", "prompt", "failure", "failure_code", "failure_message")


@dataclass(frozen=True, slots=True)
class Kind:
    """The pictures of one model, size and number of steps: how many, what they cost, how long they took on average."""

    model: str
    width: int
    height: int
    steps: int
    pictures: int
    charged: Money
    latency_s: float

    @property
    def each(self) -> Money:
        """On average, to the nano-dollar."""
        return Money(self.charged.nano_usd // self.pictures, self.charged.centineurons // self.pictures)


@dataclass(frozen=True, slots=True)
class Failure:
    """A row without a picture. Texts, fit to be shown."""

    id: str
    prompt: str
    end: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Free:
    """The account's free neurons of a UTC day, by what this ledger knows."""

    day: str
    used: Money
    of: Money = FREE_A_DAY


@dataclass(frozen=True, slots=True)
class Facts:
    """All that stands in a report, but its pictures. `summary`: that of the last run that has ended."""

    name: str
    id: str
    created_at: datetime
    simulated: bool
    pictures: int
    size_bytes: int
    kinds: tuple[Kind, ...]
    balance: Balance | None
    free: Free | None
    runs: tuple[RunRecord, ...]
    batch: tuple[RunRecord, ...]
    """The last run that sent anything, with those that ran beside it."""
    timeline: Timeline | None
    summary: Mapping[str, Any] | None
    ended: Mapping[str, int]
    """How the rows of failures.parquet have ended."""
    failures: tuple[Failure, ...]


class _Remembered(NamedTuple):
    """What the ledger knows."""

    runs: Sequence[RunRecord]
    batch: Sequence[RunRecord]
    timeline: Timeline | None
    balance: Balance | None
    free: Free | None


def facts_of(dataset: Dataset, store: Store) -> Facts:
    """Read them. LedgerError and StorageError as from the ledger and the disk."""
    known = store.read(lambda tx: _from_ledger(tx, dataset.id))
    ended, failures = _failures(dataset)
    return Facts(
        name=plain(dataset.folder.resolve().name, 200),
        id=dataset.id,
        created_at=dataset.header.created_at.astimezone(UTC),
        simulated=dataset.simulated,
        pictures=sum(part.rows for part in dataset.parts),
        size_bytes=sum(part.size_bytes for part in dataset.parts),
        kinds=tuple(_kinds(Rows(dataset))),
        balance=known.balance,
        free=known.free,
        runs=tuple(known.runs),
        batch=tuple(known.batch),
        timeline=known.timeline,
        summary=next((run.summary for run in reversed(known.runs) if run.summary is not None), None),
        ended=ended,
        failures=failures,
    )


def _from_ledger(tx: Transaction, dataset: str) -> _Remembered:
    runs = records.run_records(tx, dataset)
    batch, drawn = _last_that_sent(tx, dataset, runs)
    free = None if drawn is None else _free(tx, dataset, drawn.began_at_us)
    return _Remembered(runs, batch, drawn, ledger.balance(tx, dataset), free)


def _last_that_sent(
    tx: Transaction, dataset: str, runs: Sequence[RunRecord]
) -> tuple[list[RunRecord], Timeline | None]:
    """The last batch that has sent anything: a run that finds all made has nothing to be drawn."""
    active = records.runs_that_sent(tx, dataset)
    for batch in reversed(batches(runs)):
        if any(run.run in active for run in batch):
            return batch, timeline(records.sends_of(tx, dataset, [run.run for run in batch]))
    return [], None


def _free(tx: Transaction, dataset: str, at_us: int) -> Free | None:
    account = account_of(tx, dataset)
    if account is None:
        return None
    window = next(one for one in standings.spans_of(Scope.ACCOUNT, account, at_us) if one.period == Period.DAY)
    day = datetime.fromtimestamp(at_us / 1e6, UTC).date().isoformat()
    return Free(day, _gone(standings.standing(tx, window).held))


def _gone(held: Held) -> Money:
    return held.spent + held.reserved + held.unknown


def _kinds(rows: Rows) -> Iterator[Kind]:
    """The dearest first."""
    by = ["model", "width", "height", "steps"]
    sums = [("usd", "sum"), ("neurons", "sum"), ("latency_s", "mean"), ("usd", "count")]
    batches = list(rows.read([*by, "usd", "neurons", "latency_s"]))
    if not batches:
        return
    found = pa.Table.from_batches(batches).group_by(by).aggregate(sums).to_pylist()
    for row in sorted(found, key=lambda row: (-row["usd_sum"], *(str(row[name]) for name in by))):
        charged = Money(int(row["usd_sum"] * 10**9), int(row["neurons_sum"] * 100))
        model, width, height, steps = (row[name] for name in by)
        yield Kind(model, width, height, steps, row["usd_count"], charged, row["latency_s_mean"])


def _failures(dataset: Dataset) -> tuple[Counter[str], tuple[Failure, ...]]:
    path = dataset.folder / FAILURES
    ended: Counter[str] = Counter()
    shown: list[Failure] = []
    if not path.exists():
        return ended, ()
    try:
        file = pq.ParquetFile(place.source(path))
        for batch in file.iter_batches(columns=[*FAILURE]):
            for row in batch.to_pylist():
                ended[row["failure"]] += 1
                if len(shown) < FAILURES_SHOWN:
                    shown.append(_failure(row))
    except UNREADABLE:  # `fluxbatch verify` says so, and mends it
        return ended, tuple(shown)
    return ended, tuple(shown)


def _failure(row: Mapping[str, Any]) -> Failure:
    texts = (row[name] for name in FAILURE)
    return Failure(*("" if text is None else plain(str(text), TEXT_MAX) for text in texts))
