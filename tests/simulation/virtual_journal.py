"""The ledger's two sides in virtual time: a store whose commits can be cut off or fail, and a journal without a thread.

The journal keeps ThreadJournal's contract (tests/simulation/test_simulation_journal.py holds both to it): what waits is
committed together, and who waits is told when it is durable.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from sqlalchemy.engine import Connection

from fluxbatch.budget.store import Store
from fluxbatch.errors import FluxbatchError, LedgerError

T = TypeVar("T")
COMPANY_S = 0.01
BATCH_MAX = 256


class Surroundings(Protocol):
    """What the ledger's side needs of the world."""

    @property
    def is_dead(self) -> bool: ...
    def event(self, name: str, detail: str = "") -> None: ...
    def fails(self, what: str) -> bool: ...
    def die_if_dead(self) -> None: ...
    def committed(self, money: tuple[int, int, int, int] | None) -> None: ...


class WorldStore(Store):
    """The real store; the world hears of each commit before and after, and may end or spoil it."""

    def __init__(self, opened: Store, world: Surroundings) -> None:
        self.url = opened.url
        self._engine = opened._engine
        self.outages = opened.outages
        self.world = world

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        self.world.die_if_dead()
        if self.world.fails("read"):
            raise LedgerError("the world says that the ledger cannot be read")
        with super().reading() as tx:
            yield tx

    def close(self) -> None:
        """It stays open for the next life."""

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        self.world.die_if_dead()
        with super().transaction() as tx:
            yield tx
            money = _money(tx)
            self.world.event("commit")
            if self.world.fails("commit"):
                raise LedgerError("the world says that the ledger's disk has failed: nothing was kept")
        self.world.committed(money)
        self.world.event("committed")
        if self.world.fails("told"):
            raise LedgerError("the world says that the ledger's disk has failed: what was written is there")


def _money(tx: Connection) -> tuple[int, int, int, int] | None:
    row = tx.exec_driver_sql(
        "SELECT cap_nano_usd, spent_nano_usd, reserved_nano_usd, unknown_nano_usd FROM datasets"
    ).first()
    return None if row is None else (int(row[0]), int(row[1]), int(row[2]), int(row[3]))


class VirtualJournal:
    """Runs operations in the store's transactions; a commit takes up to `slow_s` of virtual time more."""

    def __init__(
        self, store: Store, rng: random.Random, slow_s: float = 0.0, is_dead: Callable[[], bool] = bool
    ) -> None:
        self._store = store
        self._rng = rng
        self._slow_s = slow_s
        self._is_dead = is_dead
        self._jobs: list[tuple[Callable[[Connection], Any], asyncio.Future[Any], bool]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._broken: LedgerError | None = None
        self._closed = False

    async def do(self, operation: Callable[[Connection], T], *, may_wait: bool = False) -> T:
        if self._broken is not None:
            raise self._broken
        if self._closed:
            raise RuntimeError("the journal is closed: nobody would do this")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.append((operation, future, may_wait))
        delay_s = self._rng.uniform(0.0002, 0.003) + self._slow_s * self._rng.random()
        if all(waits for _, _, waits in self._jobs):
            delay_s += COMPANY_S
        if self._timer is None or self._timer.when() > loop.time() + delay_s:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_later(delay_s, self._commit)
        return await future

    def close(self) -> None:
        """What waits is committed."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        while self._jobs and not self._is_dead():
            self._commit()

    def _commit(self) -> None:
        self._timer = None
        batch = sorted(self._jobs[:BATCH_MAX], key=lambda job: job[2])
        del self._jobs[:BATCH_MAX]
        told: list[tuple[asyncio.Future[Any], Any, BaseException | None]] = []
        try:
            if self._broken is not None:
                raise self._broken
            with self._store.transaction() as tx:
                told = [(future, *_run(operation, tx)) for operation, future, _ in batch]
        except LedgerError as error:
            self._broken = error
            told = [(future, None, error) for _, future, _ in batch]
        for future, result, error in told:
            if future.done():
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)
        if self._jobs and self._timer is None and not self._closed:
            self._timer = asyncio.get_running_loop().call_later(0.001, self._commit)


def _run(operation: Callable[[Connection], Any], tx: Connection) -> tuple[Any, BaseException | None]:
    try:
        return operation(tx), None
    except FluxbatchError as error:
        return None, error
