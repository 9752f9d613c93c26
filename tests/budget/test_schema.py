"""The schema's versions: what the revisions make is what `tables.py` says, and nobody is upgraded unasked."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations

from fluxbatch.budget import schema
from fluxbatch.budget.store import Opening, Store
from fluxbatch.budget.tables import SCHEMA_VERSION, metadata, schema_version
from fluxbatch.errors import LedgerError
from tests.budget.budget_kit import Books, engine_of, url_of

VERSION_1 = (Path(__file__).parent / "ledger_v1.sql").read_text()


def run_revisions(tx: sa.Connection, first: int, last: int) -> None:
    """What alembic itself would do, one revision after the other."""
    script = schema.scripts()
    with Operations.context(MigrationContext.configure(tx)):
        for version in range(first, last + 1):
            script.get_revision(schema.name_of(version)).module.upgrade()


def make_old(url: str, version: int) -> None:
    """A ledger as a fluxbatch of that schema would have made it."""
    engine = engine_of(url)
    with engine.begin() as tx:
        run_revisions(tx, 1, version)
        tx.execute(sa.insert(schema_version).values(version=version))
    engine.dispose()


def is_shared(url: str) -> bool:
    return not url.startswith("sqlite")


def test_the_revisions_from_nothing_make_exactly_the_tables_of_this_fluxbatch(ledger_url: str):
    engine = engine_of(ledger_url)
    with engine.begin() as tx:
        run_revisions(tx, 1, SCHEMA_VERSION)
    with engine.connect() as tx:
        assert compare_metadata(MigrationContext.configure(tx, opts={"compare_server_default": True}), metadata) == []
        indexes = {index["name"]: index for index in sa.inspect(tx).get_indexes("attempts")}
        where = indexes["open_attempts"]["dialect_options"]
        assert "unknown" in str(next(iter(where.values()))), "the index is of the open attempts only"
    engine.dispose()


def test_a_ledger_that_was_made_at_once_is_the_same(ledger_url: str):
    Store(ledger_url).close()
    engine = engine_of(ledger_url)
    with engine.connect() as tx:
        assert compare_metadata(MigrationContext.configure(tx, opts={"compare_server_default": True}), metadata) == []
        assert schema.version_of(tx) == SCHEMA_VERSION
    engine.dispose()


def test_the_revisions_are_one_line_that_ends_at_this_fluxbatchs_schema():
    script = schema.scripts()
    assert script.get_heads() == [schema.name_of(SCHEMA_VERSION)]
    assert [one.revision for one in reversed(list(script.walk_revisions()))] == [
        schema.name_of(version) for version in range(1, SCHEMA_VERSION + 1)
    ]
    assert all(isinstance(one.module.ONLY_ADDS, bool) for one in script.walk_revisions())


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
def test_an_older_ledger_is_upgraded_by_the_command_on_every_database(ledger_url: str, version: int):
    make_old(ledger_url, version)
    with closing(Store(ledger_url, Opening.UPGRADE)) as store:
        assert (store.upgraded_from, store.version()) == (version, SCHEMA_VERSION)
        Books(store).open(5)
    with closing(Store(ledger_url, Opening.UPGRADE)) as again:
        assert again.upgraded_from is None
        assert Books(again).balance.cap_nano_usd == 5


def test_a_shared_ledger_is_never_upgraded_by_who_only_uses_it(ledger_url: str):
    make_old(ledger_url, 1)
    if not is_shared(ledger_url):
        with closing(Store(ledger_url)) as store:
            assert store.upgraded_from == 1
        return
    with pytest.raises(LedgerError, match=rf"has schema 1, .* needs {SCHEMA_VERSION}; .*fluxbatch ledger upgrade"):
        Store(ledger_url)
    with closing(Store(ledger_url, Opening.LOOK)) as store:
        assert store.version() == 1


@pytest.mark.parametrize("opening", [Opening.USE, Opening.UPGRADE])
def test_a_newer_ledger_asks_for_a_newer_fluxbatch(ledger_url: str, opening: Opening):
    with closing(Store(ledger_url)) as store, store.transaction() as tx:
        tx.execute(sa.update(schema_version).values(version=SCHEMA_VERSION + 1))
    with pytest.raises(LedgerError, match=r"newer fluxbatch has written it: update this one \(pip"):
        Store(ledger_url, opening)


def test_a_table_of_somebody_else_is_not_taken_over(ledger_url: str):
    engine = engine_of(ledger_url)
    with engine.begin() as tx:
        tx.exec_driver_sql("CREATE TABLE runs (theirs INTEGER)")
    with pytest.raises(LedgerError, match="runs"):
        Store(ledger_url)
    with engine.connect() as tx:
        assert sa.inspect(tx).get_table_names() == ["runs"]
    engine.dispose()


def test_a_file_is_copied_beside_itself_when_an_upgrade_does_more_than_add(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3")) as plain:
        plain.executescript(VERSION_1)
    real = schema.scripts

    def heavier() -> object:
        script = real()
        script.get_revision("0002").module.ONLY_ADDS = False
        return script

    monkeypatch.setattr(schema, "scripts", heavier)
    Store(url_of(tmp_path)).close()
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3.schema-1")) as copy:
        assert copy.execute("SELECT version FROM schema_version").fetchall() == [(1,)]
        assert copy.execute("SELECT count(*) FROM attempts").fetchone() == (9,)


def test_what_only_adds_leaves_no_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real = schema.scripts

    def lighter() -> object:
        script = real()
        script.get_revision("0004").module.ONLY_ADDS = True
        return script

    monkeypatch.setattr(schema, "scripts", lighter)
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3")) as plain:
        plain.executescript(VERSION_1)
    Store(url_of(tmp_path)).close()
    assert {path.name for path in tmp_path.iterdir()} <= {"ledger.sqlite3", "ledger.sqlite3-wal", "ledger.sqlite3-shm"}


def test_a_ledger_that_needs_no_upgrade_never_loads_alembic(tmp_path: Path):
    code = (
        "import sys, json; from fluxbatch.budget.store import Store; "
        f"Store({url_of(tmp_path)!r}).close(); Store({url_of(tmp_path)!r}).close(); print('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


class TestTheCommands:
    def run(self, *args: str, url: str) -> subprocess.CompletedProcess[str]:
        code = "from fluxbatch.cli import main; main()"
        return subprocess.run(
            [sys.executable, "-c", code, "ledger", *args, "--ledger", url], capture_output=True, text=True, check=False
        )

    def test_an_older_ledger_is_shown_as_it_is_upgraded_once_and_counted(self, tmp_path: Path):
        with closing(sqlite3.connect(tmp_path / "ledger.sqlite3")) as plain:
            plain.executescript(VERSION_1)
        url = url_of(tmp_path)
        assert f"1, this fluxbatch needs {SCHEMA_VERSION}: fluxbatch ledger upgrade" in self.run("show", url=url).stdout
        assert f"upgraded from schema 1 to {SCHEMA_VERSION}" in self.run("upgrade", url=url).stdout
        assert f"has schema {SCHEMA_VERSION}" in self.run("upgrade", url=url).stdout
        shown = json.loads(self.run("show", "--json", url=url).stdout)
        counts = {"datasets": 2, "attempts": 9, "on_their_way": 2, "unknown": 2}
        assert shown == {"ledger": url, "schema": SCHEMA_VERSION, "needed": SCHEMA_VERSION, **counts}

    def test_showing_makes_no_ledger(self, tmp_path: Path):
        done = self.run("show", url=url_of(tmp_path))
        assert "no ledger yet" in done.stdout
        assert list(tmp_path.iterdir()) == []

    def test_a_ledger_that_cannot_be_reached_is_an_error_without_a_password(self):
        done = self.run("show", url="postgresql+asyncpg://me:hunter2@127.0.0.1:1/x?password=hunter3")
        assert done.returncode == 5
        assert "cannot be opened" in done.stderr
        assert "hunter" not in done.stdout + done.stderr
