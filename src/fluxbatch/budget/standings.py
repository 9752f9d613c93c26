"""Where budgets stand, read from the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fluxbatch.budget.caps import caps_of
from fluxbatch.budget.entries import Balance, Held, Payer, Period, Scope, Window, windows_of
from fluxbatch.budget.ledger import balance
from fluxbatch.budget.limits import Standing
from fluxbatch.budget.tables import caps, datasets, windows
from fluxbatch.budget.windows import held_in


@dataclass(frozen=True, slots=True)
class DatasetStanding:
    """A dataset of the ledger, where it lies and what its own budget is."""

    dataset: str
    account: str
    folder: str
    balance: Balance


def standings_of(tx: Connection, payer: Payer, at_us: int, run_cap_nano_usd: int | None = None) -> list[Standing]:
    """All budgets that a run of this payer has to keep, beside its dataset's own; the run is new."""
    found = []
    for window in windows_of(payer, at_us):
        if window.scope == Scope.RUN:
            found.append(Standing(window, Held(), run_cap_nano_usd))
            continue
        given = [caps_of(tx, window.name, window.scope).get(window.period)]
        if (window.scope, window.period) == (Scope.ACCOUNT, Period.DAY):
            given.append(payer.account_day_nano_usd)
        cap = min((one for one in given if one is not None), default=None)
        found.append(Standing(window, held_in(tx, window), cap))
    return found


def accounts(tx: Connection) -> list[str]:
    """Every account that the ledger knows."""
    return _names(tx, Scope.ACCOUNT, sa.select(datasets.c.account))


def projects(tx: Connection) -> list[str]:
    """Every project that the ledger knows: of a run, or with a cap."""
    return _names(tx, Scope.PROJECT)


def dataset_standings(tx: Connection) -> list[DatasetStanding]:
    """Every dataset that the ledger knows, by its folder."""
    found = []
    for row in tx.execute(sa.select(datasets).order_by(datasets.c.folder, datasets.c.dataset)):
        known = balance(tx, row.dataset)
        assert known is not None
        found.append(DatasetStanding(row.dataset, row.account, row.folder, known))
    return found


def _names(tx: Connection, scope: Scope, *more: Any) -> list[str]:
    of = [sa.select(table.c.name).where(table.c.scope == scope) for table in (caps, windows)]
    return sorted(set(tx.execute(sa.union(*of, *more)).scalars()))


def spans_of(scope: Scope, name: str, at_us: int) -> list[Window]:
    """The windows of an account or a project in which that moment lies, the day first."""
    payer = Payer(name, "", None) if scope == Scope.ACCOUNT else Payer("", "", name)
    found = [window for window in windows_of(payer, at_us) if window.scope == scope]
    return sorted(found, key=lambda window: list(Period).index(window.period))


def standing(tx: Connection, window: Window) -> Standing:
    """One budget."""
    return Standing(window, held_in(tx, window), caps_of(tx, window.name, window.scope).get(window.period))
