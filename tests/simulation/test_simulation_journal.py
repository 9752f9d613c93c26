"""The journal without a thread keeps the contract of the one with a thread: both are asked the same."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fluxbatch.budget.journal import Journal, ThreadJournal
from fluxbatch.budget.store import Store
from fluxbatch.errors import FluxbatchError, LedgerError
from tests.dispatch.dispatch_kit import ledger_in
from tests.simulation.virtual_journal import VirtualJournal

Opened = Callable[[Store], Any]


@asynccontextmanager
async def closing(journal: Any) -> AsyncIterator[Journal]:
    yield journal
    journal.close()


def threaded(store: Store) -> Any:
    return closing(ThreadJournal(store))


def virtual(store: Store) -> Any:
    return closing(VirtualJournal(store, random.Random(1)))


@pytest.fixture(params=[threaded, virtual])
def opened(request: pytest.FixtureRequest) -> Opened:
    return request.param


@pytest.fixture
def store(tmp_path: Path):
    with ledger_in(tmp_path) as found, found.transaction() as tx:
        tx.exec_driver_sql("CREATE TABLE words (word VARCHAR PRIMARY KEY)")
        tx.commit()
        yield found


def note(word: str) -> Callable[[Connection], str]:
    def operation(tx: Connection) -> str:
        if word == "refused":
            raise FluxbatchError("refused, and nothing written")
        tx.execute(sa.text("INSERT INTO words VALUES (:word)"), {"word": word})
        return word

    return operation


def words(store: Store) -> list[str]:
    with store.reading() as tx:
        return sorted(row[0] for row in tx.exec_driver_sql("SELECT word FROM words"))


async def test_what_is_answered_is_durable(opened: Opened, store: Store):
    async with opened(store) as journal:
        assert await journal.do(note("a")) == "a"
        assert words(store) == ["a"]


async def test_one_that_is_refused_leaves_the_others_standing(opened: Opened, store: Store):
    async with opened(store) as journal:
        told = await asyncio.gather(*(journal.do(note(w)) for w in ("a", "refused", "b")), return_exceptions=True)
    assert isinstance(told[1], FluxbatchError)
    assert (told[0], told[2], words(store)) == ("a", "b", ["a", "b"])


async def test_one_whose_caller_is_cancelled_stands_all_the_same(opened: Opened, store: Store):
    async with opened(store) as journal:
        task = asyncio.create_task(journal.do(note("a")))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await journal.do(note("b"))
    assert words(store) == ["a", "b"]


async def test_what_may_wait_is_done_all_the_same(opened: Opened, store: Store):
    async with opened(store) as journal:
        assert await journal.do(note("a"), may_wait=True) == "a"


async def test_what_waits_at_the_close_is_done(opened: Opened, store: Store):
    async with opened(store) as journal:
        task = asyncio.create_task(journal.do(note("a"), may_wait=True))
        await asyncio.sleep(0)
    assert words(store) == ["a"]
    assert await task == "a"
    with pytest.raises(RuntimeError, match="closed"):
        await journal.do(note("b"))


async def test_after_a_failed_commit_nothing_more_is_promised(
    opened: Opened, store: Store, monkeypatch: pytest.MonkeyPatch
):
    real = store.transaction

    @contextmanager
    def failing():
        with real() as tx:
            yield tx
            raise LedgerError("the disk is full")

    async with opened(store) as journal:
        await journal.do(note("a"))
        monkeypatch.setattr(store, "transaction", failing)
        with pytest.raises(LedgerError, match="full"):
            await journal.do(note("b"))
        monkeypatch.undo()
        with pytest.raises(LedgerError, match="full"):
            await journal.do(note("c"))
    assert words(store) == ["a"]
