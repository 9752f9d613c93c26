"""Schema 6: what is said to a run that is under way, and what it tells of itself."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
ONLY_ADDS = True


def upgrade() -> None:
    op.create_table(
        "wishes",
        sa.Column("dataset", sa.String, primary_key=True),
        sa.Column("holder", sa.String, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("paused_by", sa.String),
        sa.Column("paused_at_us", sa.BigInteger),
        sa.Column("rate_per_minute", sa.Float),
        sa.Column("in_flight_max", sa.Integer),
        sa.Column("stopped_by", sa.String),
        sa.Column("stopped_at_us", sa.BigInteger),
        sa.Column("last_at_us", sa.BigInteger),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "progress",
        sa.Column("dataset", sa.String, primary_key=True),
        sa.Column("run", sa.String, primary_key=True),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("taken", sa.BigInteger, nullable=False),
        sa.Column("told", sa.String, nullable=False),
        sqlite_with_rowid=False,
    )
