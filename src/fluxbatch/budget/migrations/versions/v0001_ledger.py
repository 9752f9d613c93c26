"""Schema 1: datasets, attempts, booked parts, runs, the pace and what was learned."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
ONLY_ADDS = True
_OPEN = sa.text("state IN ('sent', 'unknown')")


def upgrade() -> None:
    op.create_table("schema_version", sa.Column("version", sa.Integer, primary_key=True))
    op.create_table(
        "datasets",
        sa.Column("dataset", sa.String, primary_key=True),
        sa.Column("account", sa.String, nullable=False),
        sa.Column("folder", sa.String, nullable=False),
        sa.Column("cap_nano_usd", sa.BigInteger, nullable=False),
        *[
            sa.Column(f"{what}_{unit}", sa.BigInteger, nullable=False, server_default=sa.text("0"))
            for what in ("spent", "reserved", "unknown")
            for unit in ("nano_usd", "centineurons")
        ],
    )
    _attempts()
    op.create_table(
        "booked_parts",
        sa.Column("dataset", sa.String, primary_key=True),
        sa.Column("sha256", sa.String, primary_key=True),
    )
    op.create_table(
        "runs",
        sa.Column("run", sa.String, primary_key=True),
        sa.Column("dataset", sa.String, nullable=False),
        sa.Column("manifest", sa.String, nullable=False),
        sa.Column("started_at_us", sa.BigInteger, nullable=False),
        sa.Column("ended_at_us", sa.BigInteger),
        sa.Column("stopped_by", sa.String),
        sa.Column("summary", sa.String),
    )
    op.create_table(
        "paces",
        sa.Column("account", sa.String, primary_key=True),
        sa.Column("next_at_us", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "learned",
        sa.Column("account", sa.String, primary_key=True),
        sa.Column("model", sa.String, primary_key=True),
        sa.Column("in_flight", sa.Integer, nullable=False),
        sa.Column("is_goal", sa.Boolean, nullable=False),
        sa.Column("rate_per_minute", sa.Float),
        sa.Column("latency_s", sa.Float),
    )


def _attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("dataset", sa.String, primary_key=True),
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("run", sa.String, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("bound_nano_usd", sa.BigInteger, nullable=False),
        sa.Column("bound_centineurons", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("end", sa.String),
        sa.Column("actual_nano_usd", sa.BigInteger),
        sa.Column("actual_centineurons", sa.BigInteger),
        sa.Column("sent_at_us", sa.BigInteger, nullable=False),
        sa.Column("resolved_at_us", sa.BigInteger),
        sa.Column("code", sa.String),
        sa.Column("message", sa.String),
        sa.Column("request_id", sa.String),
        sqlite_with_rowid=False,
    )
    op.create_index("open_attempts", "attempts", ["dataset", "state"], sqlite_where=_OPEN, postgresql_where=_OPEN)
