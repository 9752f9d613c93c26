"""The ledger's contract is tested on SQLite and on PostgreSQL, whose server is started here.

Where there is no PostgreSQL its tests are skipped and say so. FLUXBATCH_TEST_POSTGRES is the address of a database to
use instead (postgresql://…): each test makes a schema of its own in it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fluxbatch.budget.store import Store
from tests.budget.budget_kit import Books, url_of
from tests.postgres_kit import Cluster, cluster, own_schema, why_not

KINDS = ["sqlite", "postgresql"]


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[Cluster]:
    """A server for this test process."""
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with cluster() as one:
        yield one


@pytest.fixture(scope="session")
def postgres_base(request: pytest.FixtureRequest) -> str:
    """The address of a database in which schemas can be made."""
    given = os.environ.get("FLUXBATCH_TEST_POSTGRES")
    if given:
        return given
    found: Cluster = request.getfixturevalue("postgres_cluster")
    return found.url


@pytest.fixture
def postgres_url(postgres_base: str) -> Iterator[str]:
    """The address of a ledger on PostgreSQL that nobody has opened."""
    with own_schema(postgres_base) as url:
        yield url


@pytest.fixture(params=KINDS)
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
