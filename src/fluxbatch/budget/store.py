"""Where the ledger lies: a database opened so that a commit is on the disk, and its small side tables."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from fluxbatch.budget import postgres, schema
from fluxbatch.budget.entries import Learned, State
from fluxbatch.budget.outages import Outages
from fluxbatch.budget.tables import SCHEMA_VERSION, attempts, datasets, insert_into, learned, paces, runs
from fluxbatch.errors import LedgerError

T = TypeVar("T")
BUSY_TIMEOUT_MS = 60_000
ASK_AGAIN_S = 0.01

_BUGS = (sa.exc.IntegrityError, sa.exc.ProgrammingError, sa.exc.DataError)
"""What a database raises when it was asked for the wrong thing; all else of its errors come from the world."""


class Opening(Enum):
    """What may be done to a ledger whose schema is not this fluxbatch's."""

    USE = "a new one is made, a file is upgraded; a shared one has to be upgraded by its owner"
    UPGRADE = "a shared one is upgraded as well"
    LOOK = "it stays as it is"


@dataclass(frozen=True, slots=True)
class Extent:
    """How much a ledger holds; None where it was not counted."""

    datasets: int | None = None
    attempts: int | None = None
    on_their_way: int | None = None
    unknown: int | None = None


class Store:
    """The ledger's database. Transactions are exclusive for writers; readers see the last commit.

    `url` is where it lies, without a password. LedgerError when it cannot be opened, read or written.
    """

    def __init__(self, url: str, opening: Opening = Opening.USE, outages: Outages | None = None) -> None:
        """`outages` says how long a server may be away, once it is open. None: not at all."""
        self.url = _shown(url)
        self.outages = outages or Outages()
        self.upgraded_from: int | None = None
        """The schema that the ledger had, where opening it has upgraded it."""
        try:
            self._engine = _open(url, opening)
            with ExitStack() as on_failure:
                on_failure.callback(self.close)
                self._agree(opening)
                on_failure.pop_all()
        except (sa.exc.SQLAlchemyError, OSError, ImportError) as error:
            reason = error.orig if isinstance(error, sa.exc.DBAPIError) else error
            raise LedgerError(
                f"the ledger {self.url} cannot be opened: {reason}; "
                "check --ledger, which is written like sqlite:////home/me/ledger.sqlite3 or "
                "postgresql://me:password@host/ledger"
            ) from error

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Read and write; durable when the block has ended, undone when it raises.

        LedgerAway when its server was lost on the way: then what became of the block is not known (`marks.py`).
        """
        with self._failures_named(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Read only, all of it as it was at one moment; never waits for a writer."""
        options: dict[str, object] = {"fluxbatch_reading": True}
        if self._engine.dialect.name == "postgresql":  # SQLite's readers always see one moment
            options["isolation_level"] = "REPEATABLE READ"
        with self._failures_named(), self._engine.connect().execution_options(**options) as connection:
            yield connection

    def read(self, operation: Callable[[Connection], T]) -> T:
        """What the operation reads, all of it as it was at one moment; asked again when the server was away."""

        def once() -> T:
            with self.reading() as tx:
                return operation(tx)

        return self.outages.through(once)

    @contextmanager
    def _failures_named(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.DBAPIError as error:
            passing = postgres.passing(self.url, error) if self._engine.dialect.name == "postgresql" else None
            if passing is not None:
                raise passing from error
            if isinstance(error, _BUGS):
                raise
            raise LedgerError(
                f"the ledger {self.url} cannot be used: {error.orig}; look at the disk it lies on (and whether another "
                "program holds it), then run the same command again"
            ) from error

    def close(self) -> None:
        self._engine.dispose()

    def version(self) -> int | None:
        """The schema that the ledger has; None where there is none."""
        with self.reading() as tx:
            return schema.version_of(tx)

    def extent(self) -> Extent:
        """How much the ledger holds."""
        count = sa.func.count().label("rows")
        states = sa.select(attempts.c.state, count).group_by(attempts.c.state)
        with self.reading() as tx:
            each = {row.state: int(row.rows) for row in tx.execute(states)}
            number: int = tx.execute(sa.select(count).select_from(datasets)).scalar_one()
        return Extent(number, sum(each.values()), each.get(State.SENT, 0), each.get(State.UNKNOWN, 0))

    def _agree(self, opening: Opening) -> None:
        """Make a new ledger, upgrade an older one where that may be, refuse any other."""
        with self._engine.connect().execution_options(fluxbatch_reading=True) as tx:
            found = schema.version_of(tx)
        if found == SCHEMA_VERSION or opening is Opening.LOOK:
            return
        # A file is its user's. A database is shared: no worker changes it in the night under the others.
        if found is not None and opening is Opening.USE and self._engine.dialect.name == "postgresql":
            raise schema.unfit(self.url, found)
        with self._engine.begin() as tx:
            before = schema.make_or_upgrade(tx, self.url)
        if before not in (None, SCHEMA_VERSION):
            self.upgraded_from = before


def _shown(url: str) -> str:
    try:
        return postgres.shown(sa.make_url(url))
    except sa.exc.ArgumentError:
        return "that was given"  # not an address, so a password in it could not be told


def file_of(url: str) -> Path | None:
    """The file of a SQLite ledger; None for any other database, and for what is no address."""
    try:
        given = sa.make_url(url)
    except sa.exc.ArgumentError:
        return None
    is_file = given.get_backend_name() == "sqlite" and given.database not in (None, "", ":memory:")
    return Path(str(given.database)) if is_file else None


def folder_of(url: str) -> Path | None:
    """The folder that a SQLite ledger lies in; None for any other database, and for what is no address."""
    file = file_of(url)
    return None if file is None else file.parent


def _open(url: str, opening: Opening) -> Engine:
    address = sa.make_url(url)
    if postgres.is_ours(address):
        return postgres.open_postgres(address, is_patient=opening is Opening.UPGRADE)
    engine = sa.create_engine(address)
    if engine.dialect.name != "sqlite":
        return engine
    if engine.url.database:
        Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)

    @sa.event.listens_for(engine, "connect")
    def _on_connect(connection: object, _record: object) -> None:
        # SQLAlchemy's events begin and end transactions; the driver must not begin its own (lazy) ones.
        connection.isolation_level = None  # type: ignore[attr-defined]
        assert engine.dialect.dbapi is not None
        _set_up(connection, engine.dialect.dbapi.OperationalError)

    @sa.event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("fluxbatch_reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _set_up(connection: Any, busy: type[Exception]) -> None:
    """Wait for others, write ahead, sync every commit. Several that open a new ledger at once all want to switch it to
    write-ahead; SQLite then tells one that it is busy without waiting, so it is asked again."""
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    until_s = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            break
        except busy as error:
            if "locked" not in str(error) or time.monotonic() > until_s:
                raise
            time.sleep(ASK_AGAIN_S)
    connection.execute("PRAGMA synchronous=FULL")


def advance(tx: Connection, account: str, count: int, interval_us: int, now_us: int, horizon_us: int) -> Any:
    """The statement that takes the next `count` moments of the account's pace, from now on at the earliest.

    A pace that stands further ahead than the horizon was written by a clock that has since jumped back; after one
    horizon (a whole window) without a request, nothing that was sent before can matter any more.
    """
    next_at = paces.c.next_at_us
    first = sa.case((next_at > now_us + horizon_us, now_us + horizon_us), (next_at < now_us, now_us), else_=next_at)
    taken_us = count * interval_us
    entry = insert_into(tx, paces).values(account=account, next_at_us=now_us + taken_us)
    return entry.on_conflict_do_update(index_elements=["account"], set_={"next_at_us": first + taken_us})


def recall(tx: Connection, account: str, model: str) -> Learned | None:
    """What an earlier run learned about the model on this account."""
    where = (learned.c.account == account) & (learned.c.model == model)
    row = tx.execute(sa.select(learned).where(where)).first()
    return None if row is None else Learned(row.in_flight, row.is_goal, row.rate_per_minute, row.latency_s)


def remember(tx: Connection, account: str, model: str, what: Learned) -> None:
    """Keep what this run learned, for the next."""
    values = asdict(what)
    entry = insert_into(tx, learned).values(account=account, model=model, **values)
    tx.execute(entry.on_conflict_do_update(index_elements=["account", "model"], set_=values))


def open_run(tx: Connection, run: str, dataset: str, manifest: str, now_us: int) -> None:
    """Note that a run has begun."""
    tx.execute(sa.insert(runs).values(run=run, dataset=dataset, manifest=manifest, started_at_us=now_us))


def close_run(tx: Connection, run: str, stopped_by: str | None, summary: str, now_us: int) -> None:
    """Note how the run ended; `summary` is its JSON."""
    values = {"ended_at_us": now_us, "stopped_by": stopped_by, "summary": summary}
    tx.execute(sa.update(runs).where(runs.c.run == run).values(**values))


@dataclass(frozen=True, slots=True)
class Run:
    """A run that has begun. `summary`: how it ended; None while it has not."""

    run: str
    summary: Mapping[str, Any] | None


def run_of(tx: Connection, run: str) -> Run | None:
    """What is known of a run; None when it has not begun."""
    row = tx.execute(sa.select(runs.c.summary).where(runs.c.run == run)).first()
    return None if row is None else Run(run, None if row.summary is None else json.loads(row.summary))


def last_runs(tx: Connection, dataset: str, count: int) -> list[sa.Row[tuple[object, ...]]]:
    """The dataset's latest runs, newest first."""
    query = sa.select(runs).where(runs.c.dataset == dataset).order_by(runs.c.started_at_us.desc()).limit(count)
    return list(tx.execute(query))
