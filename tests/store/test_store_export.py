"""A dataset in a store is asked and exported as one on a disk is, and what the store refuses is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxbatch.errors import StorageError
from fluxbatch.query import Rows
from tests.export.export_kit import bytes_of, exported
from tests.query.query_kit import dataset_of, keys_scored, values
from tests.store.store_kit import Bucket

pytestmark = pytest.mark.usefixtures("at_home")


@pytest.mark.parametrize("to", ["hf", "images"])
def test_an_export_of_a_store_is_that_of_a_disk(bucket: Bucket, tmp_path: Path, to: str) -> None:
    stored, kept = dataset_of(bucket.at("cats"), (2, 1)), dataset_of(tmp_path / "cats", (2, 1))
    exported(stored, tmp_path / "stored" / "out", to)
    exported(kept, tmp_path / "kept" / "out", to)
    found, expected = bytes_of(tmp_path / "stored"), bytes_of(tmp_path / "kept")
    for one in (found, expected):
        one.pop("out/.fluxbatch-export.json")  # names the parts, which are called by their writer in a store
    assert found == expected


def test_rows_of_a_store_have_their_sidecars(bucket: Bucket) -> None:
    dataset = dataset_of(bucket.at("cats"), (2, 1))
    keys_scored(dataset, [3.0, 1.0, 2.0])
    rows = Rows(dataset)
    assert values(rows, "row", "score", where="score > 1", order_by="score") == [(3, 2.0), (1, 3.0)]


def test_a_store_that_refuses_is_a_storage_error_and_the_export_goes_on_later(bucket: Bucket, tmp_path: Path) -> None:
    dataset = dataset_of(bucket.at("cats"), (2, 1))
    second = dataset.parts[1].file.rpartition("/")[2]
    refused = bucket.server.refusing(lambda call: call.method == "GET" and call.name.endswith(second), 403)
    with refused, pytest.raises(StorageError, match="these keys may not do this"):
        exported(dataset, tmp_path / "out", "images")
    assert not (tmp_path / "out").exists()
    assert exported(dataset, tmp_path / "out", "images").pictures == 3
