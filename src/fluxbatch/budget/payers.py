"""Who pays for what a run sends: written down when the run begins, and never changed.

A run that nobody wrote down (its ledger was lost) is paid for by the account of its dataset.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fluxbatch.budget.entries import Payer
from fluxbatch.budget.tables import attempts, datasets, insert_into, payers

_RUN: Any = sa.bindparam("b_run")


def _of_this_run(column: str) -> Any:
    where = (payers.c.dataset == sa.bindparam("b_dataset"), payers.c.run == _RUN)
    return sa.select(payers.c[column]).where(*where).scalar_subquery()


PAYER = (
    sa.func.coalesce(_of_this_run("account"), datasets.c.account).label("account"),
    _of_this_run("project").label("project"),
    _of_this_run("holder").label("holder"),
    _of_this_run("account_day_nano_usd").label("account_day_nano_usd"),
    sa.cast(_RUN, sa.String).label("run"),
)
"""Who pays for an attempt of a dataset's run, in a statement over `datasets`."""

PAID = attempts.join(datasets, datasets.c.dataset == attempts.c.dataset).outerjoin(
    payers, (payers.c.dataset == attempts.c.dataset) & (payers.c.run == attempts.c.run)
)
"""All attempts, each beside who paid for it."""
PAID_BY: Any = sa.func.coalesce(payers.c.account, datasets.c.account)
PAYER_OF_ATTEMPT: dict[str, Any] = {
    "account": PAID_BY.label("account"),
    "project": payers.c.project,
    "holder": payers.c.holder,
    "account_day_nano_usd": payers.c.account_day_nano_usd,
    "run": attempts.c.run,
}


def payer_in(row: Any) -> Payer:
    """The payer in a row of `PAYER` or `PAYER_OF_ATTEMPT`."""
    return Payer(row.account, row.run, row.project, row.holder, row.account_day_nano_usd)


def note_payer(tx: Connection, dataset: str, payer: Payer) -> None:
    """Write down who pays for a run, before it sends anything."""
    who = {"account": payer.account, "project": payer.project, "holder": payer.holder, "run": payer.run}
    entry = insert_into(tx, payers).values(dataset=dataset, **who, account_day_nano_usd=payer.account_day_nano_usd)
    tx.execute(entry.on_conflict_do_nothing())


def leave_with(tx: Connection, dataset: str, account: str) -> None:
    """What the dataset's runs have spent so far stays with this account, now that the dataset goes to another."""
    noted = sa.select(payers.c.run).where(payers.c.dataset == dataset)
    paid = (
        sa.select(attempts.c.dataset, attempts.c.run, sa.literal(account))
        .where(attempts.c.dataset == dataset, attempts.c.run.not_in(noted))
        .distinct()
    )
    tx.execute(sa.insert(payers).from_select(["dataset", "run", "account"], paid))
