"""A ledger that an earlier fluxbatch wrote is upgraded when it is opened: what stood stands, what is new is filled."""

from __future__ import annotations

import multiprocessing
import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sa

from fluxbatch.budget import ledger, windows
from fluxbatch.budget.entries import AttemptId, Decision, Denied, Held, Period, Scope, State, Window
from fluxbatch.budget.store import Store
from fluxbatch.budget.tables import SCHEMA_VERSION
from fluxbatch.errors import LedgerError
from fluxbatch.models.money import charge
from tests.budget.budget_kit import ACCOUNT, BOUND, DATASET, Books, books, url_of

# What sqlite3's `.dump` said of a ledger that fluxbatch wrote with schema 1: at 23:00 UTC on 30 November 2026 and two
# hours later, one attempt in each state.
VERSION_1 = (Path(__file__).parent / "ledger_v1.sql").read_text()
OTHER = "b" * 32
ACTUAL = charge(281_250)
STEERING = {"wishes", "progress"}
NEW = {"schema_version", "settlements"}  # the version is looked at by itself


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3")) as plain:
        plain.execute("PRAGMA journal_mode=WAL")
        plain.executescript(VERSION_1)
    return tmp_path


def contents(folder: Path) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(folder / "ledger.sqlite3")) as plain:
        names = [name for (name,) in plain.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
        return {
            name: plain.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in names if name[0] != "s"
        }


def test_everything_that_stood_there_stands_there(folder: Path):
    before = contents(folder)
    with books(folder) as own:
        assert own.do(lambda tx: tx.execute(sa.text("SELECT version FROM schema_version")).all()) == [(SCHEMA_VERSION,)]
    after = contents(folder)
    assert {name: after[name] for name in before} == before
    assert (
        set(after) - set(before)
        == {"caps", "windows", "payers", "cap_changes", "leases", "marks", "lessons"} | STEERING
    )


def test_days_and_months_hold_what_was_sent_in_them(folder: Path):
    each = Held(spent=ACTUAL, reserved=BOUND, unknown=BOUND)
    november, december = date(2026, 11, 30), date(2026, 12, 1)
    with books(folder) as own, own.store.reading() as tx:
        assert windows.stored(tx) == {
            Window(ACCOUNT, Period.DAY, november): each,
            Window(ACCOUNT, Period.MONTH, november.replace(day=1)): each,
            Window(ACCOUNT, Period.DAY, december): each,
            Window(ACCOUNT, Period.MONTH, december): each,
            Window(OTHER, Period.DAY, november): Held(spent=ACTUAL),
            Window(OTHER, Period.MONTH, november.replace(day=1)): Held(spent=ACTUAL),
            Window("run-1", Period.TOTAL, None, Scope.RUN): Held(ACTUAL * 3, BOUND * 2, BOUND * 2),
        }
        assert ledger.audit_windows(tx) == []


def test_the_upgraded_ledger_resolves_settles_and_caps(folder: Path):
    with books(folder) as own:
        assert [one.key for one in own.strand()] == ["sent-dec", "sent-nov"]
        own.settle("lost-nov", Decision(State.VOID))
        spent = ACTUAL.nano_usd + BOUND.nano_usd  # in November, by now: made and stranded
        own.do(lambda tx: ledger.set_cap(tx, ACCOUNT, Period.DAY, spent + BOUND.nano_usd - 1))
        now_us = 1_796_079_600_000_000
        attempt = AttemptId(DATASET, "new", 1)
        denied = own.do(lambda tx: ledger.reserve(tx, attempt, "r", "m", BOUND, now_us))
        assert isinstance(denied, Denied)
        assert denied.window == Window(ACCOUNT, Period.DAY, date(2026, 11, 30))
        assert own.balance.unknown == BOUND * 3


def test_a_second_start_upgrades_nothing(folder: Path):
    for _ in range(2):
        with books(folder) as own, own.store.reading() as tx:
            assert ledger.audit_windows(tx) == []


def _open(folder: Path) -> bool:
    with closing(Store(url_of(folder))) as opened, opened.reading() as tx:
        return ledger.audit_windows(tx) == []


def test_processes_that_upgrade_at_once_agree(folder: Path):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert pool.map(_open, [folder] * 8, chunksize=1) == [True] * 8


def test_an_upgrade_that_fails_leaves_the_ledger_as_it_was(folder: Path):
    with closing(sqlite3.connect(folder / "ledger.sqlite3")) as plain:
        plain.execute("CREATE TABLE former_accounts (x, y)")  # the last of version 2: the others are made by then
    before = contents(folder)
    with pytest.raises(LedgerError, match="former_accounts already exists"):
        Store(url_of(folder))
    assert contents(folder) == before
    with closing(sqlite3.connect(folder / "ledger.sqlite3")) as plain:
        plain.execute("DROP TABLE former_accounts")
    assert _open(folder)


def test_the_balance_of_the_old_ledger_still_adds_up(folder: Path):
    with closing(Store(url_of(folder))) as opened:
        found = Books(opened).balance
    assert (found.spent, found.reserved, found.unknown) == (ACTUAL * 2, BOUND * 2, BOUND * 2)
