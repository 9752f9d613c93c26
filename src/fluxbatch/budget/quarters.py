"""The ledger's own sums per model and quarter of an hour, over all datasets of an account: it is the account that the
platform's figures are about."""

from __future__ import annotations

from collections import defaultdict

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fluxbatch.budget.entries import End, State
from fluxbatch.budget.payers import PAID, PAID_BY
from fluxbatch.budget.reconcile import QUARTER_US, Booked, Name, added
from fluxbatch.budget.tables import attempts, datasets
from fluxbatch.models.catalogue import DEFAULT_MODEL
from fluxbatch.models.money import Money

_MODEL = sa.case((attempts.c.model == "adopted", DEFAULT_MODEL.id), else_=attempts.c.model)
"""An entry that was made from a spool file alone, the ledger being lost, does not say its model."""


def account_of(tx: Connection, dataset: str) -> str | None:
    """The account that pays for the dataset, or None when this ledger has never seen it."""
    found: str | None = tx.execute(sa.select(datasets.c.account).where(datasets.c.dataset == dataset)).scalar()
    return found


def sent_between(tx: Connection, dataset: str, since_us: int) -> tuple[int, int] | None:
    """When the dataset's first and last attempts since then were sent (microseconds since 1970), or None."""
    sent = attempts.c.sent_at_us
    where = (attempts.c.dataset == dataset) & (sent >= since_us)
    first, last = tx.execute(sa.select(sa.func.min(sent), sa.func.max(sent)).where(where)).one()
    return None if first is None else (first, last)


def quarters(tx: Connection, account: str, since_us: int, until_us: int) -> dict[Name, Booked]:
    """What was sent from `since_us` to before `until_us`, by model and quarter."""
    found: dict[Name, list[Booked]] = defaultdict(list)
    for row in tx.execute(_query(account, since_us, until_us)):
        found[row.model, row.quarter * QUARTER_US].append(_booked(row))
    return {name: added(parts) for name, parts in found.items()}


def _query(account: str, since_us: int, until_us: int) -> sa.Select[tuple[object, ...]]:
    quarter = (attempts.c.sent_at_us // QUARTER_US).label("quarter")
    is_made = (attempts.c.end == End.MADE).label("is_made")
    columns = ("bound_nano_usd", "bound_centineurons", "actual_nano_usd", "actual_centineurons")
    sums = [sa.func.sum(attempts.c[name]).label(name) for name in columns]
    smallest = sa.func.min(attempts.c.bound_centineurons).label("smallest")
    names = (_MODEL.label("model"), quarter, attempts.c.state, is_made)
    return (
        sa.select(*names, sa.func.count().label("attempts"), smallest, *sums)
        .select_from(PAID)
        .where(account == PAID_BY, attempts.c.sent_at_us >= since_us, attempts.c.sent_at_us < until_us)
        .group_by(*names)
    )


def _booked(row: sa.Row[tuple[object, ...]]) -> Booked:
    if row.state == State.VOID:
        return Booked(void_count=row.attempts)
    if row.state != State.POSTED:  # what is on its way may be billed as well
        bound = Money(int(row.bound_nano_usd), int(row.bound_centineurons))
        return Booked(unknown=bound, unknown_count=row.attempts, smallest_centineurons=row.smallest)
    actual = Money(int(row.actual_nano_usd), int(row.actual_centineurons))
    return Booked(posted=actual, posted_count=row.attempts) if row.is_made else Booked(settled=actual)
