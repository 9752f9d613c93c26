from __future__ import annotations

from pathlib import Path

import pytest

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.spool import Spool
from tests.dataset.dataset_kit import NO_COLUMNS, WHEN


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset.create(tmp_path / "pictures", NO_COLUMNS, True, created_at=WHEN, dataset_id="ab" * 16)


@pytest.fixture
def spool(dataset: Dataset) -> Spool:
    return dataset.spool()
