"""The versions of the ledger's schema: a new ledger is made as `tables.py` has it, an older one is upgraded by alembic.

The version stands in the ledger's own table `schema_version`, as it always did, rather than in alembic's: an older
fluxbatch looks there before it writes, and Prefect keeps an `alembic_version` of its own in a database that may be the
same. alembic is loaded only when there is something to upgrade.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fluxbatch.budget.tables import SCHEMA_VERSION, metadata, schema_version
from fluxbatch.errors import LedgerError

if TYPE_CHECKING:
    from alembic.script import Script, ScriptDirectory

LOCK = 0x666C7578
"""The advisory lock of PostgreSQL that one holds who makes or changes tables: any number that nobody else takes."""


def version_of(tx: Connection) -> int | None:
    """The ledger's schema; None where there is no ledger yet."""
    if not sa.inspect(tx).has_table(schema_version.name):
        return None
    return tx.execute(sa.select(schema_version.c.version)).scalar() or 0


def make_or_upgrade(tx: Connection, url: str) -> int | None:
    """Bring the ledger to this fluxbatch's schema. The version that was there before; None: it was made.

    All in the transaction that is given; many may come at once, the first does it. LedgerError, naming the ledger by
    `url`, when it is newer.
    """
    if tx.dialect.name == "postgresql":  # there, many may begin at once; SQLite's writers take turns
        tx.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
    before = version_of(tx)
    if before is None:
        # A table of ours without a version is somebody else's: it is not taken over, making it again says so.
        metadata.create_all(tx, checkfirst=False)
        tx.execute(sa.insert(schema_version).values(version=SCHEMA_VERSION))
    elif 0 < before < SCHEMA_VERSION:
        _upgrade(tx, before)
    elif before != SCHEMA_VERSION:
        raise unfit(url, before)
    return before


def unfit(url: str, found: int) -> LedgerError:
    """What is said of a ledger with another schema than this fluxbatch's. `url` is without a password."""
    told = f"the ledger {url} has schema {found}, this fluxbatch needs {SCHEMA_VERSION}; "
    if 0 < found < SCHEMA_VERSION:
        return LedgerError(f"{told}let what runs on it end, then upgrade it once: fluxbatch ledger upgrade")
    return LedgerError(
        f"{told}a newer fluxbatch has written it: update this one (pip install --upgrade fluxbatch), "
        "or use another ledger (--ledger)"
    )


def _upgrade(tx: Connection, before: int) -> None:
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    pending = _revisions(before)
    if not all(revision.module.ONLY_ADDS for revision in pending):
        _copy_aside(tx, before)
    with Operations.context(MigrationContext.configure(tx)):
        for revision in pending:
            revision.module.upgrade()
    tx.execute(sa.update(schema_version).values(version=SCHEMA_VERSION))


def _revisions(before: int) -> list[Script]:
    """The revisions from that version on, in order."""
    script = scripts()
    head = script.get_current_head()
    assert head == name_of(SCHEMA_VERSION), f"the last revision is {head}, tables.py has {SCHEMA_VERSION}"
    found = script.iterate_revisions(head, name_of(before) if before else "base")
    return list(reversed(list(found)))


def scripts() -> ScriptDirectory:
    """The revisions that this fluxbatch ships."""
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(Path(__file__).parent / "migrations"))


def name_of(version: int) -> str:
    """A version as alembic calls it."""
    return f"{version:04d}"


def _copy_aside(tx: Connection, before: int) -> None:
    """Keep a SQLite ledger as it is in a file beside it. What PostgreSQL holds is its owner's to copy."""
    path = tx.engine.url.database
    if tx.dialect.name != "sqlite" or not path:
        return
    # This transaction holds the writer's lock and has written nothing: another connection reads what is committed.
    driver = tx.dialect.dbapi
    assert driver is not None
    with (
        contextlib.closing(driver.connect(path)) as source,
        contextlib.closing(driver.connect(f"{path}.schema-{before}")) as copy,
    ):
        source.backup(copy)
