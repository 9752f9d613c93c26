from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.spool import Spool
from fluxbatch.simulator import Simulator
from tests.dataset.dataset_kit import NO_COLUMNS, WHEN
from tests.e2e.conftest import shared_simulator, simulator
from tests.e2e.e2e_kit import Desk
from tests.publish.hub_kit import TOKEN, StandIn

__all__ = ["shared_simulator", "simulator"]


@pytest.fixture
def hub() -> Iterator[StandIn]:
    with StandIn() as stand_in:
        yield stand_in


@pytest.fixture
def at_the_hub(tmp_path: Path, hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a user who is known to the stand-in, and to no other Hub."""
    # Read from the environment when huggingface_hub is first imported, which another test may have done already.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    return {
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": TOKEN,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }


@pytest.fixture
def desk(tmp_path: Path, simulator: Simulator, at_the_hub: dict[str, str]) -> Iterator[Desk]:
    desk = Desk(tmp_path, simulator, environment=at_the_hub)
    yield desk
    desk.close()


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset.create(tmp_path / "cats", NO_COLUMNS, False, created_at=WHEN, dataset_id="ab" * 16)


@pytest.fixture
def spool(dataset: Dataset) -> Spool:
    return dataset.spool()
