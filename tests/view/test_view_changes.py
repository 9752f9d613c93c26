"""A dataset that changes, or breaks, while it is looked at."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.shards import seal
from fluxbatch.errors import DatasetError
from fluxbatch.view.viewed import Viewer
from tests.dataset.dataset_kit import SEALED_AT, flip, spool_one
from tests.query.query_kit import dataset_of
from tests.view.view_kit import ask, part_files, served, six


def seal_more(dataset: Dataset, row: int) -> None:
    spool = dataset.spool()
    entries = [spool_one(dataset, spool, f"picture {row}", row)]
    seal(dataset, spool, entries, run_id="r", sealed_at=SEALED_AT)


def test_what_a_run_seals_is_there_on_the_next_look(tmp_path: Path):
    dataset = dataset_of(tmp_path / "d", (2,))
    with served(dataset.folder) as address:
        assert ask(address).page.shown == ["picture 1", "picture 2"]
        seal_more(dataset, 3)
        page = ask(address).page
        assert page.shown == ["picture 1", "picture 2", "picture 3"]
        assert ask(address, f"/full/{page.keys[2]}").status == 200
        assert ask(address, "/?where=row+%3E+1").page.shown == ["picture 2", "picture 3"]


def test_parts_that_were_seen_are_not_read_again(tmp_path: Path):
    dataset = dataset_of(tmp_path / "d", (2, 2))
    viewer = Viewer(dataset.folder)
    before = viewer.now()
    assert viewer.now() is before
    part_files(dataset)[0].unlink()
    seal_more(dataset, 5)
    after = viewer.now()
    assert after.complaints == []
    assert after.parts[:2] == before.parts
    assert after.seen.count == 5


def test_a_damaged_part_is_said_and_the_others_are_shown(tmp_path: Path):
    dataset = six(tmp_path / "d")
    [first, second] = part_files(dataset)
    break_columns(first)
    with served(dataset.folder) as address:
        answer = ask(address)
        assert answer.status == 500
        assert "train-00000" in answer.page.text
        assert "6 pictures" in answer.page.text
        style = ask(address, "/?is:style=oil").page
        assert style.shown == ["picture 4", "picture 6"]
        for key in style.keys:
            assert ask(address, f"/thumbnail/{key}").status == ask(address, f"/picture/{key}").status == 200
        assert ask(address, "/?where=row+%3E+1").status == 500
        break_columns(second)
        shown = ask(address, f"/picture/{style.keys[0]}")
        assert shown.status == 500
        assert "train-00001" in shown.page.text


def break_columns(path: Path) -> None:
    """A bit of each of the columns that tell of pictures."""
    group = pq.ParquetFile(path).metadata.row_group(0)
    chunks = [group.column(number) for number in range(group.num_columns)]
    for chunk in chunks:
        if chunk.path_in_schema in ("prompt", "key", "row"):
            flip(path, (chunk.dictionary_page_offset or chunk.data_page_offset) + chunk.total_compressed_size - 1)


def test_a_picture_whose_bytes_are_damaged_is_said(tmp_path: Path):
    dataset = dataset_of(tmp_path / "d", (2,))
    [path] = part_files(dataset)
    with served(dataset.folder) as address:
        keys = ask(address).page.keys
        group = pq.ParquetFile(path).metadata.row_group(0)
        chunk = next(c for n in range(group.num_columns) if (c := group.column(n)).path_in_schema == "image.bytes")
        flip(path, chunk.data_page_offset + chunk.total_compressed_size - 100)
        for kind in ("full", "thumbnail"):
            answer = ask(address, f"/{kind}/{keys[1]}")
            assert answer.status == 500
            assert "train-00000" in answer.page.text
        assert ask(address, f"/picture/{keys[1]}").status == 200


def test_a_dataset_that_is_gone_is_said_and_comes_back(tmp_path: Path):
    dataset = six(tmp_path / "d")
    with served(dataset.folder) as address:
        key = ask(address).page.keys[0]
        dataset.folder.rename(tmp_path / "aside")  # type: ignore[union-attr]
        answer = ask(address)
        assert answer.status == 404
        assert str(dataset.folder) in answer.page.text
        assert ask(address, f"/full/{key}").status == 500
        shutil.move(tmp_path / "aside", str(dataset.folder))
        assert len(ask(address).page.shown) == 6
        assert ask(address, f"/full/{key}").status == 200


def test_a_mended_part_is_read_anew(tmp_path: Path):
    """It has the name that it had, and its pictures lie elsewhere in it."""
    dataset = dataset_of(tmp_path / "d", (3,))
    with served(dataset.folder) as address:
        key = ask(address).page.keys[1]
        before = ask(address, f"/full/{key}").body
        [name] = part_files(dataset)
        dataset.remove_part(dataset.parts[0])
        name.unlink()
        mended = Dataset.open(dataset.folder)
        spool = mended.spool()
        entries = [spool_one(mended, spool, f"picture {row}", row) for row in (2, 3)]
        seal(mended, spool, entries, run_id="r", sealed_at=SEALED_AT)
        assert part_files(mended) == [name]
        assert ask(address).page.shown == ["picture 2", "picture 3"]
        assert ask(address, f"/full/{key}").body == before


def test_an_empty_dataset_is_a_page(tmp_path: Path):
    dataset = dataset_of(tmp_path / "d", ())
    with served(dataset.folder) as address:
        assert "0 pictures" in ask(address).page.text
        assert ask(address, "/?q=x&order=row").status == 200
        seal_more(dataset, 1)
        assert ask(address).page.shown == ["picture 1"]


def test_where_there_is_no_dataset_nothing_is_served(tmp_path: Path):
    with pytest.raises(DatasetError, match="nowhere"):
        Viewer(tmp_path / "nowhere")
