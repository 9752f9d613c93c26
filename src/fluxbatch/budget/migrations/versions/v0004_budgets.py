"""Schema 4: caps and windows of accounts, projects and runs; who pays for a run; leases; changes of caps."""

from __future__ import annotations

from collections import Counter
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
ONLY_ADDS = False

_HOLDS = {"sent": "reserved", "posted": "spent", "unknown": "unknown"}
_UNITS = ("nano_usd", "centineurons")
_HOLDINGS = tuple(f"{what}_{unit}" for what in ("spent", "reserved", "unknown") for unit in _UNITS)


def upgrade() -> None:
    _caps()
    _windows()
    _payers()
    op.create_table(
        "cap_changes",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("scope", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("period", sa.String, nullable=False),
        sa.Column("before_nano_usd", sa.BigInteger),
        sa.Column("after_nano_usd", sa.BigInteger),
    )
    op.create_table(
        "leases",
        sa.Column("dataset", sa.String, primary_key=True),
        sa.Column("run", sa.String, primary_key=True),
        *[sa.Column(name, sa.String, nullable=False) for name in ("holder", "host")],
        sa.Column("pid", sa.Integer, nullable=False),
        *[sa.Column(name, sa.String, nullable=False) for name in ("machine", "born")],
        sa.Column("lock_file", sa.String),
        *[sa.Column(f"{what}_at_us", sa.BigInteger, nullable=False) for what in ("taken", "heartbeat", "expires")],
        sqlite_with_rowid=False,
    )


def _caps() -> None:
    caps = [
        {"scope": "account", "name": row["account"], **row}
        for row in _rows("caps", "account", "period", "cap_nano_usd")
    ]
    op.drop_table("caps")
    table = op.create_table(
        "caps",
        *[sa.Column(name, sa.String, primary_key=True) for name in ("scope", "name", "period")],
        sa.Column("cap_nano_usd", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    _fill(table, caps)


def _windows() -> None:
    """Those of the accounts stay as they are; each run's is added up from its attempts."""
    old = _rows("windows", "account", "period", "first_day", *_HOLDINGS)
    windows = [{"scope": "account", "name": row["account"], **row} for row in old]
    op.drop_table("windows")
    table = op.create_table(
        "windows",
        *[sa.Column(name, sa.String, primary_key=True) for name in ("scope", "name", "period", "first_day")],
        *[sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0")) for name in _HOLDINGS],
        sa.Column("closed_by", sa.String),
        sqlite_with_rowid=False,
    )
    _fill(table, [*windows, *_of_runs()])


def _of_runs() -> list[dict[str, Any]]:
    # The table as it was then: that of tables.py may have grown since.
    names = ("run", "state", *(f"{which}_{unit}" for which in ("bound", "actual") for unit in _UNITS))
    attempts = sa.table("attempts", *(sa.column(name, sa.BigInteger) for name in names))
    run, state = (sa.type_coerce(attempts.c[name], sa.String).label(name) for name in ("run", "state"))
    posted = state == "posted"
    sums = [
        sa.func.sum(sa.case((posted, attempts.c[f"actual_{unit}"]), else_=attempts.c[f"bound_{unit}"])).label(unit)
        for unit in _UNITS
    ]
    found: dict[str, Counter[str]] = {}
    for row in op.get_bind().execute(sa.select(run, state, *sums).where(state != "void").group_by(run, state)):
        held = found.setdefault(row.run, Counter())
        for unit in _UNITS:
            held[f"{_HOLDS[row.state]}_{unit}"] += int(getattr(row, unit))
    total = {"scope": "run", "period": "total", "first_day": ""}
    return [{**total, "name": name} | {column: held[column] for column in _HOLDINGS} for name, held in found.items()]


def _payers() -> None:
    payers = _rows("former_accounts", "dataset", "run", "account")
    op.drop_table("former_accounts")
    table = op.create_table(
        "payers",
        sa.Column("dataset", sa.String, primary_key=True),
        sa.Column("run", sa.String, primary_key=True),
        sa.Column("account", sa.String, nullable=False),
        sa.Column("project", sa.String),
        sa.Column("holder", sa.String),
        sa.Column("account_day_nano_usd", sa.BigInteger),
        sqlite_with_rowid=False,
    )
    _fill(table, payers)


def _rows(table: str, *columns: str) -> list[dict[str, Any]]:
    names: list[Any] = [sa.column(name) for name in columns]
    found = sa.select(*names).select_from(sa.table(table))
    return [dict(row) for row in op.get_bind().execute(found).mappings()]


def _fill(table: Any, rows: list[dict[str, Any]]) -> None:
    names = set(table.c.keys())
    if rows:
        op.bulk_insert(table, [{name: value for name, value in row.items() if name in names} for row in rows])
