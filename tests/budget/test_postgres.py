"""A ledger on PostgreSQL: its address, its timeouts, who waits for whom, and what its errors mean."""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
import threading
from collections.abc import Callable
from contextlib import closing

import pytest
import sqlalchemy as sa

from fluxbatch.budget import ledger, postgres, windows
from fluxbatch.budget.entries import US_PER_DAY, AttemptId, Period, Reserved
from fluxbatch.budget.journal import ThreadJournal
from fluxbatch.budget.store import Store
from fluxbatch.errors import LedgerAway, LedgerBusy, LedgerError
from tests.budget.budget_kit import ACCOUNT, BOUND, DATASET, NOW_US, Books, books_at, take_moments
from tests.postgres_kit import PASSWORD, Cluster, own_schema
from tests.soak import soak

PROCESSES = 8
EACH = soak(12, 300)
TONIGHT_US = NOW_US - NOW_US % US_PER_DAY + US_PER_DAY - 1
TOMORROW_US = TONIGHT_US + 1


class TestTheAddress:
    @pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "postgresql+asyncpg", "postgres"])
    def test_it_may_be_written_as_people_have_it(self, postgres_url: str, scheme: str):
        url = f"{scheme}:{postgres_url.split(':', 1)[1]}&ssl=prefer"
        with closing(Store(url)) as store:
            assert Books(store).open().cap_nano_usd == 10 * BOUND.nano_usd
            assert PASSWORD not in store.url
            assert "***@" in store.url

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://me:hunter2@127.0.0.1:1/x",
            "postgresql+asyncpg://me@127.0.0.1:1/x?password=hunter2",
            "postgresql://me@127.0.0.1:1/x?sslkey=hunter2&sslpassword=hunter2",
            "postgresql://me:hunter2@127.0.0.1:1/x?nonsense=1",
        ],
    )
    def test_a_password_is_never_shown(self, url: str):
        with pytest.raises(LedgerError, match=r"cannot be opened: .*check --ledger") as failure:
            Store(url)
        assert "hunter2" not in str(failure.value)

    def test_a_wrong_password_is_not_shown_either(self, postgres_cluster: Cluster):
        with pytest.raises(LedgerError, match="password authentication failed") as failure:
            Store(postgres_cluster.url.replace(PASSWORD, "hunter3"))
        assert "hunter3" not in str(failure.value)

    def test_a_missing_driver_says_how_to_get_it(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setitem(sys.modules, "psycopg", None)
        with pytest.raises(LedgerError, match=r"pip install 'fluxbatch\[postgres\]'") as failure:
            Store("postgresql+asyncpg://me:hunter2@127.0.0.1:1/x")
        assert "hunter2" not in str(failure.value)


class TestASession:
    def test_a_commit_is_a_promise_and_a_statement_sees_what_stands_whatever_the_server_is_set_to(
        self, postgres_url: str
    ):
        careless = " -cdefault_transaction_isolation=serializable -csynchronous_commit=off"
        url = sa.make_url(postgres_url)
        url = url.update_query_dict({"options": f"{url.query['options']}{careless}"})
        with closing(Store(url.render_as_string(hide_password=False))) as store, store.transaction() as tx:
            assert tx.exec_driver_sql("SHOW transaction_isolation").scalar() == "read committed"
            assert tx.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"

    def test_nobody_waits_for_ever(self, postgres_url: str):
        with closing(Store(postgres_url)) as store:
            with store.transaction() as tx:
                assert tx.exec_driver_sql("SHOW statement_timeout").scalar() == f"{postgres.STATEMENT_S}s"
                idle = tx.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar()
                assert idle == f"{postgres.IDLE_S}s"
                given = tx.connection.dbapi_connection.info.get_parameters()  # type: ignore[union-attr]
                assert {name: given[name] for name in postgres.REACHED} == {
                    name: str(value) for name, value in postgres.REACHED.items()
                }
            with store.reading() as tx:  # it holds nobody up, and may look at pictures in between
                assert tx.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar() == "0"
        assert postgres.IDLE_S < postgres.STATEMENT_S < postgres.ANSWER_S

    def test_a_writer_that_falls_silent_keeps_the_others_only_for_a_while(
        self, postgres_url: str, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(postgres, "IDLE_S", 1)
        with closing(Store(postgres_url)) as silent, closing(Store(postgres_url)) as other:
            Books(other).open()
            with pytest.raises(LedgerAway, match="idle-in-transaction"):
                silent_while(silent, lambda: Books(other).open(7))  # waits until the server ends the silent one
            assert Books(other).balance.cap_nano_usd == 7


def silent_while(store: Store, others: Callable[[], object]) -> None:
    with store.transaction() as tx:
        tx.execute(sa.text("UPDATE datasets SET cap_nano_usd = 1"))
        others()


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("40P01", LedgerBusy), ("40001", LedgerBusy), ("57014", LedgerBusy), ("55P03", LedgerBusy),
        ("53100", LedgerAway), ("53300", LedgerAway), ("57P01", LedgerAway), ("25006", LedgerAway),
        ("08006", LedgerAway), ("XX001", LedgerError), ("58030", LedgerError),
    ],
)  # fmt: skip
def test_what_passes_is_told_from_what_stays(postgres_url: str, state: str, expected: type[LedgerError]):
    raising = f"DO $$ BEGIN RAISE EXCEPTION 'as the server says' USING ERRCODE = '{state}'; END $$"
    with (
        closing(Store(postgres_url)) as store,
        pytest.raises(LedgerError, match="as the server says") as failure,
        store.transaction() as tx,
    ):
        tx.exec_driver_sql(raising)
    assert type(failure.value) is expected


def test_writers_take_turns_and_readers_wait_for_nobody(postgres_url: str):
    with closing(Store(postgres_url)) as one, closing(Store(postgres_url)) as other:
        Books(one).open()
        done: list[int] = []
        writer = threading.Thread(target=lambda: done.append(Books(other).open(7).cap_nano_usd))
        with one.transaction() as tx:
            tx.execute(sa.text("UPDATE caps SET cap_nano_usd = 1"))  # no row in common
            writer.start()
            assert Books(other).balance.cap_nano_usd == 10 * BOUND.nano_usd
            writer.join(0.2)
            assert done == []
        writer.join(30)
        assert done == [7]


async def test_a_deadlock_with_whoever_else_is_in_the_database_is_survived(postgres_cluster: Cluster):
    """Writers cannot deadlock among themselves; somebody with psql can hold what they need in another order."""
    with own_schema(postgres_cluster.url) as url, closing(Store(url)) as store:
        Books(store).open()
        assert isinstance(Books(store).reserve("first"), Reserved)  # makes the windows
        other = sa.create_engine(url, poolclass=sa.NullPool)
        seen: list[str] = []
        sa.event.listen(store._engine, "handle_error", lambda context: seen.append(context.original_exception.sqlstate))
        journal = ThreadJournal(store)
        with other.connect() as own, postgres_cluster.connection() as watching:
            own.exec_driver_sql("SET deadlock_timeout = '20s'")  # the ledger's side finds out, and so it loses
            own.exec_driver_sql("UPDATE windows SET spent_nano_usd = spent_nano_usd")
            attempt = AttemptId(DATASET, "second", 1)
            reserved = asyncio.create_task(journal.do(lambda tx: ledger.reserve(tx, attempt, "r", "m", BOUND, NOW_US)))
            async with asyncio.timeout(20):
                while not watching.exec_driver_sql(WAITING).scalar():  # it holds the dataset and waits for the windows
                    await asyncio.sleep(0.005)
                await asyncio.to_thread(own.exec_driver_sql, "UPDATE datasets SET spent_nano_usd = spent_nano_usd")
                own.commit()
                assert await reserved == Reserved(attempt)
        assert seen == ["40P01"]
        await asyncio.to_thread(journal.close)
        assert Books(store).balance.reserved == BOUND * 2
        other.dispose()


WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


def _spend_over_midnight(url: str, name: str) -> tuple[int, list[int]]:
    """Batches of both days, in an order that differs from process to process, with a moment of the pace for each."""
    days = [TONIGHT_US, TOMORROW_US] if int(name) % 2 else [TOMORROW_US, TONIGHT_US]
    reserved, moments = 0, []
    with books_at(url) as own:
        for number in range(EACH):
            with own.store.transaction() as tx:
                if number % 2:
                    moments.append(take_moments(tx))
                for day, at_us in enumerate(days):
                    attempt = AttemptId(DATASET, f"{name}-{number}-{day}", 1)
                    reserved += isinstance(ledger.reserve(tx, attempt, "r", "m", BOUND, at_us), Reserved)
                if not number % 2:
                    moments.append(take_moments(tx))
    return reserved, moments


def test_eight_processes_over_midnight_on_one_dataset_and_one_accounts_day_spend_not_a_nano_dollar_more(
    postgres_url: str,
):
    a_day, fits = PROCESSES * EACH // 2, PROCESSES * EACH - 7
    with books_at(postgres_url) as own:
        own.open(fits * BOUND.nano_usd + BOUND.nano_usd - 1)
        own.do(lambda tx: ledger.set_cap(tx, ACCOUNT, Period.DAY, a_day * BOUND.nano_usd + BOUND.nano_usd - 1))
        with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
            work = [(postgres_url, str(number)) for number in range(PROCESSES)]
            results = pool.starmap(_spend_over_midnight, work, chunksize=1)
        assert sum(reserved for reserved, _ in results) == fits
        assert own.balance.free_nano_usd == BOUND.nano_usd - 1
        with own.store.reading() as tx:
            assert ledger.audit_windows(tx) == []
            days = [held.reserved for window, held in windows.stored(tx).items() if window.period == Period.DAY]
        assert sum(held.nano_usd for held in days) == fits * BOUND.nano_usd
        assert max(held.nano_usd for held in days) <= a_day * BOUND.nano_usd
    moments = sorted(moment for _, taken in results for moment in taken)
    assert moments == [NOW_US + number * 1000 for number in range(PROCESSES * EACH)]
