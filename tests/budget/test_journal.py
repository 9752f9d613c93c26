from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fluxbatch.budget import ledger
from fluxbatch.budget.entries import AttemptId, Denied, Reserved
from fluxbatch.budget.journal import BATCH_MAX, ThreadJournal
from fluxbatch.budget.store import Store
from fluxbatch.errors import AlreadyResolved, LedgerError, StorageError
from fluxbatch.models.money import ZERO
from tests.budget.budget_kit import BOUND, DATASET, NOW_US, POSTED, VOID, Books, books


class CountingStore:
    """A store that counts its commits, and whose first one can be held up so that others have to wait."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.commits = 0
        self.go = threading.Event()
        self.go.set()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        assert self.go.wait(30)
        with self._store.transaction() as tx:
            yield tx
        self.commits += 1


@contextmanager
def journal_over(store: object) -> Iterator[ThreadJournal]:
    journal = ThreadJournal(store)  # type: ignore[arg-type]
    try:
        yield journal
    finally:
        journal.close()


def reserve(key: str, number: int = 1):
    attempt = AttemptId(DATASET, key, number)
    return lambda tx: ledger.reserve(tx, attempt, "r", "m", BOUND, NOW_US)


def resolve(key: str, resolution=POSTED):
    return lambda tx: ledger.resolve(tx, AttemptId(DATASET, key, 1), resolution, NOW_US)


def bug(tx: Connection) -> None:
    tx.execute(sa.text("UPDATE datasets SET cap_nano_usd = 0"))
    raise ValueError("a bug of ours")


def refusal(tx: Connection) -> None:
    raise StorageError("refused before anything was written")


async def at_once(store: CountingStore, journal: ThreadJournal, *operations) -> list[object]:
    """All in one batch, behind one operation that is held up: what each caller got."""
    store.go.clear()
    first = asyncio.create_task(journal.do(lambda tx: None))
    await asyncio.sleep(0)
    tasks = [asyncio.create_task(journal.do(operation)) for operation in operations]
    await asyncio.sleep(0)
    store.go.set()
    return (await asyncio.gather(first, *tasks, return_exceptions=True))[1:]


async def test_what_may_wait_is_done_behind_what_may_not_and_by_itself_when_nobody_comes(ledger_books: Books):
    ledger_books.open(3 * BOUND.nano_usd)
    done: list[str] = []
    with journal_over(CountingStore(ledger_books.store)) as journal:
        await asyncio.gather(
            journal.do(lambda tx: done.append("booking"), may_wait=True),
            journal.do(lambda tx: done.append("second booking"), may_wait=True),
            journal.do(lambda tx: done.append("reservation")),
        )
        assert done == ["reservation", "booking", "second booking"]
        await journal.do(lambda tx: done.append("alone"), may_wait=True)
    assert done[3:] == ["alone"]


async def test_what_waits_shares_one_commit_and_each_caller_gets_its_own_result(ledger_books: Books):
    ledger_books.open(3 * BOUND.nano_usd)
    store = CountingStore(ledger_books.store)
    with journal_over(store) as journal:
        answers = await at_once(store, journal, *(reserve(f"k{number}") for number in range(5)))
    assert answers[:3] == [Reserved(AttemptId(DATASET, f"k{number}", 1)) for number in range(3)]
    assert all(isinstance(answer, Denied) for answer in answers[3:])
    assert ledger_books.balance.reserved == BOUND * 3
    assert store.commits <= 2  # the one that was held up, and what waited


async def test_a_result_is_durable_when_the_caller_hears_of_it(ledger_books: Books):
    with journal_over(ledger_books.store) as journal:
        await journal.do(reserve("k"))
        assert ledger_books.balance.reserved == BOUND  # another connection sees it: it is committed


async def test_an_operation_that_is_refused_leaves_the_others_of_its_batch_standing(ledger_books: Books):
    ledger_books.reserve("done")
    ledger_books.resolve("done", POSTED)
    store = CountingStore(ledger_books.store)
    with journal_over(store) as journal:
        before, twice, refused, after = await at_once(
            store, journal, reserve("before"), resolve("done", VOID), refusal, reserve("after")
        )
    assert isinstance(twice, AlreadyResolved)
    assert isinstance(refused, StorageError)
    assert (before, after) == tuple(Reserved(AttemptId(DATASET, key, 1)) for key in ("before", "after"))
    assert ledger_books.balance.reserved == BOUND * 2


@pytest.mark.parametrize("guilty", [bug, reserve("there")], ids=["ValueError", "IntegrityError"])
async def test_a_bug_in_one_operation_fails_only_that_one(ledger_books: Books, guilty):
    ledger_books.reserve("there")
    store = CountingStore(ledger_books.store)
    with journal_over(store) as journal:
        before, failed, after = await at_once(store, journal, reserve("before"), guilty, reserve("after"))
        assert isinstance(failed, ValueError | sa.exc.IntegrityError)
        assert (before, after) == tuple(Reserved(AttemptId(DATASET, key, 1)) for key in ("before", "after"))
        assert await journal.do(reserve("later")) == Reserved(AttemptId(DATASET, "later", 1))
    assert ledger_books.balance.cap_nano_usd == 10 * BOUND.nano_usd  # what the bug wrote is undone
    assert ledger_books.balance.reserved == BOUND * 4


async def test_more_than_a_batch_is_done_in_several(ledger_books: Books):
    ledger_books.open(10**15)
    store = CountingStore(ledger_books.store)
    count = 2 * BATCH_MAX + 1
    with journal_over(store) as journal:
        answers = await at_once(store, journal, *(reserve(f"k{number}") for number in range(count)))
    assert len(set(map(str, answers))) == count
    assert ledger_books.balance.reserved == BOUND * count
    assert 3 <= store.commits <= 4


async def test_a_cancelled_caller_leaves_its_entry_and_hurts_nobody(ledger_books: Books):
    store = CountingStore(ledger_books.store)
    with journal_over(store) as journal:
        store.go.clear()
        cancelled = asyncio.create_task(journal.do(reserve("cancelled")))
        other = asyncio.create_task(journal.do(reserve("other")))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        store.go.set()
        assert await other == Reserved(AttemptId(DATASET, "other", 1))
    assert cancelled.cancelled()
    assert ledger_books.balance.reserved == BOUND * 2


async def test_closing_does_what_waits_first(ledger_books: Books):
    journal = ThreadJournal(ledger_books.store)
    tasks = [asyncio.create_task(journal.do(reserve(f"k{number}"))) for number in range(5)]
    await asyncio.sleep(0)
    journal.close()
    assert all(isinstance(answer, Reserved) for answer in await asyncio.gather(*tasks))
    assert ledger_books.balance.reserved == BOUND * 5


async def test_a_closed_journal_does_not_let_a_caller_wait_for_ever(ledger_books: Books):
    journal = ThreadJournal(ledger_books.store)
    journal.close()
    with pytest.raises(RuntimeError, match="closed"):
        await asyncio.wait_for(journal.do(reserve("k")), 10)
    assert ledger_books.balance.reserved == ZERO


@pytest.fixture
def sqlite_books(tmp_path: Path) -> Iterator[Books]:
    with books(tmp_path) as opened:
        opened.open(10**15)
        yield opened


async def test_a_full_disk_fails_all_that_waits_and_all_that_comes_after(sqlite_books: Books):
    store = sqlite_books.store

    @sa.event.listens_for(store._engine, "begin")
    def _no_more_pages(connection: Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    counting = CountingStore(store)
    with journal_over(counting) as journal:
        answers = await at_once(counting, journal, *(reserve(f"{n:064x}") for n in range(200)))
        assert {type(answer) for answer in answers} == {LedgerError}
        assert "database or disk is full" in str(answers[0])
        with pytest.raises(LedgerError, match="full"):
            await journal.do(lambda tx: None)  # it would fit, and is refused all the same: broken stays broken
    assert sqlite_books.balance.reserved == ZERO


class FailingStore:
    """A store whose commit fails, once the operations have run."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        with self._store.transaction() as tx:
            yield tx
            raise sa.exc.OperationalError("COMMIT", {}, OSError(5, "Input/output error"))


async def test_a_commit_that_fails_is_never_reported_as_done(ledger_books: Books):
    with journal_over(FailingStore(ledger_books.store)) as journal:
        answers = await asyncio.gather(*(journal.do(reserve(key)) for key in "abc"), return_exceptions=True)
    assert [type(answer) for answer in answers] == [LedgerError] * 3
    assert "Input/output error" in str(answers[0])
    assert ledger_books.balance.reserved == ZERO


def ends_the_thread(tx: Connection) -> None:
    tx.execute(sa.text("UPDATE datasets SET cap_nano_usd = 0"))
    raise SystemExit  # the one thing that a thread does not survive


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_nobody_waits_for_ever_when_the_thread_ends_in_the_middle_and_nothing_undone_is_told_as_done(
    ledger_books: Books,
):
    store = CountingStore(ledger_books.store)
    journal = ThreadJournal(store)  # type: ignore[arg-type]
    async with asyncio.timeout(30):
        answers = await at_once(store, journal, reserve("before"), ends_the_thread, reserve("after"))
        assert [type(answer) for answer in answers] == [LedgerError] * 3
        with pytest.raises(LedgerError, match="in the middle of its work"):
            await journal.do(reserve("later"))
    journal.close()
    assert ledger_books.balance.reserved == ZERO
    assert ledger_books.balance.cap_nano_usd == 10 * BOUND.nano_usd


class ClosedMeanwhile(queue.SimpleQueue):  # type: ignore[type-arg]
    """The first job finds that somebody closes the journal just as it is put in."""

    close: Callable[[], None]
    closing: threading.Thread | None = None

    def put(self, job: object) -> None:  # type: ignore[override]
        if job is not None and self.closing is None:
            self.closing = threading.Thread(target=self.close)
            self.closing.start()
            self.closing.join(0.2)  # as far as it gets
        super().put(job)


async def test_what_is_put_in_while_the_journal_closes_is_done_or_refused(ledger_books: Books, monkeypatch):
    monkeypatch.setattr("fluxbatch.budget.journal.queue.SimpleQueue", ClosedMeanwhile)
    journal = ThreadJournal(ledger_books.store)
    monkeypatch.undo()  # the queue is everybody's
    jobs: ClosedMeanwhile = journal._jobs  # type: ignore[assignment]
    jobs.close = journal.close
    assert await asyncio.wait_for(journal.do(reserve("k")), 30) == Reserved(AttemptId(DATASET, "k", 1))
    assert jobs.closing is not None
    await asyncio.to_thread(jobs.closing.join, 30)
    with pytest.raises(RuntimeError, match="closed"):
        await journal.do(reserve("later"))
    assert ledger_books.balance.reserved == BOUND


class FailsToRollBack(CountingStore):
    """A store whose rollback fails: the disk is gone."""

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        with self._store.transaction() as tx:
            try:
                yield tx
            except ValueError:
                raise LedgerError("the ledger cannot be used: disk I/O error") from None
        self.commits += 1


async def test_a_bug_on_a_disk_that_fails_is_no_reason_to_try_the_others_again(ledger_books: Books):
    store = FailsToRollBack(ledger_books.store)
    with journal_over(store) as journal:
        answers = await at_once(store, journal, reserve("before"), bug, reserve("after"))
    assert [type(answer) for answer in answers] == [LedgerError] * 3
    assert ledger_books.balance.reserved == ZERO


async def test_each_effect_of_a_batch_with_a_bug_is_done_once(ledger_books: Books):
    """The innocent are run twice, and what the first time wrote is undone."""
    ledger_books.reserve("k")
    store = CountingStore(ledger_books.store)
    ran: list[str] = []

    def count(tx: Connection) -> int:
        ran.append("count")
        tx.execute(sa.text("UPDATE datasets SET cap_nano_usd = cap_nano_usd + 1"))
        return len(ran)

    with journal_over(store) as journal:
        first, failed, posted, second = await at_once(store, journal, count, bug, resolve("k"), count)
    assert isinstance(failed, ValueError)
    assert (first, posted, second) == (2, None, 3)
    assert ledger_books.balance.cap_nano_usd == 10 * BOUND.nano_usd + 2
    assert ledger_books.balance.reserved == ZERO
