"""A check of a dataset that lies in a store."""

from __future__ import annotations

import pytest

from fluxbatch.checks.check import check
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.place import Place
from fluxbatch.dataset.verify import verify_dataset
from fluxbatch.errors import StorageError
from fluxbatch.query import Rows
from fluxbatch.query.sidecars import sidecar_file
from tests.checks.check_kit import BLACK, Reds, add_part, dataset_at, key, picture
from tests.store.store_kit import Bucket, a_put

pytestmark = pytest.mark.usefixtures("at_home")


def test_it_is_checked_where_it_lies_and_only_what_is_new(home: Place) -> None:
    dataset = dataset_at(home)
    add_part(dataset, picture(1), BLACK, picture(1, quality=95))
    reds = Reds()
    found = check(home, [reds])
    assert (found.suspects, [group.others for group in found.groups]) == ({"blank": [key(2)]}, [(key(3),)])
    add_part(dataset, picture(7))
    check(home, [reds])
    assert reds.given == [f"picture {row}" for row in (1, 2, 3, 4)]
    opened = Dataset.open(home)
    assert (len(opened.parts), opened.unlisted(), verify_dataset(opened)) == (2, [], [])
    assert Rows(opened).count("red IS NOT NULL AND duplicate_group IS NULL") == 2


def test_a_store_that_takes_nothing_is_said_and_what_was_there_stays(bucket: Bucket) -> None:
    dataset = dataset_at(bucket.at("cats"))
    add_part(dataset, picture(1), picture(1, quality=95))
    check(dataset.folder)
    before = sidecar_file(dataset, "duplicates").read_bytes()
    add_part(dataset, picture(2))
    with (
        bucket.server.refusing(a_put("duplicates.parquet"), 403),
        pytest.raises(StorageError, match=r"duplicates\.parquet"),
    ):
        check(dataset.folder)
    assert sidecar_file(dataset, "duplicates").read_bytes() == before
    assert len(check(dataset.folder).groups) == 1
