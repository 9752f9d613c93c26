"""A picture that was made, paid for and lost afterwards: its money stays spent, and its row has no picture any more.

Nothing is sent again by that: such a row is one that was lost, and is bought again only with `--resend-lost`.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fluxbatch.budget.entries import AttemptId, End, State
from fluxbatch.budget.tables import attempts, booked_parts


def lose(tx: Connection, attempt: AttemptId, message: str) -> bool:
    """Note that a booked picture is gone, and why. True when it stood there as made.

    Should its part come back from a copy, the next start books it as made again (`ledger.adopt`).
    """
    this = (attempts.c.dataset == attempt.dataset) & (attempts.c.key == attempt.key)
    this &= (attempts.c.number == attempt.number) & (attempts.c.state == State.POSTED) & (attempts.c.end == End.MADE)
    return tx.execute(sa.update(attempts).where(this).values(end=End.LOST, message=message)).rowcount == 1


def forget_part(tx: Connection, dataset: str, sha256: str) -> None:
    """The part is no longer one whose pictures all stand in the ledger as made: when it comes back, it is read."""
    tx.execute(sa.delete(booked_parts).where(booked_parts.c.dataset == dataset, booked_parts.c.sha256 == sha256))
