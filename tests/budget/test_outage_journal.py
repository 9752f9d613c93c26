"""The ledger's server is lost in the middle of the work: nothing is done twice, nothing is told that does not stand."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fluxbatch.budget import ledger, postgres
from fluxbatch.budget.entries import AttemptId, Reserved
from fluxbatch.budget.journal import ThreadJournal
from fluxbatch.budget.marks import Marks
from fluxbatch.budget.outages import BUSY_S, FIRST_S, MOST_S, Outages, wait_of
from fluxbatch.budget.store import Store
from fluxbatch.budget.tables import marks
from fluxbatch.errors import LedgerAway, LedgerBusy, LedgerError
from tests.budget.budget_kit import ACTUAL, BOUND, DATASET, NOW_US, POSTED, Books, books, take_moments
from tests.postgres_kit import PASSWORD, Cluster, own_schema
from tests.postgres_proxy import Cut, Proxy, proxied
from tests.soak import soak


def outages(patience_s: float = 60.0) -> Outages:
    return Outages(patience_s, chance=lambda: 1.0)


def through(url: str, proxy: Proxy) -> str:
    """The same ledger, by way of the proxy."""
    return sa.make_url(url).set(port=proxy.port).render_as_string(hide_password=False)


@contextmanager
def journal_at(url: str, patience_s: float = 60.0) -> Iterator[ThreadJournal]:
    with closing(Store(url)) as store:
        journal = ThreadJournal(store, outages(patience_s))
        try:
            yield journal
        finally:
            journal.close()


async def spend(journal: ThreadJournal, key: str) -> int:
    """A reservation, a moment of the pace, a resolution: as the engine does. The moment."""
    attempt = AttemptId(DATASET, key, 1)
    assert await journal.do(lambda tx: ledger.reserve(tx, attempt, "r", "m", BOUND, NOW_US)) == Reserved(attempt)
    taken = await journal.do(take_moments)
    await journal.do(lambda tx: ledger.resolve(tx, attempt, POSTED, NOW_US), may_wait=True)
    return taken


async def spend_all(journal: ThreadJournal, count: int, at_once: int = 4) -> list[int]:
    async def several(first: int) -> list[int]:
        return [await spend(journal, f"k{number}") for number in range(first, count, at_once)]

    async with asyncio.timeout(120):
        found = await asyncio.gather(*(several(first) for first in range(at_once)))
    return sorted(moment for moments in found for moment in moments)


def check(url: str, moments: list[int]) -> None:
    """Each was done exactly once: the money, the attempts, and the moments, of which none is there twice or missing."""
    with closing(Store(url)) as store:
        balance = Books(store).balance
        assert (balance.spent, balance.reserved.nano_usd) == (ACTUAL * len(moments), 0)
        assert store.extent().attempts == len(moments)
        with store.reading() as tx:
            assert ledger.audit_windows(tx) == []
    assert moments == [NOW_US + 1000 * number for number in range(len(moments))]


@pytest.fixture
def shared(postgres_cluster: Cluster) -> Iterator[str]:
    """A ledger on the server that is maltreated here."""
    with own_schema(postgres_cluster.url) as url:
        with closing(Store(url)) as store:
            Books(store).open(10**15)
        yield url


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.AFTER])
async def test_a_connection_that_is_cut_around_a_commit_doubles_and_loses_nothing(
    postgres_cluster: Cluster, shared: str, cut: Cut
):
    with proxied(postgres_cluster.port) as proxy, journal_at(through(shared, proxy)) as journal:
        proxy.plan = lambda number: cut if number % 3 == 0 else None  # `marks`' first batch as well as later ones
        moments = await spend_all(journal, 12)
        assert proxy.cuts >= 3
    check(shared, moments)


async def test_the_very_first_batch_of_a_journal_may_lose_its_answer(postgres_cluster: Cluster, shared: str):
    with proxied(postgres_cluster.port) as proxy, journal_at(through(shared, proxy)) as journal:
        proxy.plan = lambda number: Cut.AFTER if number == 1 else None
        assert await spend_all(journal, 2) == [NOW_US, NOW_US + 1000]
    check(shared, [NOW_US, NOW_US + 1000])


async def test_a_commit_that_arrives_late_is_waited_for_and_not_run_again(postgres_cluster: Cluster, shared: str):
    """The lost connection's transaction still lives on the server while the batch is tried again."""
    with proxied(postgres_cluster.port) as proxy, journal_at(through(shared, proxy)) as journal:
        proxy.plan = lambda number: Cut.LATE if number == 3 else None
        working = asyncio.create_task(spend_all(journal, 6))
        with postgres_cluster.connection() as own:
            waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            async with asyncio.timeout(30):
                while proxy.cuts == 0 or own.exec_driver_sql(waits).scalar() == 0:
                    await asyncio.sleep(0.01)
        assert not working.done()
        proxy.let_go.set()
        moments = await working
    check(shared, moments)


async def test_a_server_that_lives_and_says_nothing_is_given_up_and_reached_anew(
    postgres_cluster: Cluster, shared: str, monkeypatch: pytest.MonkeyPatch
):
    """No timeout of TCP sees that: the other side's kernel answers for it."""
    monkeypatch.setattr(postgres, "ANSWER_S", 0.5)
    monkeypatch.setattr(postgres, "IDLE_S", 1)  # the half-done transaction holds the others up for so long
    with proxied(postgres_cluster.port) as proxy, journal_at(through(shared, proxy)) as journal:
        proxy.plan = lambda number: Cut.SILENT if number == 2 else None
        moments = await spend_all(journal, 4)
        assert proxy.cuts == 1
    check(shared, moments)


async def test_connections_that_are_ended_at_any_moment_double_and_lose_nothing(postgres_cluster: Cluster, shared: str):
    chance, ended = random.Random(5), 0
    with journal_at(shared) as journal, postgres_cluster.connection() as own:
        working = asyncio.create_task(spend_all(journal, soak(60, 2_000), at_once=4))
        while not working.done():
            await asyncio.sleep(chance.uniform(0.0, 0.3))
            ended += own.exec_driver_sql(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            ).scalar_one()
        moments = await working
    assert ended >= 3
    check(shared, moments)


async def test_a_server_that_dies_and_comes_back_is_waited_for_and_said_once(
    postgres_cluster: Cluster, shared: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "fluxbatch")
    with journal_at(shared) as journal:
        working = asyncio.create_task(spend_all(journal, 30))
        await asyncio.sleep(0.05)
        postgres_cluster.kill()
        try:
            async with asyncio.timeout(30):
                while "waiting, nothing is sent" not in caplog.text:
                    await asyncio.sleep(0.01)
        finally:
            await asyncio.to_thread(postgres_cluster.start)
        moments = await working
    check(shared, moments)
    told = [record.getMessage() for record in caplog.records if record.name == "fluxbatch.budget.outages"]
    assert len([text for text in told if "cannot be reached" in text]) == 1
    assert len([text for text in told if "is back after" in text]) == 1
    assert len(told) == 2
    assert PASSWORD not in caplog.text


async def test_patience_ends(postgres_cluster: Cluster, shared: str):
    with proxied(postgres_cluster.port) as proxy, journal_at(through(shared, proxy), patience_s=0.3) as journal:
        await spend(journal, "before")
        proxy.close()
        with pytest.raises(LedgerError, match=r"cannot be reached: .* minutes; run the same command again") as gone:
            await spend(journal, "later")
        assert PASSWORD not in str(gone.value)
        assert not isinstance(gone.value, LedgerAway)  # it is final: nobody tries again
        with pytest.raises(LedgerError, match="cannot be reached"):
            await journal.do(lambda tx: None)
    with closing(Store(shared)) as store:
        assert store.extent().attempts == 1


async def test_a_run_that_is_ended_at_once_does_not_wait_for_a_server_that_is_away(
    postgres_cluster: Cluster, shared: str
):
    with proxied(postgres_cluster.port) as proxy, closing(Store(through(shared, proxy))) as store:
        journal = ThreadJournal(store, outages(900.0))
        await spend(journal, "before")
        proxy.close()
        waiting = asyncio.create_task(spend(journal, "later"))
        await asyncio.sleep(0.3)
        waiting.cancel()
        async with asyncio.timeout(20):
            await asyncio.to_thread(journal.close)
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_a_server_that_forgot_what_it_had_committed_ends_the_run(shared: str):
    """A failover to a standby that lagged behind: what was reserved is not there, and neither is its money."""
    with journal_at(shared) as journal:
        await spend(journal, "a")
        with closing(Store(shared)) as store, store.transaction() as tx:
            tx.execute(sa.update(marks).values(batch=1))
        with pytest.raises(LedgerError, match="has lost what it had committed"):
            await spend(journal, "b")


def test_a_reader_asks_again(postgres_cluster: Cluster, shared: str):
    with closing(Store(shared, outages=outages())) as store:
        asked: list[int] = []

        def read(tx: Connection) -> int:
            asked.append(1)
            if len(asked) == 1:
                with postgres_cluster.connection() as own:
                    own.exec_driver_sql(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
                    )
            return tx.execute(sa.text("SELECT count(*) FROM datasets")).scalar_one()

        assert store.read(read) == 1
        assert len(asked) == 2


class TestOutages:
    """The waiting, without a server and without time."""

    def outages(self, patience_s: float) -> tuple[Outages, list[float]]:
        waited: list[float] = []
        return Outages(patience_s, wait=waited.append, clock=lambda: sum(waited), chance=lambda: 0.0), waited

    def failing(self, times: int, error: LedgerError) -> Callable[[], str]:
        left = [error] * times

        def attempt() -> str:
            if left:
                raise left.pop()
            return "done"

        return attempt

    def test_tries_come_less_and_less_often_and_never_seldom(self):
        one, waited = self.outages(60)
        assert one.through(self.failing(9, LedgerAway("gone"))) == "done"
        assert waited == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]

    @pytest.mark.parametrize("tries", [0, 3, 100_000])
    def test_a_part_of_the_wait_is_chance(self, tries: int):
        assert wait_of(tries, 1.0) == wait_of(tries, 0.0) / 2
        assert FIRST_S / 2 <= wait_of(tries, 0.5) <= MOST_S

    def test_patience_is_what_was_asked_for(self):
        one, waited = self.outages(60)
        with pytest.raises(LedgerError, match="gone, and was waited for 1"):
            one.through(self.failing(1000, LedgerAway("gone")))
        assert 60 <= sum(waited) <= 60 + MOST_S

    def test_without_patience_a_server_that_is_away_is_an_error_at_once_and_one_that_is_busy_is_not(self):
        one, waited = self.outages(0)
        with pytest.raises(LedgerError, match="gone; run the same"):
            one.through(self.failing(1, LedgerAway("gone")))
        assert waited == []
        assert one.through(self.failing(3, LedgerBusy("deadlock"))) == "done"
        with pytest.raises(LedgerError, match="deadlock"):
            one.through(self.failing(1000, LedgerBusy("deadlock")))
        assert sum(waited) >= BUSY_S

    def test_somebody_in_the_way_is_not_worth_a_word(self, caplog: pytest.LogCaptureFixture):
        one, _ = self.outages(60)
        one.through(self.failing(2, LedgerBusy("deadlock")))
        assert caplog.text == ""
        one.through(self.failing(12, LedgerBusy("deadlock")))
        assert "deadlock; waiting" in caplog.text

    def test_any_other_failure_is_final(self):
        one, waited = self.outages(60)
        with pytest.raises(LedgerError, match="disk"):
            one.through(self.failing(1, LedgerError("the disk failed")))
        assert waited == []


def test_a_file_has_no_marks_and_any_failure_of_it_is_final(tmp_path: Path):
    with books(tmp_path) as own:
        own.open()
        own.do(lambda tx: Marks().begins(tx))
        with own.store.reading() as tx:
            assert tx.execute(sa.select(sa.func.count()).select_from(marks)).scalar() == 0
        with pytest.raises(LedgerError, match="cannot be used") as failed:
            own.do(lambda tx: (_ for _ in ()).throw(sa.exc.OperationalError("COMMIT", {}, OSError(5, "I/O error"))))
    assert not isinstance(failed.value, LedgerAway)
