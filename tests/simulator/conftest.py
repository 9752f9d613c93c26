from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fluxbatch.simulator import SimulatorSettings
from fluxbatch.simulator.cloud import Platform
from tests.simulator.simulator_kit import AT_ONCE, Client


@pytest.fixture
def open_client() -> Iterator[Callable[..., Client]]:
    """A client of a platform of its own: `open_client(settings, clock=…, sleep=…)`."""
    platforms: list[Platform] = []

    def open_one(settings: SimulatorSettings = AT_ONCE, **seams: Any) -> Client:
        platforms.append(Platform(settings, **seams))
        return Client(platforms[-1])

    yield open_one
    for platform in platforms:
        platform.close()


@pytest.fixture
def client(open_client: Callable[..., Client]) -> Client:
    return open_client()
