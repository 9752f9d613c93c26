from __future__ import annotations

import itertools
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Connection

from fluxbatch.budget import store as side
from fluxbatch.budget.entries import Learned
from fluxbatch.budget.store import Store
from fluxbatch.budget.tables import SCHEMA_VERSION
from fluxbatch.errors import LedgerError
from tests.budget.budget_kit import ACCOUNT, DATASET, NOW_US, Books, books, take_moments, url_of

SECOND_US = 1_000_000
HORIZON_US = 60 * SECOND_US


def test_a_commit_is_on_the_disk_before_it_returns(tmp_path: Path):
    with closing(Store(url_of(tmp_path))) as store:
        for opened in (store.transaction, store.reading):
            with opened() as tx:
                assert tx.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
                assert tx.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL: every commit is synced
                assert tx.exec_driver_sql("PRAGMA busy_timeout").scalar() == side.BUSY_TIMEOUT_MS


def test_a_block_that_raises_is_undone(ledger_books: Books):
    def write_and_fail(tx: Connection) -> None:
        tx.execute(sa.text("UPDATE datasets SET cap_nano_usd = 1"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ledger_books.do(write_and_fail)
    assert ledger_books.balance.cap_nano_usd != 1


def test_a_reader_sees_the_last_commit_and_does_not_wait_for_a_writer(ledger_books: Books):
    with ledger_books.store.transaction() as writing:
        writing.execute(sa.text("UPDATE datasets SET cap_nano_usd = 7"))
        with ledger_books.store.reading() as tx:
            assert tx.execute(sa.text("SELECT cap_nano_usd FROM datasets")).scalar() != 7
    assert ledger_books.balance.cap_nano_usd == 7


def test_a_writer_takes_the_lock_when_it_begins_not_when_it_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(side, "BUSY_TIMEOUT_MS", 20)
    with (
        closing(Store(url_of(tmp_path))) as one,
        closing(Store(url_of(tmp_path))) as other,
        one.transaction(),
        pytest.raises(LedgerError, match="locked"),
        other.transaction(),
    ):
        pytest.fail("two writers were inside at once")


def test_a_new_ledger_that_another_is_just_making_is_waited_for(tmp_path: Path):
    """SQLite says that it is busy at once, whatever the timeout, when a ledger that is being written is to be switched
    to write-ahead: 1 of 480 opened by eight processes at once was told "database is locked" and did not start."""
    opened: list[Store] = []
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("CREATE TABLE anything (x)")
        thread = threading.Thread(target=lambda: opened.append(Store(url_of(tmp_path))))
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        other.execute("COMMIT")
        thread.join(30)
    [store] = opened
    with closing(store), store.reading() as tx:
        assert tx.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_a_ledger_that_stays_locked_is_given_up_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(side, "BUSY_TIMEOUT_MS", 20)
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("CREATE TABLE anything (x)")
        with pytest.raises(LedgerError, match="locked"):
            Store(url_of(tmp_path))


def test_folders_above_a_new_ledger_are_made(tmp_path: Path):
    with closing(Store(url_of(tmp_path / "deep" / "deeper"))):
        assert (tmp_path / "deep" / "deeper" / "ledger.sqlite3").is_file()


def test_what_was_written_is_there_after_a_restart(tmp_path: Path):
    with books(tmp_path) as first:
        first.open(123)
    with books(tmp_path) as second:
        assert second.balance.cap_nano_usd == 123


def test_a_ledger_of_another_schema_is_refused_and_left_as_it_is(tmp_path: Path):
    with books(tmp_path) as own:
        own.open(123)
        own.do(lambda tx: tx.execute(sa.text("UPDATE schema_version SET version = 99")))
        own.do(lambda tx: tx.execute(sa.text("DROP TABLE learned")))
    with pytest.raises(LedgerError, match=rf"has schema 99, this fluxbatch needs {SCHEMA_VERSION}; .*--ledger"):
        Store(url_of(tmp_path))
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3")) as plain:
        names = {name for (name,) in plain.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert "learned" not in names
        assert plain.execute("SELECT cap_nano_usd FROM datasets").fetchone() == (123,)


@pytest.mark.parametrize("kind", ["a folder", "no database", "under a file"])
def test_a_path_that_cannot_be_a_ledger_is_named(tmp_path: Path, kind: str):
    place = tmp_path / "place"
    if kind == "a folder":
        place.mkdir()
    else:
        place.write_bytes(b"hello, I am no database" * 100)
    url = f"sqlite:///{place / 'ledger.sqlite3' if kind == 'under a file' else place}"
    with pytest.raises(LedgerError, match=r"cannot be opened: .*; check --ledger") as failure:
        Store(url)
    assert str(place) in str(failure.value)


@pytest.mark.parametrize("url", ["ledger.sqlite3", "", "nosuchdatabase://x"])
def test_an_address_that_is_none_is_refused_with_an_example(url: str):
    with pytest.raises(LedgerError, match="written like sqlite:////"):
        Store(url)


def test_a_password_in_the_address_is_never_shown(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(LedgerError) as failure:
        Store("postgresql+nosuchdriver://me:hunter2@127.0.0.1:1/x")
    assert "hunter2" not in str(failure.value)


def test_a_ledger_that_is_damaged_while_it_is_used_is_an_error_for_the_user(tmp_path: Path):
    with books(tmp_path) as own:
        own.open(123)
        own.do(lambda tx: tx.exec_driver_sql("CREATE TABLE big AS SELECT zeroblob(100000) AS filling"))
    path = tmp_path / "ledger.sqlite3"
    with books(tmp_path) as own:
        path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 40_000)
        with pytest.raises(LedgerError, match=f"{path} cannot be used: .*run the same command again"):
            own.do(lambda tx: tx.exec_driver_sql("SELECT count(*), max(filling) FROM big").one())
        with (
            pytest.raises(LedgerError, match="cannot be used"),
            own.store.reading() as tx,
        ):
            tx.exec_driver_sql("SELECT * FROM datasets").all()


class TestThePace:
    def take(self, books: Books, count: int = 1, now_us: int = NOW_US, interval_us: int = SECOND_US) -> int:
        asked = {"interval_us": interval_us, "now_us": now_us, "horizon_us": HORIZON_US}
        return books.do(lambda tx: take_moments(tx, count, **asked))

    def test_the_first_moment_is_now_and_the_next_follow_at_the_interval(self, ledger_books: Books):
        assert self.take(ledger_books, 3) == NOW_US
        assert self.take(ledger_books) == NOW_US + 3 * SECOND_US
        assert self.take(ledger_books, now_us=NOW_US + SECOND_US) == NOW_US + 4 * SECOND_US

    def test_moments_that_passed_unused_are_not_caught_up_with(self, ledger_books: Books):
        self.take(ledger_books, 3)
        later = NOW_US + 100 * SECOND_US
        assert self.take(ledger_books, now_us=later) == later

    def test_two_stores_share_one_grid(self, tmp_path: Path):
        with books(tmp_path) as one, books(tmp_path) as other:
            taken = [self.take(one, 2), self.take(other, 3), self.take(one, 1), self.take(other, 1)]
        assert taken == [NOW_US + n * SECOND_US for n in (0, 2, 5, 6)]

    def test_a_restart_remembers_what_was_taken(self, tmp_path: Path):
        with books(tmp_path) as own:
            self.take(own, 5)
        with books(tmp_path) as own:
            assert self.take(own) == NOW_US + 5 * SECOND_US

    def test_accounts_do_not_wait_for_each_other(self, ledger_books: Books):
        self.take(ledger_books, 5)
        other = ledger_books.do(lambda tx: take_moments(tx, account="other"))
        assert other == NOW_US

    def test_after_a_clock_that_jumped_back_one_horizon_is_waited_and_no_more(self, ledger_books: Books):
        self.take(ledger_books, now_us=NOW_US + 86_400 * SECOND_US)
        assert self.take(ledger_books) == NOW_US + HORIZON_US
        assert self.take(ledger_books) == NOW_US + HORIZON_US  # still one horizon ahead of now, and no further
        later = NOW_US + HORIZON_US + SECOND_US
        assert self.take(ledger_books, now_us=later) == later

    @pytest.mark.parametrize("is_new", [True, False])
    def test_moments_are_taken_by_one_statement(self, ledger_books: Books, is_new: bool):
        """What is read first and written then may have been taken by another in between."""
        if not is_new:
            self.take(ledger_books)
        statements: list[str] = []
        with ledger_books.store.transaction() as tx:
            sa.event.listen(tx, "before_cursor_execute", lambda c, cursor, text, *_: statements.append(text))
            take_moments(tx)
        assert len(statements) == 1
        assert statements[0].startswith("INSERT")

    @given(st.lists(st.tuples(st.integers(1, 16), st.integers(0, 90_000)), max_size=30))
    @settings(max_examples=15, deadline=None)
    def test_moments_are_never_closer_than_the_interval(self, steps: list[tuple[int, int]]):
        store = Store("sqlite://")  # in memory: only the arithmetic is looked at
        with closing(store):
            now_us, moments = NOW_US, []
            for count, passed_us in steps:
                now_us += passed_us
                first = self.take(Books(store), count, now_us, interval_us=84_583)
                assert first >= now_us
                moments += [first + number * 84_583 for number in range(count)]
        gaps = [after - before for before, after in itertools.pairwise(moments)]
        assert all(gap >= 84_583 for gap in gaps)


def test_what_was_learned_is_recalled_by_account_and_model(tmp_path: Path):
    first, second = Learned(64, True, 700.5, 151.25), Learned(3, False, None, None)
    with books(tmp_path) as own:
        own.do(lambda tx: side.remember(tx, ACCOUNT, "m", first))
        own.do(lambda tx: side.remember(tx, ACCOUNT, "other", second))
    with books(tmp_path) as own, own.store.reading() as tx:
        assert side.recall(tx, ACCOUNT, "m") == first
        assert side.recall(tx, ACCOUNT, "other") == second
        assert side.recall(tx, "b" * 32, "m") is None


def test_what_was_learned_last_replaces_what_was_learned_before(ledger_books: Books):
    for limit in (64, 8):
        ledger_books.do(lambda tx, limit=limit: side.remember(tx, ACCOUNT, "m", Learned(limit, limit == 8, None, None)))
    with ledger_books.store.reading() as tx:
        assert side.recall(tx, ACCOUNT, "m") == Learned(8, True, None, None)


def test_runs_are_listed_newest_first_with_how_they_ended(ledger_books: Books):
    for number in range(3):
        ledger_books.do(lambda tx, n=number: side.open_run(tx, f"r{n}", DATASET, "prompts.csv", NOW_US + n))
    ledger_books.do(lambda tx: side.close_run(tx, "r1", "budget", '{"made": 3}', NOW_US + 9))
    ledger_books.do(lambda tx: side.open_run(tx, "elsewhere", "d2", "prompts.csv", NOW_US + 100))
    with ledger_books.store.reading() as tx:
        found = side.last_runs(tx, DATASET, 2)
    assert [(row.run, row.stopped_by, row.ended_at_us, row.summary) for row in found] == [
        ("r2", None, None, None),
        ("r1", "budget", NOW_US + 9, '{"made": 3}'),
    ]
    assert found[0].manifest == "prompts.csv"


def test_a_run_is_entered_once(ledger_books: Books):
    ledger_books.do(lambda tx: side.open_run(tx, "r", DATASET, "prompts.csv", NOW_US))
    with pytest.raises(sa.exc.IntegrityError):
        ledger_books.do(lambda tx: side.open_run(tx, "r", DATASET, "prompts.csv", NOW_US))
