"""Who is working on a dataset, seen from outside: nothing is taken, and nobody is kept waiting."""

from __future__ import annotations

from fluxbatch.budget import lease
from fluxbatch.budget.here import here, is_gone
from fluxbatch.budget.lease import Lease
from fluxbatch.budget.store import Store
from fluxbatch.dataset.catalogue import Dataset


def holder_of(
    dataset: Dataset,
    store: Store,
    now_us: int | None = None,
    *,
    holder: str | None = None,
    seat: str | None = None,
) -> str | None:
    """Who holds the dataset, on this machine or another, and when the ledger heard of them; None: nobody does.

    For a chunk's rooms with `holder` and `seat`: who is in the way of that chunk.

    A lease tells of every machine. The lock on the disk knows this one only, but it also knows those that have no lease
    in this ledger. `now_us`: a clock of one's own; without one, time is the database's.
    """
    with store.reading() as tx:
        now, leases = lease.clock_us(tx, now_us), lease.leases_of(tx, dataset.id)
    me = here()
    told = [one for one in leases if one.is_in_the_way_of(holder, seat)]
    alive = [one for one in told if one.expires_at_us > now and not is_gone(one.where, me)]
    return "; ".join(_heard_of(one, now) for one in alive) or dataset.held_by


def _heard_of(one: Lease, now_us: int) -> str:
    return f"{one}, heard of {max(0, now_us - one.heartbeat_at_us) / 1e6:.0f} s ago"
