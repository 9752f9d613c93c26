"""The ledger's tables. Amounts are integers (nano-dollars, centineurons), times are microseconds since 1970 in UTC."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    cast,
    extract,
    func,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

SCHEMA_VERSION = 6
"""The number of the last revision in migrations/versions: what that folder makes is what stands here (a test looks)."""

metadata = MetaData()

schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True))

HOLDINGS = tuple(f"{what}_{unit}" for what in ("spent", "reserved", "unknown") for unit in ("nano_usd", "centineurons"))


def _holdings() -> list[Column[int]]:
    """What a dataset or a window holds, kept beside the attempts so that the guard need not add them up."""
    return [Column(name, BigInteger, nullable=False, server_default=text("0")) for name in HOLDINGS]


datasets = Table(
    "datasets",
    metadata,
    Column("dataset", String, primary_key=True),
    Column("account", String, nullable=False),
    Column("folder", String, nullable=False),
    Column("cap_nano_usd", BigInteger, nullable=False),
    *_holdings(),
)

attempts = Table(
    "attempts",
    metadata,
    Column("dataset", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("run", String, nullable=False),
    Column("model", String, nullable=False),
    Column("bound_nano_usd", BigInteger, nullable=False),
    Column("bound_centineurons", BigInteger, nullable=False),
    Column("state", String, nullable=False),
    Column("end", String),
    Column("actual_nano_usd", BigInteger),
    Column("actual_centineurons", BigInteger),
    Column("sent_at_us", BigInteger, nullable=False),
    Column("resolved_at_us", BigInteger),
    Column("code", String),
    Column("message", String),
    Column("request_id", String),
    sqlite_with_rowid=False,
)

# Recovery and `status` ask for the few attempts whose money is open; a partial index keeps that free of the many.
Index(
    "open_attempts",
    attempts.c.dataset,
    attempts.c.state,
    sqlite_where=attempts.c.state.in_(("sent", "unknown")),
    postgresql_where=attempts.c.state.in_(("sent", "unknown")),
)

# Caps are an account's, a project's or a run's, beside each dataset's own; windows are kept without a cap as well, so
# that one that is set later counts what was spent before. An attempt belongs to the day and month in which it was sent.
# What has no first day (a total) has "" there.
caps = Table(
    "caps",
    metadata,
    Column("scope", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("period", String, primary_key=True),
    Column("cap_nano_usd", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

windows = Table(
    "windows",
    metadata,
    Column("scope", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("period", String, primary_key=True),
    Column("first_day", String, primary_key=True),
    *_holdings(),
    Column("closed_by", String),  # the run that took over from the run whose window this is: nothing more is admitted
    sqlite_with_rowid=False,
)

# What was changed about a cap, when: before and after, None where there was none.
cap_changes = Table(
    "cap_changes",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("scope", String, nullable=False),
    Column("name", String, nullable=False),
    Column("period", String, nullable=False),
    Column("before_nano_usd", BigInteger),
    Column("after_nano_usd", BigInteger),
)

# Who pays for what a run sends. A run that is not here is paid for by the account of its dataset; when the dataset goes
# on under another account, its runs are written down here first, so that what was spent stays with who paid.
payers = Table(
    "payers",
    metadata,
    Column("dataset", String, primary_key=True),
    Column("run", String, primary_key=True),
    Column("account", String, nullable=False),
    Column("project", String),
    Column("holder", String),
    Column("account_day_nano_usd", BigInteger),
    sqlite_with_rowid=False,
)

# Who is working on a dataset: one holder, with one or several runs.
leases = Table(
    "leases",
    metadata,
    Column("dataset", String, primary_key=True),
    Column("run", String, primary_key=True),
    Column("holder", String, nullable=False),
    Column("seat", String),
    Column("host", String, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("machine", String, nullable=False),
    Column("born", String, nullable=False),
    Column("lock_file", String),
    Column("taken_at_us", BigInteger, nullable=False),
    Column("heartbeat_at_us", BigInteger, nullable=False),
    Column("expires_at_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# A decision about an unknown attempt is a fact of its own: the attempt keeps how it ended.
settlements = Table(
    "settlements",
    metadata,
    Column("dataset", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("state", String, nullable=False),
    Column("actual_nano_usd", BigInteger, nullable=False),
    Column("actual_centineurons", BigInteger, nullable=False),
    Column("why", String, nullable=False),
)

booked_parts = Table(
    "booked_parts",
    metadata,
    Column("dataset", String, primary_key=True),
    Column("sha256", String, primary_key=True),
)

runs = Table(
    "runs",
    metadata,
    Column("run", String, primary_key=True),
    Column("dataset", String, nullable=False),
    Column("manifest", String, nullable=False),
    Column("started_at_us", BigInteger, nullable=False),
    Column("ended_at_us", BigInteger),
    Column("stopped_by", String),
    Column("summary", String),
)

paces = Table(
    "paces",
    metadata,
    Column("account", String, primary_key=True),
    Column("next_at_us", BigInteger, nullable=False),
)

learned = Table(
    "learned",
    metadata,
    Column("account", String, primary_key=True),
    Column("model", String, primary_key=True),
    Column("in_flight", Integer, nullable=False),
    Column("is_goal", Boolean, nullable=False),
    Column("rate_per_minute", Float),
    Column("latency_s", Float),
)

# A journal's last committed batch: where the answer to a COMMIT is lost with its connection, this is looked at.
marks = Table(
    "marks",
    metadata,
    Column("journal", String, primary_key=True),
    Column("batch", BigInteger, nullable=False),
    Column("at_us", BigInteger, nullable=False),
)

# What one process was refused and has learned by it, for the others that share the account.
lessons = Table(
    "lessons",
    metadata,
    Column("account", String, primary_key=True),
    Column("model", String, primary_key=True),
    Column("kind", String, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("learner", String, nullable=False),
)

# What was said to the runs of one holder while they are under way: the last word about each thing, and by whom.
# `number` counts what was said. `last_at_us` is the latest moment that was given under `rate_per_minute`.
wishes = Table(
    "wishes",
    metadata,
    Column("dataset", String, primary_key=True),
    Column("holder", String, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("paused_by", String),
    Column("paused_at_us", BigInteger),
    Column("rate_per_minute", Float),
    Column("in_flight_max", Integer),
    Column("stopped_by", String),
    Column("stopped_at_us", BigInteger),
    Column("last_at_us", BigInteger),
    sqlite_with_rowid=False,
)

# What a run that is under way tells of itself every second; `taken` is the last wish that it has taken up.
progress = Table(
    "progress",
    metadata,
    Column("dataset", String, primary_key=True),
    Column("run", String, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("taken", BigInteger, nullable=False),
    Column("told", String, nullable=False),
    sqlite_with_rowid=False,
)


def insert_into(tx: Connection, table: Table) -> Any:
    """An INSERT that can say what to do about a row that is there already, in the database's own dialect."""
    return (postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert)(table)


def clock(tx: Connection) -> Any:
    """The database's own time in microseconds since 1970, as an expression."""
    if tx.dialect.name == "postgresql":
        return cast(extract("epoch", func.clock_timestamp()) * 1_000_000, BigInteger)
    return cast((func.julianday("now") - 2_440_587.5) * 86_400_000, BigInteger) * 1_000
