"""What several rooms' tests share: a PostgreSQL server of this test process's own.

FLUXBATCH_TEST_POSTGRES is the address of a database to use instead (postgresql://…): each test makes a schema of its
own in it. Where there is neither, what needs PostgreSQL is skipped and says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.postgres_kit import Cluster, cluster, own_schema, why_not

LONGEST = (
    "tests/flow/test_flow_deployment.py",
    "tests/flow/test_flow_chunks.py",
    "tests/crash/test_crash_random",
    "tests/simulation/test_simulation_even_seeds.py",
    "tests/simulation/test_simulation_odd_seeds.py",
    "tests/crash/",
    "tests/store/test_store_kills.py",
    "tests/power/test_power_cut",
)
"""What takes minutes, by the beginning of its path, the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: one that is begun when the others are done keeps everybody waiting."""
    items.sort(key=lambda item: next((at for at, path in enumerate(LONGEST) if item.nodeid.startswith(path)), 99))


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[Cluster]:
    """A server that runs. Whoever stops it starts it again."""
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
