"""A ledger on PostgreSQL: how its address is read, and how its server is reached.

psycopg rather than asyncpg, because one thread commits for all who wait, and a plain blocking driver is the simplest
thing that can be waited for in a thread. An address that names asyncpg (Prefect's own setting does) is taken as well.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine

from fluxbatch.errors import LedgerError

DRIVER = "postgresql+psycopg"
NAMES = frozenset({"postgres", "postgresql", DRIVER, "postgresql+asyncpg"})
SECRETS = frozenset({"password", "sslpassword", "passfile", "sslkey"})
"""What libpq takes from an address's query, and nobody is to read in a log."""


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


def open_postgres(url: URL) -> Engine:
    """An engine for it. LedgerError when its driver is not installed."""
    try:
        return sa.create_engine(driven(url))
    except ModuleNotFoundError as error:
        raise LedgerError(
            f"the ledger {shown(url)} needs PostgreSQL's driver: pip install 'fluxbatch[postgres]'"
        ) from error
