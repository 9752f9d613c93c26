"""How money moves: the same amounts in the dataset and in all windows of its attempt, in one transaction."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fluxbatch.budget import payers, windows
from fluxbatch.budget.entries import AttemptId
from fluxbatch.budget.tables import HOLDINGS, attempts, datasets
from fluxbatch.models.money import ZERO, Money

this_dataset = datasets.c.dataset == sa.bindparam("b_dataset")
this_attempt = (
    (attempts.c.dataset == sa.bindparam("b_dataset"))
    & (attempts.c.key == sa.bindparam("b_key"))
    & (attempts.c.number == sa.bindparam("b_number"))
)


def adding(*columns: str) -> dict[Any, Any]:
    """SET clauses that add a bound amount (`d_<column>`) to each balance column."""
    return {datasets.c[name]: datasets.c[name] + sa.bindparam(f"d_{name}") for name in columns}


move_dataset = sa.update(datasets).where(this_dataset).values(adding(*HOLDINGS)).returning(*payers.PAYER)
find_attempt = sa.select(attempts).where(this_attempt)


def names_of(attempt: AttemptId) -> dict[str, object]:
    return {"b_dataset": attempt.dataset, "b_key": attempt.key, "b_number": attempt.number}


def move(
    tx: Connection,
    dataset: str,
    run: str,
    sent_at_us: int,
    reserved: Money = ZERO,
    spent: Money = ZERO,
    unknown: Money = ZERO,
) -> None:
    """Move money in the dataset, and in every window in which the attempt was sent."""
    deltas = deltas_of(reserved, spent, unknown)
    row = tx.execute(move_dataset, {"b_dataset": dataset, "b_run": run, **deltas}).one()
    windows.move(tx, payers.payer_in(row), sent_at_us, deltas)


def deltas_of(reserved: Money = ZERO, spent: Money = ZERO, unknown: Money = ZERO) -> dict[str, int]:
    return {
        "d_reserved_nano_usd": reserved.nano_usd,
        "d_reserved_centineurons": reserved.centineurons,
        "d_spent_nano_usd": spent.nano_usd,
        "d_spent_centineurons": spent.centineurons,
        "d_unknown_nano_usd": unknown.nano_usd,
        "d_unknown_centineurons": unknown.centineurons,
    }
