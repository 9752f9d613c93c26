from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.budget.budget_kit import Books, books


@pytest.fixture
def ledger_books(tmp_path: Path) -> Iterator[Books]:
    """A new ledger, with one dataset whose cap is ten bounds."""
    with books(tmp_path) as opened:
        opened.open()
        yield opened
