"""Who is working on a dataset, for those that no lock on a disk reaches: a lease in the ledger, kept by a heartbeat.

A lease that ran out is taken over, and its run is fenced off: its window is closed (`windows.close`), a row that each
of its reservations has to write, so not one of them passes any more, whenever its machine wakes up.

Several runs of one holder (the chunks of one batch) may work on a dataset at once, each on a seat of its own: a chunk
that is begun again takes over from the run that sat there before.

Time is the database's own: PostgreSQL's one clock for all machines; SQLite's is that of the one machine it lies on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fluxbatch.budget import windows, wishes
from fluxbatch.budget.here import Here
from fluxbatch.budget.tables import clock, datasets, leases
from fluxbatch.errors import LeaseLost

Transaction: TypeAlias = Connection
"""For those above who pass one on."""
LENGTH_S = 90.0
"""A lease runs out when nothing was heard of its run for so long. Longer than a database takes to fail over or a
machine to restart (a minute), so that nobody is pushed out by that; short, because another machine waits for it."""
BEATS = 9
"""So many heartbeats in that time: one every ten seconds, and several may fail."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who is working on a dataset: which run of which holder, where, and until when it may be silent.

    `seat`: the chunk, where the holder has several; None for who has none to himself.
    """

    dataset: str
    run: str
    holder: str
    where: Here
    taken_at_us: int
    heartbeat_at_us: int
    expires_at_us: int
    seat: str | None = None

    def is_in_the_way_of(self, holder: str | None, seat: str | None) -> bool:
        """Whether that holder has to wait for it: it is another's, or sits on the same seat."""
        return self.holder != holder or (seat is not None and self.seat == seat)

    def __str__(self) -> str:
        return f"run {self.run} (process {self.where.pid} on {self.where.host})"


@dataclass(frozen=True, slots=True)
class Taken:
    """The dataset is this run's. `over`: the leases that it took over, whose runs are fenced off."""

    lease: Lease
    over: tuple[Lease, ...] = ()


@dataclass(frozen=True, slots=True)
class Busy:
    """Another holder is working on the dataset; `left_s`: so long it may still be silent."""

    by: Lease
    left_s: float


def take(
    tx: Connection,
    dataset: str,
    run: str,
    where: Here,
    length_s: float = LENGTH_S,
    *,
    holder: str | None = None,
    seat: str | None = None,
    is_dead: Callable[[Lease], bool] = lambda lease: False,
    now_us: int | None = None,
) -> Taken | Busy:
    """Take the lease, or say who has it. What has run out, or is certainly dead, is taken over.

    `holder`: the parent, when several runs share the dataset, and `seat` what is this one's alone of it. `now_us`: a
    clock of one's own, for tests.
    """
    _one_at_a_time(tx, dataset)
    now, mine = clock_us(tx, now_us), holder or run
    others = [one for one in leases_of(tx, dataset) if one.is_in_the_way_of(mine, seat)]
    for other in others:
        if other.expires_at_us > now and not is_dead(other):
            return Busy(other, (other.expires_at_us - now) / 1e6)
    for other in others:
        # Only as it was seen: one that was heard of in this very moment keeps its lease.
        seen = leases.c.heartbeat_at_us == other.heartbeat_at_us
        if not tx.execute(sa.delete(leases).where(_this(dataset, other.run), seen)).rowcount:
            return Busy(other, length_s)
        windows.close(tx, other.run, by=run)
    lease = Lease(dataset, run, mine, where, now, now, now + round(length_s * 1e6), seat)
    tx.execute(sa.insert(leases).values(**_columns(lease)))
    wishes.forget_the_gone(tx, dataset)
    return Taken(lease, tuple(others))


def renew(tx: Connection, dataset: str, run: str, length_s: float = LENGTH_S, now_us: int | None = None) -> None:
    """The heartbeat. A lease that ran out and that nobody took is simply renewed; LeaseLost when somebody did."""
    _lock_dataset(tx, dataset)
    now = clock_us(tx, now_us)
    beat = {"heartbeat_at_us": now, "expires_at_us": now + round(length_s * 1e6)}
    if not tx.execute(sa.update(leases).where(_this(dataset, run)).values(**beat)).rowcount:
        raise _lost(tx, run)


def check(tx: Connection, dataset: str, run: str) -> None:
    """LeaseLost when the dataset is no longer this run's. Nobody takes it over before this transaction has ended."""
    _lock_dataset(tx, dataset)
    if tx.execute(sa.select(leases.c.run).where(_this(dataset, run))).first() is None:
        raise _lost(tx, run)


def release(tx: Connection, dataset: str, run: str) -> None:
    """Give the lease back, if it is still there; what was wished of who had it goes with it."""
    tx.execute(sa.delete(leases).where(_this(dataset, run)))
    wishes.forget_the_gone(tx, dataset)


def leases_of(tx: Connection, dataset: str) -> list[Lease]:
    """Who is working on the dataset, or was when it was last heard of."""
    return [
        _lease(row) for row in tx.execute(sa.select(leases).where(leases.c.dataset == dataset).order_by(leases.c.run))
    ]


def worked_on(tx: Connection) -> set[str]:
    """The datasets that somebody has a lease of."""
    return set(tx.execute(sa.select(leases.c.dataset)).scalars())


def clock_us(tx: Connection, now_us: int | None = None) -> int:
    """The database's time in microseconds since 1970, or the time that is given."""
    if now_us is not None:
        return now_us
    return int(tx.execute(sa.select(clock(tx))).scalar_one())


def _one_at_a_time(tx: Connection, dataset: str) -> None:
    """Of several who would take a dataset, one after the other; and none while its money moves."""
    if tx.dialect.name == "postgresql":  # SQLite's writers take turns anyhow
        number = sa.func.hashtextextended(f"fluxbatch lease {dataset}", 0)
        tx.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))
    _lock_dataset(tx, dataset)


def _lock_dataset(tx: Connection, dataset: str) -> None:
    tx.execute(sa.select(datasets.c.dataset).where(datasets.c.dataset == dataset).with_for_update())


def _this(dataset: str, run: str) -> Any:
    return (leases.c.dataset == dataset) & (leases.c.run == run)


def _lost(tx: Connection, run: str) -> LeaseLost:
    return LeaseLost.to(windows.closed_by(tx, run))


def _columns(lease: Lease) -> dict[str, object]:
    names = ("dataset", "run", "holder", "seat", "taken_at_us", "heartbeat_at_us", "expires_at_us")
    where = {name: getattr(lease.where, name) for name in ("host", "pid", "machine", "born", "lock_file")}
    return {name: getattr(lease, name) for name in names} | where


def _lease(row: Any) -> Lease:
    where = Here(row.host, row.pid, row.machine, row.born, row.lock_file)
    times = (row.taken_at_us, row.heartbeat_at_us, row.expires_at_us)
    return Lease(row.dataset, row.run, row.holder, where, *times, row.seat)
