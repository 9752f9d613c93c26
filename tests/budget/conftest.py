"""The ledger's contract is tested on every kind of database that there is: SQLite, and PostgreSQL where one is given.

FLUXBATCH_TEST_POSTGRES is the address of an empty database that may be emptied (postgresql+psycopg://…).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from fluxbatch.budget.store import Store
from fluxbatch.budget.tables import metadata
from tests.budget.budget_kit import POSTGRES, Books, url_of

KINDS = ["sqlite", *(["postgresql"] if POSTGRES else [])]


@pytest.fixture(params=KINDS)
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a ledger that nobody has opened."""
    if request.param == "sqlite":
        yield url_of(tmp_path)
        return
    assert POSTGRES is not None
    engine = sa.create_engine(POSTGRES)
    metadata.drop_all(engine)
    yield POSTGRES
    metadata.drop_all(engine)
    engine.dispose()


@pytest.fixture
def ledger_books(ledger_url: str) -> Iterator[Books]:
    """A new ledger, with one dataset whose cap is ten bounds."""
    with closing(Store(ledger_url)) as store:
        opened = Books(store)
        opened.open()
        yield opened
