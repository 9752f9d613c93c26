"""What the chunks of a batch have made is moved into a dataset in a store, which stops answering at each request."""

from __future__ import annotations

from collections import Counter

import pytest

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.chunks import chunks_of
from fluxbatch.dataset.recovery import recover
from fluxbatch.dataset.shards import seal
from fluxbatch.dataset.verify import verify_dataset
from fluxbatch.errors import StorageError
from tests.dataset.dataset_kit import NO_COLUMNS, SEALED_AT, spool_many
from tests.power.power_check import pictures_of, spooled_of
from tests.soak import IS_SOAK
from tests.store.store_kit import Bucket, Call

pytestmark = pytest.mark.usefixtures("at_home")


def filled(bucket: Bucket, name: str) -> Dataset:
    dataset = Dataset.create(bucket.at(name), NO_COLUMNS, True)
    chunk = dataset.chunk("0001")
    spool = chunk.spool()
    seal(chunk, spool, spool_many(chunk, spool, 2), run_id="run-1", sealed_at=SEALED_AT)
    spool_many(chunk, spool, 2, first=3)
    return dataset


def test_a_store_that_stops_answering_at_any_request_loses_no_picture_and_doubles_none(bucket: Bucket) -> None:
    dataset = filled(bucket, "whole")
    bucket.server.forget()
    recover(dataset, dataset.spool())
    changes = [call for call in bucket.server.calls if call.method in ("PUT", "DELETE")]
    assert len(pictures_of(dataset)) == len(spooled_of(dataset)) == 2
    expected = Counter([*pictures_of(dataset), *spooled_of(dataset)])
    for last in range(0, len(changes), 1 if IS_SOAK else 4):
        dataset = filled(bucket, f"cut-{last}")
        done: list[Call] = []

        def is_beyond(call: Call, last: int = last, done: list[Call] = done) -> bool:
            if call.method in ("PUT", "DELETE"):
                done.append(call)
            return len(done) > last

        with bucket.server.refusing(is_beyond, 403), pytest.raises(StorageError):
            recover(dataset, dataset.spool())
        opened = Dataset.open(dataset.folder)
        found = recover(opened, opened.spool())
        assert found.quarantined == []
        assert Counter([*pictures_of(opened), *spooled_of(opened)]) == expected, f"after {last} changes"
        assert chunks_of(opened) == []
        assert verify_dataset(opened) == []
    assert len(changes) >= 8
