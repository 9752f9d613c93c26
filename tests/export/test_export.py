"""What an export has, whatever its form: the chosen pictures, once, the same bytes each time, or nothing at all."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image  # noqa: TID251 - a reader opens the pictures

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.quarantine import Damaged
from fluxbatch.errors import UsageError
from fluxbatch.export import targets
from fluxbatch.export.exporter import Wish, export
from fluxbatch.provenance import read
from tests.dataset.dataset_kit import NO_COLUMNS, WHEN, jpeg
from tests.export.export_kit import bytes_of, exported
from tests.query.query_kit import dataset_of, part_files


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return dataset_of(tmp_path_factory.mktemp("pictures") / "set")


@pytest.mark.parametrize("to", targets.TARGETS)
def test_exporting_twice_is_byte_identical_and_a_third_time_changes_nothing(
    dataset: Dataset, tmp_path: Path, to: str
) -> None:
    first = exported(dataset, tmp_path / "a" / "cats", to)
    assert (first.pictures, first.was_there, first.went_on) == (5, False, False)
    exported(dataset, tmp_path / "b" / "cats", to)
    found = bytes_of(tmp_path / "a")
    assert len(found) == first.files + 1
    assert found == bytes_of(tmp_path / "b")
    again = exported(dataset, tmp_path / "a" / "cats", to)
    assert again.was_there
    assert (again.pictures, again.size_bytes, again.files) == (first.pictures, first.size_bytes, first.files)
    assert found == bytes_of(tmp_path / "a")


def test_the_pictures_of_every_form_are_those_of_the_dataset(dataset: Dataset, tmp_path: Path) -> None:
    pictures = sorted(jpeg(seed=row) for row in range(1, 6))
    exported(dataset, tmp_path / "hf", "hf")
    table = pq.read_table(tmp_path / "hf" / "data")
    assert sorted(one["bytes"] for one in table.column("image").to_pylist()) == pictures
    for to in ("images", "imagefolder"):
        exported(dataset, tmp_path / to, to)
        assert sorted(path.read_bytes() for path in (tmp_path / to).rglob("*.jpg")) == pictures
    exported(dataset, tmp_path / "tars", "webdataset")
    with tarfile.open(tmp_path / "tars" / "shard-000000.tar") as tar:
        members = [(member, tar.extractfile(member)) for member in tar.getmembers()]
        assert sorted(file.read() for member, file in members if file and member.name.endswith(".jpg")) == pictures
        assert {(member.mtime, member.uid, member.uname, member.mode) for member, _ in members} == {(0, 0, "", 0o644)}


def test_a_condition_chooses_what_is_exported(dataset: Dataset, tmp_path: Path) -> None:
    done = exported(dataset, tmp_path / "out", "csv", where="row IN (2, 5)")
    assert list(pd.read_csv(tmp_path / "out" / "train.csv")["prompt"]) == ["picture 2", "picture 5"]
    assert done.pictures == 2


def test_no_row_is_no_export(dataset: Dataset, tmp_path: Path) -> None:
    assert export(dataset, tmp_path / "out", Wish("hf", "row > 99")) is None
    empty = Dataset.create(tmp_path / "empty", NO_COLUMNS, True)
    assert export(empty, tmp_path / "out", Wish("hf")) is None
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_names_come_from_the_columns(dataset: Dataset, tmp_path: Path) -> None:
    exported(dataset, tmp_path / "out", "images", name="{model}/{prompt}-{row:03}.png")
    assert sorted(bytes_of(tmp_path / "out")) == [
        ".fluxbatch-export.json",
        *(f"cf_black-forest-labs_flux-2-dev/picture_{row}-{row:03}.jpg" for row in range(1, 6)),
    ]


def test_two_pictures_of_one_name_are_refused_and_named(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"gives 1 name to more than one picture .*'none' \(rows 1, 2, 3, 4, 5\); add a"
    ):
        exported(dataset, tmp_path / "out", "images", name="{id}.jpg")
    assert list(tmp_path.iterdir()) == []


def test_names_that_differ_in_capitals_only_are_one_name(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "set", (3,), prompts=["Straße", "STRASSE", "other"])
    with pytest.raises(UsageError, match=r"'Straße' and 'STRASSE' \(rows 1, 2\)"):
        exported(dataset, tmp_path / "out", "images", name="{prompt}")


def test_a_picture_that_has_not_its_hash_ends_the_export_and_nothing_has_its_name(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "set", (3,))
    [path] = part_files(dataset)
    content = path.read_bytes()
    at = content.index(jpeg(seed=2))
    table = pq.read_table(path)
    changed = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
    del table
    path.write_bytes(changed)
    with pytest.raises(Damaged, match="train-00000"):
        exported(dataset, tmp_path / "out", "images")
    assert not (tmp_path / "out").exists()


def test_a_picture_of_another_row_is_no_picture_of_this_one(tmp_path: Path) -> None:
    """Page checksums fit, and the bytes are not those of the hash beside them."""
    dataset = dataset_of(tmp_path / "set", (2,))
    [path] = part_files(dataset)
    table = pq.read_table(path)
    swapped = table.set_column(0, table.schema.field(0), table.column(0).take([1, 0]))
    pq.write_table(swapped, path)
    for to in ("hf", "webdataset", "images"):
        with pytest.raises(Damaged, match=r"row 1: the picture [0-9a-f]{64} does not have the SHA-256 beside it"):
            exported(dataset, tmp_path / "out", to)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("to", ["hf", "imagefolder"])
def test_each_picture_says_what_made_it_and_the_columns_are_of_the_bytes_that_left(
    dataset: Dataset, tmp_path: Path, to: str
) -> None:
    done = exported(dataset, tmp_path / "out", to, is_marked=True, name="{row}")
    assert done.unmarked == 0
    table = next((tmp_path / "out").rglob("*.parquet"))
    for row in pq.read_table(table).to_pylist():
        name = f"{row['row']}.jpg"
        content = row["image"]["bytes"] if to == "hf" else (tmp_path / "out" / "train" / name).read_bytes()
        found = read(content)
        assert found is not None
        assert (found.key, found.model, found.created_at) == (row["key"], row["model"], WHEN)
        assert (row["sha256"], row["size_bytes"]) == (hashlib.sha256(content).hexdigest(), len(content))
        assert pixels_of(content) == pixels_of(jpeg(seed=row["row"]))


def pixels_of(content: bytes) -> bytes:
    return Image.open(io.BytesIO(content)).tobytes()


@pytest.mark.parametrize("shard_bytes", [20_000, 25_000])
@pytest.mark.parametrize(("to", "pattern"), [("hf", "data/*.parquet"), ("webdataset", "*.tar")])
def test_shards_are_bounded_by_their_bytes(
    tmp_path: Path, dataset: Dataset, to: str, pattern: str, shard_bytes: int
) -> None:
    exported(dataset, tmp_path / "out", to, shard_bytes=shard_bytes)
    sizes = [path.stat().st_size for path in (tmp_path / "out").glob(pattern)]
    assert len(sizes) > 1
    if to == "webdataset":  # a Parquet file of five rows is nearly all footer
        assert max(sizes) <= shard_bytes


def test_wishes_that_are_wrong_are_said_all_at_once(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'zip' is no form.*'xml' is no form.*9 bytes are less"):
        exported(dataset, tmp_path / "out", "zip", metadata="xml", shard_bytes=9)
