"""Schema 5: each chunk of a batch has a seat, and one run at a time sits on it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
ONLY_ADDS = True


def upgrade() -> None:
    op.add_column("leases", sa.Column("seat", sa.String))
