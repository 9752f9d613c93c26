"""The ledger's contract is tested on SQLite and on PostgreSQL (`tests/conftest.py`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fluxbatch.budget.store import Store
from tests.budget.budget_kit import Books, url_of


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a ledger that nobody has opened."""
    if request.param == "sqlite":
        return url_of(tmp_path)
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def ledger_books(ledger_url: str) -> Iterator[Books]:
    """A new ledger, with one dataset whose cap is ten bounds."""
    with closing(Store(ledger_url)) as store:
        opened = Books(store)
        opened.open()
        yield opened
