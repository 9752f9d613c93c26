"""A ledger on PostgreSQL: how its address is read, how its server is reached, and what its errors mean.

psycopg rather than asyncpg, because one thread commits for all who wait, and a plain blocking driver is the simplest
thing that a thread can wait for. An address that names asyncpg (Prefect's own setting does) is taken as well.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine

from fluxbatch.errors import LedgerAway, LedgerBusy, LedgerError

DRIVER = "postgresql+psycopg"
NAMES = frozenset({"postgres", "postgresql", DRIVER, "postgresql+asyncpg"})
SECRETS = frozenset({"password", "sslpassword", "passfile", "sslkey"})
"""What libpq takes from an address's query, and nobody is to read in a log."""

WRITERS = 0x666C7579
"""The advisory lock of who writes: any number that nobody else takes."""

REACHED = {
    "connect_timeout": 10,
    # The peer's machine is gone, or the way to it: noticed 30 s after the last word, silent or not.
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""How libpq notices that nobody is there; what an address says itself goes before it."""
STATEMENT_S = 100
"""The server gives up a statement after that: it waited for somebody's lock. Longer than IDLE_S, so that what a dead
client holds is free before."""
ANSWER_S = 120.0
"""A server that lives and says nothing for so long is as good as gone (its disk hangs, or a proxy between)."""
IDLE_S = 30
"""A client that is silent for so long in the middle of writing is taken for dead: all others wait for what it holds."""

BUSY = frozenset({"40001", "40P01", "55P03", "57014"})
"""Serialization failure, deadlock, a lock or a statement that took too long: undone, and worth another try at once."""
AWAY = frozenset({"25006", "25P03", "53000", "53100", "53200", "53300", "57P01", "57P02", "57P03", "57P05"})
"""A standby, a session given up, no disk, memory or connection left, a server that stops, dies or starts."""


def is_ours(url: URL) -> bool:
    """Whether the address is one of PostgreSQL that psycopg is to drive."""
    return url.drivername in NAMES


def driven(url: URL) -> URL:
    """The same place, as psycopg is told of it."""
    query = dict(url.query)
    if "ssl" in query:  # asyncpg's word for it
        query["sslmode"] = query.pop("ssl")
    return url.set(drivername=DRIVER, query=query)


def shown(url: URL) -> str:
    """The address without anything secret."""
    hidden = {name: "***" if name in SECRETS else value for name, value in url.query.items()}
    return url.set(query=hidden).render_as_string(hide_password=True)


def open_postgres(url: URL, *, is_patient: bool = False) -> Engine:
    """An engine whose writers take turns and whose connections notice that nobody answers.

    `is_patient`: statements may take as long as they do (an upgrade of a large ledger). LedgerError when the driver is
    not installed.
    """
    try:
        reached = {name: value for name, value in REACHED.items() if name not in url.query}
        # READ COMMITTED whatever the server's default is: a statement has to see what was committed before its turn.
        engine = sa.create_engine(driven(url), connect_args=reached, isolation_level="READ COMMITTED")
    except ModuleNotFoundError as error:
        raise LedgerError(
            f"the ledger {shown(url)} needs PostgreSQL's driver: pip install 'fluxbatch[postgres]'"
        ) from error

    @sa.event.listens_for(engine, "do_connect")
    def _on_do_connect(_dialect: object, _record: object, args: Any, given: dict[str, Any]) -> object:
        return _answering().connect(*args, **given)

    @sa.event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: object) -> None:
        statement_s = 0 if is_patient else STATEMENT_S
        connection.execute(
            f"SET statement_timeout = '{statement_s}s'; SET idle_in_transaction_session_timeout = '{IDLE_S}s'; "
            "SET synchronous_commit = on"  # a role's setting may be off: then a commit is no promise
        )
        connection.commit()

    sa.event.listen(engine, "begin", _on_begin)
    return engine


def _on_begin(connection: Connection) -> None:
    if connection.get_execution_options().get("fluxbatch_reading", False):
        # A reader holds nobody up, and may look at pictures between two questions.
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
    else:
        # Writers take turns, as with SQLite. All who spend from an account change the same row of its day, so they
        # would anyhow; but so no two of them ever hold what the other waits for.
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITERS})")


def passing(url: str, error: sa.exc.DBAPIError) -> LedgerAway | None:
    """What will pass by itself: nobody is there, or somebody was in the way. None for anything else."""
    state = getattr(error.orig, "sqlstate", None)
    reason = " ".join(str(error.orig).split())
    if state in BUSY:
        return LedgerBusy(f"the ledger {url} is busy: {reason}")
    if error.connection_invalidated or state in AWAY or (state or "").startswith("08") or _is_unconnected(error):
        return LedgerAway(f"the ledger {url} cannot be reached: {reason}")
    return None


def _is_unconnected(error: sa.exc.DBAPIError) -> bool:
    """A connection that did not come about has no state: whoever is behind the address may be there again soon."""
    return isinstance(error, sa.exc.OperationalError) and getattr(error.orig, "sqlstate", None) is None


@lru_cache(maxsize=1)
def _answering() -> Any:
    """psycopg's connection, but it does not wait for ever. TCP's own timeouts see only that a machine is gone."""
    import psycopg

    class Answering(psycopg.Connection[Any]):
        def wait(self, gen: Any, *args: Any, **given: Any) -> Any:
            return super().wait(self._bounded(gen), *args, **given)

        def _bounded(self, gen: Any) -> Generator[Any, Any, Any]:
            """The same questions and answers. psycopg asks every tenth of a second, with nothing ready, in between."""
            last_s = time.monotonic()
            try:
                wanted = next(gen)
                while True:
                    ready = yield wanted
                    if ready:
                        last_s = time.monotonic()
                    elif time.monotonic() - last_s > ANSWER_S:
                        self.close()
                        raise psycopg.OperationalError(f"no answer for {ANSWER_S:g} s")
                    wanted = gen.send(ready)
            except StopIteration as done:
                return done.value

    return Answering
