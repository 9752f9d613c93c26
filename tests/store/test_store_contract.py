"""What a dataset needs of a place, of a folder on a disk and of a prefix in a store alike."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxbatch.dataset import kept, place
from fluxbatch.dataset.objects import PIECE_BYTES, ObjectPath
from fluxbatch.dataset.place import Place, place_of
from fluxbatch.errors import StorageError, UsageError
from fluxbatch.job import Job
from fluxbatch.settings import load_settings


@pytest.fixture
def folder(home: Place) -> Place:
    place.make_folders(home / "spool")
    return home


def test_what_was_put_is_there_whole_and_is_replaced_whole(folder: Place) -> None:
    path = folder / "catalogue.jsonl"
    assert not path.exists()
    place.put_atomic(path, b"one")
    assert (path.exists(), path.is_file(), path.read_bytes()) == (True, True, b"one")
    place.put_atomic(path, lambda file: file.writelines((b"two", b" and more")))
    assert path.read_bytes() == b"two and more"
    assert path.stat().st_size == 12


def test_a_put_that_fails_half_way_leaves_what_was_there(folder: Place) -> None:
    path = folder / "catalogue.jsonl"
    place.put_atomic(path, b"before")

    def half(file: BinaryIO) -> None:
        file.write(b"half")
        raise StorageError("the spool could not be read")

    for target in (path, folder / "new"):
        with pytest.raises(StorageError, match="the spool"):
            place.put_atomic(target, half)
    assert path.read_bytes() == b"before"
    assert [one.name for one in folder.iterdir() if one.is_file()] == ["catalogue.jsonl"]


def test_a_draft_is_seen_when_it_is_kept_and_never_when_it_is_dropped(folder: Place) -> None:
    kept, dropped = place.draft(folder / "kept"), place.draft(folder / "dropped")
    kept.file.write(b"content")
    dropped.file.write(b"content")
    assert not (folder / "kept").exists()
    kept.keep()
    dropped.drop()
    dropped.drop()
    assert (folder / "kept").read_bytes() == b"content"
    assert not (folder / "dropped").exists()


def test_nothing_that_is_not_there_is_read(folder: Place) -> None:
    for read in (lambda path: path.read_bytes(), lambda path: path.open("rb"), lambda path: path.stat()):
        with pytest.raises(FileNotFoundError):
            read(folder / "missing")
    assert not (folder / "missing").is_file()


def test_what_is_removed_is_gone_and_may_be_removed_again(folder: Place) -> None:
    path = folder / "spool" / "one.row"
    place.put_atomic(path, b"picture")
    place.remove(path)
    place.remove(path)
    assert not path.exists()
    assert list((folder / "spool").glob("*.row")) == []


def test_what_is_moved_keeps_its_content_and_nothing_is_moved_over_another(folder: Place) -> None:
    source, target = folder / "spool" / "one.row", folder / "two.row"
    place.put_atomic(source, b"picture")
    place.move(source, target)
    assert (source.exists(), target.read_bytes()) == (False, b"picture")
    place.put_atomic(source, b"another")
    with pytest.raises(StorageError, match="is there already"):
        place.move(source, target)
    assert (source.read_bytes(), target.read_bytes()) == (b"another", b"picture")


def test_a_listing_has_what_was_put_and_the_patterns_that_a_dataset_uses(folder: Place) -> None:
    for name in ("a.row", "b.row", "c.txt", ".hidden.row"):
        place.put_atomic(folder / "spool" / name, name.encode())
    rows = sorted((folder / "spool").glob("[!.]*.row"), key=place.name_of)
    assert [path.name for path in rows] == ["a.row", "b.row"]
    assert rows[1].read_bytes() == b"b.row"
    assert sorted(path.name for path in folder.glob("spool/*.txt")) == ["c.txt"]
    assert sorted(path.name for path in (folder / "spool").iterdir()) == [".hidden.row", "a.row", "b.row", "c.txt"]
    assert list((folder / "nowhere").glob("*")) == []
    assert (folder.is_dir(), (folder / "spool").is_dir(), rows[0].is_dir()) == (True, True, False)


def test_names_are_put_together_and_taken_apart_as_a_paths(folder: Place) -> None:
    path = folder / "data" / "train-00000.parquet"
    assert (path.name, path.parent.name, path.parent) == ("train-00000.parquet", "data", folder / "data")
    assert place.below(folder, path) == "data/train-00000.parquet"
    assert path.with_name("x") == folder / "data" / "x"
    assert len({path, folder / "data" / "train-00000.parquet"}) == 1
    assert str(path) == f"{folder}/data/train-00000.parquet"
    assert min(path, folder / "data" / "a").name == "a"


def test_a_parquet_file_is_read_here_and_there(folder: Place) -> None:
    path = folder / "data.parquet"
    table = pa.table({"key": [f"{number:064d}" for number in range(5_000)], "n": range(5_000)})
    place.make_folders(folder)
    place.put_atomic(path, lambda file: pq.write_table(table, file, row_group_size=500))
    with pq.ParquetFile(place.source(path), pre_buffer=False, buffer_size=2**20) as part:
        assert part.read_row_group(9, ["n"])["n"].to_pylist() == list(range(4_500, 5_000))
    with path.open("rb") as file:
        file.seek(-4, 2)
        assert file.read() == b"PAR1"


def test_many_are_done_in_order_and_the_first_that_fails_is_heard(folder: Place) -> None:
    assert list(place.each(folder, str, range(100))) == [str(number) for number in range(100)]

    def fail(number: int) -> int:
        if number == 50:
            raise StorageError("number 50")
        return number

    with pytest.raises(StorageError, match="number 50"):
        list(place.each(folder, fail, range(100)))


def test_an_error_says_what_where_and_what_to_do(folder: Place) -> None:
    error = place.storage_error(folder / "x", OSError(28, "No space left on device"))
    assert f"{folder}/x" in str(error)
    assert "free some" in str(error)


def test_an_object_of_any_size_is_put_whole(bucket: object) -> None:
    where = bucket.at("large")  # type: ignore[attr-defined]
    for size_bytes in (0, 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES + 5_000):
        content = bytes(range(256)) * (size_bytes // 256) + b"x" * (size_bytes % 256)
        place.put_atomic(where, content)
        assert where.read_bytes() == content
        assert where.stat().st_size == size_bytes


@pytest.mark.parametrize("text", ["s3://pictures/cats", "gs://pictures/cats", "az://container/deep/cats", "S3://b/c/"])
def test_an_address_is_a_place_also_after_a_path_has_eaten_its_slash(text: str) -> None:
    found = place_of(text)
    assert isinstance(found, ObjectPath)
    assert str(found) == text.replace("S3", "s3").rstrip("/")
    assert place_of(Path(text)) == found
    assert place_of(found) is found
    assert place_of(str(found / "data")) == found / "data"


def test_a_job_takes_an_address_also_as_the_path_that_a_flows_parameter_is() -> None:
    job = Job(Path("prompts.csv"), Path("s3://pictures/cats"), 1, load_settings(ledger="sqlite://"))
    assert job.out == ObjectPath("s3", "pictures/cats")
    assert kept.home(job.out) != kept.home(ObjectPath("s3", "pictures/dogs")), "what is fetched stays on this machine"


@pytest.mark.parametrize("text", ["out/cats", "/s3/x", "C:cats", "s3", "./s3:x"])
def test_anything_else_is_a_folder(text: str) -> None:
    assert place_of(text) == Path(text)


@pytest.mark.parametrize(
    "text",
    [
        *("s3://", "s3:///x", "s3://KEY:SECRET@bucket/x", "s3://b/x?endpoint_override=y", "s3://b//x", "s3://b/../x"),
        *("ftp://host/x", "https://host/x", "file:///x", "s3://b/x#1", "s3://b/./x"),
    ],
)
def test_what_is_no_address_of_a_dataset_is_refused_without_a_word_of_it(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        place_of(text)
    assert "SECRET" not in str(refused.value)
    assert "endpoint_override" not in str(refused.value)
    assert "s3://" in str(refused.value)
