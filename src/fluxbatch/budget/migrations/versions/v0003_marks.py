"""Schema 3: the marks of committed batches, and what one process has learned for the others of its account."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
ONLY_ADDS = True


def upgrade() -> None:
    op.create_table(
        "marks",
        sa.Column("journal", sa.String, primary_key=True),
        sa.Column("batch", sa.BigInteger, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "lessons",
        sa.Column("account", sa.String, primary_key=True),
        sa.Column("model", sa.String, primary_key=True),
        sa.Column("kind", sa.String, primary_key=True),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("learner", sa.String, nullable=False),
        sa.Column("value", sa.Float),
    )
