from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxbatch.simulator import Simulator
from tests.e2e.e2e_kit import CALM, Desk, calm


@pytest.fixture(scope="session")
def shared_simulator() -> Iterator[Simulator]:
    with Simulator(calm(), in_thread=True) as simulator:
        yield simulator


@pytest.fixture
def simulator(shared_simulator: Simulator) -> Simulator:
    """The shared simulator, calm and with an empty bill."""
    back = {"faults": {}, "outages": [], "capacity": None, "picture_bytes": None, "models": {}, "price_factor": 1}
    shared_simulator.change(**CALM, **back, analytics_lag_s=0)
    shared_simulator.reset()
    return shared_simulator


@pytest.fixture
def desk(tmp_path: Path, simulator: Simulator) -> Iterator[Desk]:
    desk = Desk(tmp_path, simulator)
    yield desk
    desk.close()
