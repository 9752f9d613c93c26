"""Whether a batch was committed whose answer was lost: the batch says so itself, in the same transaction.

A connection that breaks while COMMIT is under way leaves open what became of it, and a batch that is run twice would
reserve twice. So each batch of a journal moves the journal's row from the number before to its own. Who finds it moved
already has been committed. Who comes while the lost transaction still lives waits at that row until it is decided.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fluxbatch.budget.tables import insert_into, marks
from fluxbatch.errors import LedgerError

KEPT_US = 90 * 86_400_000_000
"""So long the mark of a journal that ended, or died, is kept."""


class Marks:
    """The marks of one journal. On SQLite there are none: no connection is lost there, and any failure is final."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.journal = secrets.token_hex(8)
        self._batch = 0
        """The last one that is known to be committed."""
        self._now = now

    def begins(self, tx: Connection) -> bool:
        """To be asked first in each transaction. False when just this batch was committed before: it must not be run.

        LedgerError when batches are gone that were told as committed.
        """
        if tx.dialect.name == "sqlite":
            return True
        if self._moved(tx):
            return True
        found = tx.execute(sa.select(marks.c.batch).where(marks.c.journal == self.journal)).scalar()
        if found == self._batch + 1:
            return False
        raise LedgerError(
            f"the ledger's server has lost what it had committed: this run's last batch is {self._batch}, it knows "
            f"{found or 'none'} (a standby that lagged behind, or an old copy?); nothing more is sent. Start again: "
            "what the dataset holds is booked anew, and `fluxbatch reconcile` says what else was billed"
        )

    def committed(self) -> None:
        """The batch is on the disk."""
        self._batch += 1

    def _moved(self, tx: Connection) -> bool:
        now_us = round(self._now() * 1e6)
        new = {"batch": self._batch + 1, "at_us": now_us}
        if self._batch == 0:
            tx.execute(sa.delete(marks).where(marks.c.at_us < now_us - KEPT_US))
            entry = insert_into(tx, marks).values(journal=self.journal, **new).on_conflict_do_nothing()
            return tx.execute(entry.returning(marks.c.batch)).first() is not None
        mine = (marks.c.journal == self.journal) & (marks.c.batch == self._batch)
        return tx.execute(sa.update(marks).where(mine).values(**new).returning(marks.c.batch)).first() is not None
