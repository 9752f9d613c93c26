"""`fluxbatch view` of a dataset in a store: the same pages, and what was sealed since."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxbatch.dataset.shards import seal
from fluxbatch.view.viewed import STORE_EACH_S, Viewer
from tests.dataset.dataset_kit import SEALED_AT, spool_one
from tests.store.store_kit import Bucket
from tests.view.view_kit import ask, served, six

pytestmark = pytest.mark.usefixtures("at_home")


def test_a_dataset_in_a_store_is_viewed_as_one_on_a_disk_is(bucket: Bucket, tmp_path: Path) -> None:
    there, here = six(bucket.at("pictures")), six(tmp_path / "pictures")
    with served(there.folder) as store, served(here.folder) as disk:
        for asked in ("", "?is:style=oil&order=row&way=desc", "?q=picture+4", "?across=style&down=weight", "?where=x"):
            assert ask(store, f"/{asked}").body == ask(disk, f"/{asked}").body
        keys = ask(store).page.keys
        assert len(keys) == 6
        for path in (f"/full/{keys[4]}", f"/thumbnail/{keys[4]}"):
            assert ask(store, path).body == ask(disk, path).body
        assert ask(store, f"/picture/{keys[4]}").page.links == ask(disk, f"/picture/{keys[4]}").page.links


def test_a_store_is_not_asked_what_is_new_by_every_page(bucket: Bucket) -> None:
    dataset, now_s = six(bucket.at("pictures")), [0.0]
    viewer = Viewer(dataset.folder, clock=lambda: now_s[0])
    spool = dataset.spool()
    seal(dataset, spool, [spool_one(dataset, spool, "picture 7", 7)], run_id="r", sealed_at=SEALED_AT)
    now_s[0] += STORE_EACH_S - 0.1
    assert viewer.now().seen.count == 6
    now_s[0] += 0.1
    assert viewer.now().seen.count == 7
