from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.power.power_kit import SharedLedger, home_in_memory, shared_ledger


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Each of thousands of starts warns of what it has found, and a failure would show them all."""
    logger = logging.getLogger("fluxbatch")
    before = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(before)


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder where a sync costs nothing: what is proved here does not depend on the disk below."""
    with home_in_memory() as folder:
        yield folder


@pytest.fixture
def shared(memory: Path) -> Iterator[SharedLedger]:
    with shared_ledger(memory) as one:
        yield one
