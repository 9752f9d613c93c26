"""What one run was refused, told to the others that share its account: in the ledger, beside the pace.

Whoever takes a lease of the pace learns in the same statement whether there is news, and reads it only then.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fluxbatch.budget.store import advance
from fluxbatch.budget.tables import insert_into, lessons, paces


@dataclass(frozen=True, slots=True)
class Lesson:
    """What was refused: which model, of what kind ("room"), to which run, and when (microseconds since 1970)."""

    model: str
    kind: str
    learner: str
    at_us: int


@dataclass(frozen=True, slots=True)
class Taken:
    """Moments of the pace, from the first on, and what was told and heard with them.

    `news` is another number whenever somebody else has learned something; `found` is None when it is still the same.
    """

    first_us: int
    told: tuple[Lesson, ...]
    news: int
    found: frozenset[Lesson] | None


@dataclass(frozen=True, slots=True)
class Lease:
    """What is asked for: so many moments, an interval apart, from a moment on (see `advance`)."""

    count: int
    interval_us: int
    earliest_us: int
    horizon_us: int


def take_lease(
    tx: Connection, account: str, learner: str, wanted: Lease, telling: tuple[Lesson, ...], known: int | None
) -> Taken:
    """Take the moments by one statement; tell what there is to be told, and read what is new since `known`."""
    for lesson in telling:
        teach(tx, account, lesson)
    others = (lessons.c.account == account) & (lessons.c.learner != learner)
    # A sum, because it changes with each of them, whatever the clocks of those who wrote them say.
    news = sa.select(sa.func.coalesce(sa.func.sum(lessons.c.at_us), 0)).where(others).scalar_subquery()
    moved = advance(tx, account, wanted.count, wanted.interval_us, wanted.earliest_us, wanted.horizon_us)
    until, now = tx.execute(moved.returning(paces.c.next_at_us, news)).one()
    found = None if int(now) == known else lessons_of_others(tx, account, learner)
    return Taken(until - wanted.count * wanted.interval_us, telling, int(now), found)


def teach(tx: Connection, account: str, lesson: Lesson) -> None:
    """Tell the others; what was told before about the same model and kind is replaced."""
    values = asdict(lesson)
    entry = insert_into(tx, lessons).values(account=account, **values)
    tx.execute(entry.on_conflict_do_update(index_elements=["account", "model", "kind"], set_=values))


def lessons_of_others(tx: Connection, account: str, learner: str) -> frozenset[Lesson]:
    """What the others have told, each about a model and a kind."""
    where = (lessons.c.account == account) & (lessons.c.learner != learner)
    rows = tx.execute(sa.select(lessons).where(where))
    return frozenset(Lesson(row.model, row.kind, row.learner, row.at_us) for row in rows)
