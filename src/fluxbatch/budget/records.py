"""What the ledger remembers of a dataset's runs and sends, for whoever draws it. Reads, and changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fluxbatch.budget.tables import attempts, runs

ROWS_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as the ledger has it. Times are microseconds since 1970 in UTC; `summary` is `Summary.to_dict` of its
    end, None while it has not ended (or was ended from outside, or its summary is none of ours)."""

    run: str
    manifest: str
    began_at_us: int
    ended_at_us: int | None
    stopped_by: str | None
    summary: Mapping[str, Any] | None


class Sent(NamedTuple):
    """A request that was sent. `resolved_at_us` and `end` are None while it is on its way."""

    sent_at_us: int
    resolved_at_us: int | None
    end: str | None
    code: str | None
    spent_nano_usd: int


def run_records(tx: Connection, dataset: str) -> list[RunRecord]:
    """The dataset's runs, in the order in which they began."""
    query = sa.select(runs).where(runs.c.dataset == dataset).order_by(runs.c.started_at_us, runs.c.run)
    return [
        RunRecord(row.run, row.manifest, row.started_at_us, row.ended_at_us, row.stopped_by, _summary(row.summary))
        for row in tx.execute(query)
    ]


def runs_that_sent(tx: Connection, dataset: str) -> frozenset[str]:
    """Those of the dataset's runs that have sent anything."""
    return frozenset(tx.execute(sa.select(attempts.c.run).where(attempts.c.dataset == dataset).distinct()).scalars())


def sends_of(tx: Connection, dataset: str, of_runs: Sequence[str]) -> Iterator[Sent]:
    """What those runs have sent, in no order."""
    a = attempts.c
    columns = (a.sent_at_us, a.resolved_at_us, a.end, a.code, a.actual_nano_usd, a.run)
    wanted = frozenset(of_runs)
    # The runs are picked here: a batch may have more of them than a statement takes values.
    rows = tx.execution_options(yield_per=ROWS_AT_ONCE).execute(sa.select(*columns).where(a.dataset == dataset))
    for sent_at_us, resolved_at_us, end, code, nano_usd, run in rows:
        if run in wanted:
            yield Sent(sent_at_us, resolved_at_us, end, code, nano_usd or 0)


def _summary(text: str | None) -> Mapping[str, Any] | None:
    if text is None:
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
