from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxbatch.budget.store import Store
from tests.dispatch.dispatch_kit import ledger_in


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A ledger on a real file."""
    with ledger_in(tmp_path) as opened:
        yield opened
