"""What somebody wishes of a run that is under way, and what it tells of itself: in the ledger, so on every machine.

A wish is said to a holder, so to all runs of a batch in chunks, those that begin later too; it is the last word about
each thing, and goes when its holder has no lease any more. A run tells and hears by one statement; what was said is
read only when it is new.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fluxbatch.budget.tables import clock, insert_into, leases, progress, wishes

BY_MAX = 120
"""Characters of a name that are kept."""
TOLD_MAX = 16_000
"""Characters that a run may tell of itself: it is written every second."""


@dataclass(frozen=True, slots=True)
class Said:
    """Who said it, and when by the database's clock (microseconds since 1970)."""

    by: str
    at_us: int


@dataclass(frozen=True, slots=True)
class Wish:
    """All that was said to a holder so far; `number` is another whenever something was. None: nothing was, so it is as
    the run was started."""

    number: int = 0
    paused: Said | None = None
    rate_per_minute: float | None = None
    in_flight_max: int | None = None
    stopped: Said | None = None


NOTHING_SAID = Wish()


@dataclass(frozen=True, slots=True)
class Told:
    """What a run has told of itself, when, and the number of the wish that it has taken up."""

    run: str
    at_us: int
    taken: int
    text: str


def say(tx: Connection, dataset: str, holder: str, change: Callable[[Wish], Wish]) -> Wish:
    """Change what is wished of a holder. The wish as it stands now."""
    wish = change(wish_of(tx, dataset, holder))
    wish = Wish(wish.number + 1, wish.paused, wish.rate_per_minute, wish.in_flight_max, wish.stopped)
    values = _columns(wish)
    entry = insert_into(tx, wishes).values(dataset=dataset, holder=holder, **values)
    tx.execute(entry.on_conflict_do_update(index_elements=["dataset", "holder"], set_=values))
    return wish


def wish_of(tx: Connection, dataset: str, holder: str) -> Wish:
    """What was said to a holder so far."""
    row = tx.execute(sa.select(wishes).where(_whose(dataset, holder))).first()
    if row is None:
        return NOTHING_SAID
    return Wish(
        row.number,
        None if row.paused_by is None else Said(row.paused_by, row.paused_at_us),
        row.rate_per_minute,
        row.in_flight_max,
        None if row.stopped_by is None else Said(row.stopped_by, row.stopped_at_us),
    )


def tell_and_hear(
    tx: Connection, dataset: str, run: str, holder: str, known: Wish, text: str, at_us: int | None = None
) -> Wish:
    """Tell how the run stands, and that `known` is taken up; the wish as it is now.

    One statement, and another one only when there is something new. `at_us`: a clock of one's own, for tests.
    """
    assert len(text) <= TOLD_MAX, f"{len(text)} characters every second"
    values: dict[str, Any] = {"at_us": clock(tx) if at_us is None else at_us, "taken": known.number, "told": text}
    newest = sa.select(wishes.c.number).where(_whose(dataset, holder)).scalar_subquery()
    entry = insert_into(tx, progress).values(dataset=dataset, run=run, **values)
    entry = entry.on_conflict_do_update(index_elements=["dataset", "run"], set_=values)
    number = tx.execute(entry.returning(newest)).scalar_one() or 0
    return known if number == known.number else wish_of(tx, dataset, holder)


def told(tx: Connection, dataset: str) -> dict[str, Told]:
    """What the runs that are under way have told of themselves, by run."""
    rows = tx.execute(sa.select(progress).where(progress.c.dataset == dataset).order_by(progress.c.run))
    return {row.run: Told(row.run, row.at_us, row.taken, row.told) for row in rows}


def next_moment(tx: Connection, dataset: str, holder: str, interval_us: int, now_us: int, window_us: int) -> int:
    """The earliest moment at which the holder's runs may send again, an interval after the last that was given.

    One that stands further ahead than a window was given by a clock that has since jumped back: after a window without
    a request, nothing that was sent before can matter.
    """
    row = tx.execute(sa.select(wishes.c.last_at_us).where(_whose(dataset, holder))).first()
    if row is None or row.last_at_us is None:
        return now_us
    if row.last_at_us > now_us + window_us:
        gave(tx, dataset, holder, now_us + window_us)
        return now_us + window_us + interval_us
    return int(max(now_us, row.last_at_us + interval_us))


def gave(tx: Connection, dataset: str, holder: str, at_us: int) -> None:
    """The latest moment that was given."""
    tx.execute(sa.update(wishes).where(_whose(dataset, holder)).values(last_at_us=at_us))


def forget_the_gone(tx: Connection, dataset: str) -> None:
    """A wish goes with its holder, and what was told with its run."""
    runs = sa.select(leases.c.run).where(leases.c.dataset == dataset)
    holders = sa.select(leases.c.holder).where(leases.c.dataset == dataset)
    tx.execute(sa.delete(progress).where((progress.c.dataset == dataset) & progress.c.run.not_in(runs)))
    tx.execute(sa.delete(wishes).where((wishes.c.dataset == dataset) & wishes.c.holder.not_in(holders)))


def _whose(dataset: str, holder: str) -> Any:
    return (wishes.c.dataset == dataset) & (wishes.c.holder == holder)


def _columns(wish: Wish) -> dict[str, Any]:
    paused, stopped = wish.paused, wish.stopped
    return {
        "number": wish.number,
        "paused_by": None if paused is None else paused.by[:BY_MAX],
        "paused_at_us": None if paused is None else paused.at_us,
        "rate_per_minute": wish.rate_per_minute,
        "in_flight_max": wish.in_flight_max,
        "stopped_by": None if stopped is None else stopped.by[:BY_MAX],
        "stopped_at_us": None if stopped is None else stopped.at_us,
    }
