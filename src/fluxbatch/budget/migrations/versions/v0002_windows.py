"""Schema 2: settlements, and the account's caps, days and months, which are filled from the attempts."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
ONLY_ADDS = True

_US_PER_DAY = 86_400_000_000
_HOLDS = {"sent": "reserved", "posted": "spent", "unknown": "unknown"}
_UNITS = ("nano_usd", "centineurons")
_HOLDINGS = tuple(f"{what}_{unit}" for what in ("spent", "reserved", "unknown") for unit in _UNITS)


def upgrade() -> None:
    op.create_table(
        "settlements",
        sa.Column("dataset", sa.String, primary_key=True),
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("actual_nano_usd", sa.BigInteger, nullable=False),
        sa.Column("actual_centineurons", sa.BigInteger, nullable=False),
        sa.Column("why", sa.String, nullable=False),
    )
    op.create_table(
        "caps",
        sa.Column("account", sa.String, primary_key=True),
        sa.Column("period", sa.String, primary_key=True),
        sa.Column("cap_nano_usd", sa.BigInteger, nullable=False),
    )
    windows = op.create_table(
        "windows",
        sa.Column("account", sa.String, primary_key=True),
        sa.Column("period", sa.String, primary_key=True),
        sa.Column("first_day", sa.String, primary_key=True),
        *[sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0")) for name in _HOLDINGS],
        sqlite_with_rowid=False,
    )
    if found := _windows():
        op.bulk_insert(windows, found)
    op.create_table(
        "former_accounts",
        sa.Column("dataset", sa.String, primary_key=True),
        sa.Column("run", sa.String, primary_key=True),
        sa.Column("account", sa.String, nullable=False),
        sqlite_with_rowid=False,
    )


def _windows() -> list[dict[str, object]]:
    """Each account's days and months, added up from the attempts that were sent in them."""
    found: dict[tuple[str, str, str], Counter[str]] = {}
    for row in op.get_bind().execute(_by_day()):
        day = date(1970, 1, 1) + timedelta(days=row.day)
        for period, first in (("day", day), ("month", day.replace(day=1))):
            held = found.setdefault((row.account, period, first.isoformat()), Counter())
            for unit in _UNITS:
                held[f"{_HOLDS[row.state]}_{unit}"] += int(getattr(row, unit))
    return [
        {"account": account, "period": period, "first_day": first} | {name: held[name] for name in _HOLDINGS}
        for (account, period, first), held in found.items()
    ]


def _by_day() -> sa.Select[tuple[object, ...]]:
    # The tables as they were then: those of tables.py may have grown since.
    datasets = sa.table("datasets", sa.column("dataset"), sa.column("account"))
    names = ("dataset", "state", "sent_at_us", *(f"{which}_{unit}" for which in ("bound", "actual") for unit in _UNITS))
    attempts = sa.table("attempts", *(sa.column(name, sa.BigInteger) for name in names))
    state = sa.type_coerce(attempts.c.state, sa.String)
    day = (attempts.c.sent_at_us // _US_PER_DAY).label("day")
    sums = [
        sa.func.sum(
            sa.case((state == "posted", attempts.c[f"actual_{unit}"]), else_=attempts.c[f"bound_{unit}"])
        ).label(unit)
        for unit in _UNITS
    ]
    joined = attempts.join(datasets, sa.type_coerce(attempts.c.dataset, sa.String) == datasets.c.dataset)
    query = sa.select(datasets.c.account, day, state.label("state"), *sums).select_from(joined)
    return query.where(state != "void").group_by(datasets.c.account, day, state)
