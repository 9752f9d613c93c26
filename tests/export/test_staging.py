"""Nobody finds half an export, and nobody loses a folder to one: what is there, unfinished, or replaced."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fluxbatch.dataset import lock
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.shards import seal
from fluxbatch.errors import UsageError
from fluxbatch.export import targets
from fluxbatch.export.exporter import Watch, Wish, export
from tests.dataset.dataset_kit import SEALED_AT, spool_one
from tests.export.export_kit import bytes_of, exported
from tests.query.query_kit import dataset_of
from tests.soak import soak

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return dataset_of(tmp_path_factory.mktemp("pictures") / "set")


class Stopped(KeyboardInterrupt):
    """Ctrl-C."""


def stopped_after(dataset: Dataset, target: Path, wish: Wish, chunks: int) -> None:
    left = [chunks]

    def count(pictures: int, size_bytes: int) -> None:
        left[0] -= 1
        if left[0] <= 0:
            raise Stopped

    with pytest.raises(Stopped):
        export(dataset, target, wish, watch=Watch(written=count))


@pytest.mark.parametrize("to", [targets.HF, targets.WEBDATASET])
@pytest.mark.parametrize("chunks", [1, 2, 4])
def test_an_interrupted_export_goes_on_where_it_was(dataset: Dataset, tmp_path: Path, to: str, chunks: int) -> None:
    wish = Wish(to, shard_bytes=14_000, is_marked=False)
    stopped_after(dataset, tmp_path / "b" / "cats", wish, chunks)
    assert not (tmp_path / "b" / "cats").exists()
    unfinished = tmp_path / "b" / "cats.unfinished"
    before = {path: path.stat().st_mtime_ns for path in unfinished.rglob("*.parquet")} | {
        path: path.stat().st_mtime_ns for path in unfinished.rglob("*.tar")
    }
    seen: list[int] = []
    done = export(dataset, tmp_path / "b" / "cats", wish, watch=Watch(begun=lambda found, done: seen.append(done)))
    assert done is not None
    assert done.went_on == (seen[0] > 0)
    for path, changed in before.items():
        now = tmp_path / "b" / "cats" / path.relative_to(unfinished)
        assert now.stat().st_mtime_ns == changed, "a shard that was whole was written again"
    exported(dataset, tmp_path / "a" / "cats", to, shard_bytes=14_000)
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")


@pytest.mark.parametrize("to", soak(("images",), targets.TARGETS))
@pytest.mark.parametrize("replace", [False, True])
def test_killed_at_a_step_it_goes_on_and_ends_in_the_same_bytes(
    dataset: Dataset, tmp_path: Path, to: str, replace: bool
) -> None:
    command = [sys.executable, "-m", "tests.export.killer", str(dataset.folder), str(tmp_path), to, str(soak(2, 0))]
    ended = subprocess.run(
        [*command, *(["--replace"] if replace else [])], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert any(code == -9 for _, code in json.loads(ended.stdout))


def test_an_unfinished_export_of_something_else_is_begun_anew(dataset: Dataset, tmp_path: Path) -> None:
    stopped_after(dataset, tmp_path / "b", Wish("webdataset", shard_bytes=14_000, is_marked=False), 4)
    done = exported(dataset, tmp_path / "b", "images")
    assert not done.went_on
    exported(dataset, tmp_path / "a", "images")
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")


def test_a_dataset_that_grew_is_exported_as_it_is_now(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "set", (2, 2))
    wish = Wish("webdataset", shard_bytes=14_000, is_marked=False)
    stopped_after(dataset, tmp_path / "out", wish, 4)
    entry = spool_one(dataset, dataset.spool(), "another", 9)
    seal(dataset, dataset.spool(), [entry], run_id="r", sealed_at=SEALED_AT)
    done = export(Dataset.open(dataset.folder), tmp_path / "out", wish)
    assert done is not None
    assert (done.pictures, done.went_on) == (5, False)
    with pytest.raises(UsageError, match=r"out has another export, or one of the dataset as it was; .*--force"):
        spool_and_export(dataset, tmp_path / "out", wish)


def spool_and_export(dataset: Dataset, target: Path, wish: Wish) -> None:
    entry = spool_one(dataset, dataset.spool(), "one more", 10)
    seal(dataset, dataset.spool(), [entry], run_id="r", sealed_at=SEALED_AT)
    export(Dataset.open(dataset.folder), target, wish)


def test_force_replaces_an_export_and_nothing_else(dataset: Dataset, tmp_path: Path) -> None:
    exported(dataset, tmp_path / "out", "images")
    with pytest.raises(UsageError, match=r"another export.*--force"):
        exported(dataset, tmp_path / "out", "csv")
    exported(dataset, tmp_path / "out", "csv", force=True)
    assert sorted(bytes_of(tmp_path / "out")) == [".fluxbatch-export.json", "train.csv"]
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("three years of work")
    for force in (False, True):
        with pytest.raises(UsageError, match="mine has files, and is no export of fluxbatch"):
            exported(dataset, mine, "csv", force=force)
    assert bytes_of(mine).keys() == {"thesis.txt"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "out"]


def test_an_empty_folder_is_taken(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert exported(dataset, tmp_path / "out", "csv").pictures == 5


def test_folders_beside_it_that_are_not_ours_are_left_alone(dataset: Dataset, tmp_path: Path) -> None:
    for ending in (".unfinished", ".replaced"):
        theirs = tmp_path / f"out{ending}"
        theirs.mkdir()
        (theirs / "note.txt").write_text("mine")
        with pytest.raises(UsageError, match=rf"out\{ending} has files, and is no export"):
            exported(dataset, tmp_path / "out", "csv", force=True)
        assert (theirs / "note.txt").read_text() == "mine"
        (theirs / "note.txt").unlink()
        theirs.rmdir()


def test_a_file_the_dataset_itself_and_what_lies_around_it_are_no_targets(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    folder = Path(str(dataset.folder))
    for target, said in (
        (tmp_path / "file", "is a file"),
        (folder, "lies in the dataset"),
        (folder / "data" / "x", "lies in the dataset"),
        (folder.parent, "or around it"),
    ):
        with pytest.raises(UsageError, match=said):
            exported(dataset, target, "csv", force=True)


def test_two_exports_to_one_folder_do_not_mix(dataset: Dataset, tmp_path: Path) -> None:
    room = tmp_path / "out.unfinished" / ".fluxbatch-export"
    room.mkdir(parents=True)
    with lock.hold(room / "lock"), pytest.raises(UsageError, match=r"process \d+ on .* is exporting to it"):
        exported(dataset, tmp_path / "out", "csv")
    assert exported(dataset, tmp_path / "out", "csv").pictures == 5
