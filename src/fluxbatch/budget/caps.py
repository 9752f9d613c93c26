"""The caps of accounts, projects and runs: what they are, and what was changed about them."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fluxbatch.budget.entries import PERIODS_OF, Period, Scope
from fluxbatch.budget.tables import cap_changes, caps, datasets, insert_into
from fluxbatch.errors import LedgerError

DATASET = "dataset"
"""In place of a scope, where it is a dataset's cap that was changed."""


@dataclass(frozen=True, slots=True)
class CapChange:
    """What was changed about a cap, in nano-dollars; None: there was none, or there is none any more."""

    at_us: int
    scope: str
    name: str
    period: Period
    before_nano_usd: int | None
    after_nano_usd: int | None


def set_cap(
    tx: Connection, name: str, period: Period | str, cap_nano_usd: int | None, scope: Scope = Scope.ACCOUNT
) -> None:
    """Cap what may be spent in each such period; None takes the cap away. What was spent stays counted."""
    which = Period(period)
    if which not in PERIODS_OF[scope]:
        raise ValueError(f"{which!r} is no Period of a {scope}: it has {', '.join(PERIODS_OF[scope])}")
    of = (caps.c.scope == scope) & (caps.c.name == name) & (caps.c.period == which)
    if cap_nano_usd is None:
        tx.execute(sa.delete(caps).where(of))
        return
    assert cap_nano_usd >= 0, "a cap is an amount of money"
    entry = insert_into(tx, caps).values(scope=scope, name=name, period=which, cap_nano_usd=cap_nano_usd)
    key = ["scope", "name", "period"]
    tx.execute(entry.on_conflict_do_update(index_elements=key, set_={"cap_nano_usd": cap_nano_usd}))


def change_cap(
    tx: Connection, name: str, period: Period, cap_nano_usd: int | None, at_us: int, scope: Scope = Scope.ACCOUNT
) -> CapChange:
    """Set a cap, and keep that it was changed."""
    before = caps_of(tx, name, scope).get(period)
    set_cap(tx, name, period, cap_nano_usd, scope)
    return _kept(tx, CapChange(at_us, scope, name, period, before, cap_nano_usd))


def change_dataset_cap(tx: Connection, dataset: str, cap_nano_usd: int, at_us: int) -> CapChange:
    """Set what a dataset may ever cost, and keep that it was changed. LedgerError when the ledger does not know it."""
    mine = datasets.c.dataset == dataset
    before = tx.execute(sa.select(datasets.c.cap_nano_usd).where(mine).with_for_update()).scalar()
    if before is None:
        raise LedgerError(f"dataset {dataset} is not in the ledger; run it once with --budget")
    tx.execute(sa.update(datasets).where(mine).values(cap_nano_usd=cap_nano_usd))
    return _kept(tx, CapChange(at_us, DATASET, dataset, Period.TOTAL, before, cap_nano_usd))


def caps_of(tx: Connection, name: str, scope: Scope = Scope.ACCOUNT) -> dict[Period, int]:
    """The caps of an account, project or run in nano-dollars; a period without one is left out."""
    of = (caps.c.scope == scope) & (caps.c.name == name)
    rows = tx.execute(sa.select(caps.c.period, caps.c.cap_nano_usd).where(of))
    return {Period(row.period): row.cap_nano_usd for row in rows}


def cap_changes_of(tx: Connection) -> list[CapChange]:
    """What was ever changed about caps by `fluxbatch budget set`, oldest first."""
    return [
        CapChange(row.at_us, row.scope, row.name, Period(row.period), row.before_nano_usd, row.after_nano_usd)
        for row in tx.execute(sa.select(cap_changes).order_by(cap_changes.c.number))
    ]


def _kept(tx: Connection, change: CapChange) -> CapChange:
    if change.before_nano_usd != change.after_nano_usd:
        amounts = {"before_nano_usd": change.before_nano_usd, "after_nano_usd": change.after_nano_usd}
        names = {"scope": change.scope, "name": change.name, "period": change.period}
        tx.execute(sa.insert(cap_changes).values(at_us=change.at_us, **names, **amounts))
    return change
