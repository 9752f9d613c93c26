"""A dataset in an object store goes to the Hub as it lies there: no copy of it on this disk."""

from __future__ import annotations

import pytest

from fluxbatch.publish.publication import part_name
from tests.e2e.e2e_kit import Desk, rows
from tests.publish.conftest import at_the_hub, hub
from tests.publish.hub_kit import StandIn
from tests.store.store_kit import Bucket

__all__ = ["at_the_hub", "hub"]

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def test_parts_in_a_store_are_sent_from_there(
    stored: Desk, hub: StandIn, at_the_hub: dict[str, str], bucket: Bucket
) -> None:
    stored.environment |= at_the_hub
    address = f"s3://{bucket.name}/cats"
    run = ("--out", address, "--budget", "1", "--rows-per-shard", "2")
    stored.command("run", str(stored.manifest(rows(3))), *run).ended(0)
    stored.command("publish", address, "hf://datasets/ann/cats").ended(0)
    files = hub.repos["ann/cats"].files()
    parts = [bucket.at(name).read_bytes() for name in sorted(bucket.objects("cats/data"))]
    assert [files[part_name(number, 2)] for number in range(2)] == parts
    assert "3 pictures of" in files["README.md"].decode()
    assert "3 pictures of" in bucket.at("cats/README.md").read_bytes().decode()
