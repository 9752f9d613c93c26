from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxbatch.simulator import Simulator
from tests.e2e.e2e_kit import Desk, calm


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Before Prefect is imported: nothing of the user's own profiles is read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect-home")))
        import flows  # noqa: F401 - sets what Prefect reads when it is imported

        yield


@pytest.fixture(scope="module")
def prefect_server(prefect_home: None) -> Iterator[None]:
    """One server for a file's tests: it takes 15 to 30 s to start. Not for the session: as long as it lives, Prefect's
    thread pings it, with Python's global random numbers, and Hypothesis takes that for the next file's test."""
    from prefect.testing.utilities import prefect_test_harness  # noqa: TID251 - the flow's tests run in Prefect

    with prefect_test_harness(server_startup_timeout=90):
        gc.freeze()  # what is here by now is not gone through after each test
        yield
        gc.unfreeze()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Simulator(calm(), in_thread=True) as simulator:
        desk = Desk(tmp_path, simulator)
        yield desk
        desk.close()


@pytest.fixture(autouse=True)
def _prefects_own_sockets() -> Iterator[None]:
    """Prefect leaves sockets to its server open; they are collected here, where the warning is expected."""
    yield
    gc.collect()
