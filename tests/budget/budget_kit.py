"""A ledger on a real file, and short words for what the tests do with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fluxbatch.budget import ledger
from fluxbatch.budget.entries import (
    AttemptId,
    Balance,
    Decision,
    Denied,
    End,
    Reserved,
    Resolution,
    Settlement,
    State,
)
from fluxbatch.budget.lessons import Lease, take_lease
from fluxbatch.budget.store import Store
from fluxbatch.models.money import Money, charge

T = TypeVar("T")

DATASET = "d1"
ACCOUNT = "a" * 32
NOW_US = 1_800_000_000_000_000
BOUND = Money(41_250_000, 375_000)
ACTUAL = charge(281_250)

POSTED = Resolution(State.POSTED, End.MADE, actual=ACTUAL)
VOID = Resolution(State.VOID, End.THROTTLED, code="3040", message="no capacity", request_id="r-void")
FAILED = Resolution(State.UNKNOWN, End.FAILED, code="3043", message="internal", request_id="r-failed")
LOST = Resolution(State.UNKNOWN, End.LOST, message="gone")


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'ledger.sqlite3'}"


def engine_of(url: str) -> sa.Engine:
    """An engine beside the store's, whose transactions undo tables too (the sqlite3 driver commits before DDL)."""
    engine = sa.create_engine(url)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def take_moments(
    tx: Connection,
    count: int = 1,
    *,
    interval_us: int = 1000,
    now_us: int = NOW_US,
    horizon_us: int = 10**12,
    account: str = ACCOUNT,
) -> int:
    """Take so many moments of the account's pace, as a run does that has nothing to tell; the first one."""
    return take_lease(tx, account, "run-1", Lease(count, interval_us, now_us, horizon_us), (), 0).first_us


class Books:
    """A store with the operations of the ledger, each in its own transaction."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def do(self, operation: Callable[[Connection], T]) -> T:
        with self.store.transaction() as tx:
            return operation(tx)

    def open(self, cap: int | None = 10 * BOUND.nano_usd, dataset: str = DATASET) -> Balance:
        return self.do(lambda tx: ledger.open_budget(tx, dataset, ACCOUNT, "/pictures", cap))

    def reserve(self, key: str, number: int = 1, bound: Money = BOUND, dataset: str = DATASET) -> Reserved | Denied:
        attempt = AttemptId(dataset, key, number)
        return self.do(lambda tx: ledger.reserve(tx, attempt, "run-1", "model-1", bound, NOW_US))

    def resolve(self, key: str, resolution: Resolution, number: int = 1) -> None:
        self.do(lambda tx: ledger.resolve(tx, AttemptId(DATASET, key, number), resolution, NOW_US + 1))

    def adopt(self, key: str, number: int = 1, actual: Money = ACTUAL, dataset: str = DATASET) -> bool:
        return self.do(lambda tx: ledger.adopt(tx, AttemptId(dataset, key, number), actual, "run-2", NOW_US + 2))

    def settle(self, key: str, decision: Decision, number: int = 1, why: str = "decided") -> Settlement:
        return self.do(lambda tx: ledger.settle(tx, AttemptId(DATASET, key, number), decision, why, NOW_US + 4))

    def strand(self) -> list[AttemptId]:
        return self.do(lambda tx: ledger.strand(tx, DATASET, NOW_US + 3))

    @property
    def balance(self) -> Balance:
        """The balance, after comparing it with the sum of the attempts."""
        with self.store.reading() as tx:
            found, folded = ledger.balance(tx, DATASET), ledger.audit(tx, DATASET)
        assert found is not None
        assert found == folded
        return found


@contextmanager
def books(folder: Path) -> Iterator[Books]:
    with books_at(url_of(folder)) as own:
        yield own


@contextmanager
def books_at(url: str) -> Iterator[Books]:
    with closing(Store(url)) as store:
        yield Books(store)
