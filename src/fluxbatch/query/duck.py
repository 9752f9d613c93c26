"""DuckDB, locked in: it sees the tables that it is given, and no file, no network, no variable of the environment.

What is asked of it comes from outside (`--where`), so nothing is left that a condition could open: external access is
off, and the settings cannot be changed any more (duckdb.org, "Securing DuckDB").
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import pyarrow as pa

from fluxbatch.errors import UsageError

TABLE = '"the rows"'
"""What a batch of rows is called while it is asked: no column's alias has a space."""

_CLOSED: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "enable_external_access": "false",
    "python_enable_replacements": "false",
    "threads": "1",  # a batch is small: threads would cost more than they bring, and mix the order
}
_SETTINGS = ("SET TimeZone='UTC'", "SET max_expression_depth=200", "SET lock_configuration=true")

Duck = duckdb.DuckDBPyConnection


def opened() -> Duck:
    """A database in memory. One a `Rows`; each question takes a cursor of it, which another thread may use beside."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        duck = duckdb.connect(":memory:", config=_CLOSED)
    for setting in _SETTINGS:
        duck.execute(setting)
    return duck


@contextmanager
def told(asked: str) -> Iterator[None]:
    """What DuckDB says no to in the block becomes a UsageError about what was asked: its first line says what it is."""
    try:
        yield
    except duckdb.Error as error:
        said = str(error).strip().partition("\n")[0]
        raise UsageError(f"{asked}: {said}") from error


def asked(duck: Duck, batch: pa.RecordBatch, sql: str) -> pa.Table:
    """The answer to a SELECT over `TABLE`, which is this batch."""
    duck.register(TABLE.strip('"'), batch)
    try:
        return duck.sql(sql).to_arrow_table()
    finally:
        duck.unregister(TABLE.strip('"'))


def kind(duck: Duck, batch: pa.RecordBatch, expression: str) -> str:
    """The type of an expression over `TABLE`, which is this batch, as DuckDB calls it."""
    duck.register(TABLE.strip('"'), batch)
    try:
        return str(duck.sql(f"SELECT {expression} FROM {TABLE}").types[0])  # noqa: S608 - written by conditions.py
    finally:
        duck.unregister(TABLE.strip('"'))


def told_to(duck: Duck, batch: pa.RecordBatch | pa.Table, sql: str) -> None:
    """Do something else with `TABLE`, which is this batch: keep it."""
    duck.register(TABLE.strip('"'), batch)
    try:
        duck.execute(sql)
    finally:
        duck.unregister(TABLE.strip('"'))
