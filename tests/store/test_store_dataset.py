"""A dataset in a store, with nothing else around it: sealed, killed at each step, recovered, read by others."""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from pyarrow import fs

from fluxbatch.dataset import place
from fluxbatch.dataset.catalogue import CATALOGUE, Dataset
from fluxbatch.dataset.lines import ENTRIES
from fluxbatch.dataset.objects import PIECE_BYTES, ObjectPath
from fluxbatch.dataset.parts import file_sha256
from fluxbatch.dataset.place import Place
from fluxbatch.dataset.shards import seal
from fluxbatch.dataset.spool import Spool
from fluxbatch.dataset.verify import verify_dataset
from fluxbatch.errors import DatasetError, DatasetInUse, StorageError
from tests.dataset.dataset_kit import (
    NO_COLUMNS,
    SEALED_AT,
    WHEN,
    again,
    sealed,
    sealed_in_two_lives,
    spool_many,
    spool_one,
)
from tests.store.attic import Attic
from tests.store.store_kit import Bucket, Call, a_put, a_removal

pytestmark = pytest.mark.usefixtures("at_home")


@pytest.fixture
def dataset(home: Place) -> Dataset:
    return Dataset.create(home, NO_COLUMNS, True, created_at=WHEN, dataset_id="ab" * 16)


@pytest.fixture
def spool(dataset: Dataset) -> Spool:
    return dataset.spool()


@pytest.fixture
def stored(bucket: Bucket) -> Dataset:
    return Dataset.create(bucket.at("cats"), NO_COLUMNS, True, created_at=WHEN, dataset_id="cd" * 16)


@pytest.mark.parametrize("step", ["part", "listed", "emptied"])
@pytest.mark.parametrize("which", [2])
def test_a_death_after_any_step_of_sealing_ends_in_the_same_dataset(
    dataset: Dataset, spool: Spool, step: str, which: int
) -> None:
    sealed_in_two_lives(dataset, spool, step, which)


def test_the_same_rows_make_the_same_bytes_in_a_store_and_on_a_disk(tmp_path: Path, stored: Dataset) -> None:
    on_disk = Dataset.create(tmp_path / "disk", NO_COLUMNS, True, created_at=WHEN, dataset_id="cd" * 16)
    [ours], [theirs] = (sealed(dataset, dataset.spool(), 5) for dataset in (on_disk, stored))
    assert on_disk.path(ours).read_bytes() == stored.path(theirs).read_bytes()
    assert (ours.sha256, ours.rows, ours.nano_usd) == (theirs.sha256, theirs.rows, theirs.nano_usd)


def test_a_part_is_published_by_one_put_of_its_own_which_touches_no_other(stored: Dataset, bucket: Bucket) -> None:
    sealed(stored, stored.spool(), 2)
    before = (stored.folder / CATALOGUE).read_bytes()
    bucket.server.forget()
    [part] = sealed(stored, stored.spool(), 2, first=3)
    puts = [call.name for call in bucket.server.calls if a_put(".json")(call) or a_put(".jsonl")(call)]
    name = part.file.removeprefix("data/").removesuffix(".parquet")
    assert puts == [f"cats/{ENTRIES}/{name}.json"]
    assert (stored.folder / CATALOGUE).read_bytes() == before
    assert [one.file for one in Dataset.open(stored.folder).parts] == [one.file for one in stored.parts]


def test_two_that_both_believe_to_hold_it_overwrite_nothing_of_each_other(stored: Dataset) -> None:
    """A run that was paused until its lease was another's, and seals once more before it hears of that."""
    ours, theirs = Dataset.open(stored.folder), Dataset.open(stored.folder)
    paths = {ours.next_part(), theirs.next_part(), ours.next_part(), theirs.next_part()}
    assert len(paths) == 4
    [first] = sealed(ours, ours.spool(), 2)
    [second] = sealed(theirs, theirs.spool(), 2, first=3)
    [third] = sealed(ours, ours.spool(), 2, first=5)
    opened = Dataset.open(stored.folder)
    assert {part.file for part in opened.parts} == {first.file, second.file, third.file}
    assert all(file_sha256(opened.path(part)) == part.sha256 for part in opened.parts)
    assert verify_dataset(opened) == []


def test_a_reader_sees_a_part_whole_or_not_at_all_while_they_are_sealed(stored: Dataset) -> None:
    troubles: list[str] = []
    looks: list[int] = []
    enough = threading.Event()

    def read() -> None:
        while not enough.is_set():
            opened = Dataset.open(stored.folder)
            looks.append(sum(part.rows for part in opened.parts))
            troubles.extend(part.file for part in opened.parts if file_sha256(opened.path(part)) != part.sha256)

    reader = threading.Thread(target=read)
    reader.start()
    spool = stored.spool()
    for first in range(1, 13, 3):
        sealed(stored, spool, 3, first=first)
    enough.set()
    reader.join()
    assert troubles == []
    assert looks == sorted(looks)


def test_a_dataset_that_is_copied_to_a_disk_is_one_there_and_goes_on_there(
    stored: Dataset, bucket: Bucket, tmp_path: Path
) -> None:
    sealed(stored, stored.spool(), 3)
    spool_one(stored, stored.spool(), "still in the spool", 9)
    copy = tmp_path / "copy"
    for name in bucket.objects("cats"):
        target = copy / Path(name).relative_to("cats")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((bucket.at(name)).read_bytes())
    opened, found = again(Dataset.open(copy))
    assert (len(opened.parts), len(found.adoptable)) == (1, 1)
    seal(opened, opened.spool(), found.adoptable, run_id="run-2", sealed_at=SEALED_AT)
    assert verify_dataset(opened) == []
    assert list((copy / ENTRIES).glob("*")) == []
    assert [part.rows for part in Dataset.open(copy).parts] == [3, 1]


def test_an_entry_that_is_damaged_is_named(stored: Dataset) -> None:
    sealed(stored, stored.spool(), 2)
    [entry] = (stored.folder / ENTRIES).glob("*.json")
    place.put_atomic(entry, entry.read_bytes().replace(b'"rows": 2', b'"rows": 3'))
    with pytest.raises(DatasetError, match=r"catalogue/train-.*was changed since it was written"):
        Dataset.open(stored.folder)


def test_what_is_damaged_is_set_aside_with_the_reason(stored: Dataset) -> None:
    spool = stored.spool()
    entries = spool_many(stored, spool, 3)
    torn = entries[1].path
    place.put_atomic(torn, torn.read_bytes()[:-20])
    [part] = seal(stored, spool, entries, run_id="run-1", sealed_at=SEALED_AT)
    assert part.rows == 2
    [aside] = spool.quarantined
    assert isinstance(aside.path, ObjectPath)
    assert aside.path.parent == stored.quarantine
    assert b"the end is missing" in aside.path.with_name(f"{torn.name}.reason").read_bytes()
    assert not torn.exists()


@pytest.fixture
def other_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on this is another one: with locks of its own."""
    return lambda: monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another machine"))


def test_two_machines_that_make_it_at_once_never_both_do(bucket: Bucket, other_machine: Callable[[], None]) -> None:
    """The second comes at the worst moment: the first has looked, and is about to put its catalogue."""
    home, seconds = bucket.at("cats"), list[str]()

    def make_too(call: Call) -> bool:
        if a_put("cats/README.md")(call) and not seconds:
            seconds.append("began")
            other_machine()
            with pytest.raises(DatasetInUse, match="another run is making this dataset just now"):
                Dataset.create(bucket.at("cats"), NO_COLUMNS, True, dataset_id="ef" * 16)
            seconds.append("withdrew")
        return False

    with bucket.server.refusing(make_too, 500):
        made = Dataset.create(home, NO_COLUMNS, True, dataset_id="cd" * 16)
    assert seconds == ["began", "withdrew"]
    assert Dataset.open(home).id == made.id == "cd" * 16
    with pytest.raises(DatasetError, match="is a dataset already"):
        Dataset.create(home, NO_COLUMNS, True)
    assert [name for name in bucket.objects() if "claims" in name] == []


def _left_with_a_claim(bucket: Bucket) -> Place:
    """Where a dataset was begun by somebody who died before the claim was withdrawn."""
    home = bucket.at("cats")
    with (
        pytest.raises(StorageError),
        bucket.server.refusing(lambda call: "claims" in call.name and call.method == "DELETE", 403),
    ):
        Dataset.create(home, NO_COLUMNS, True)
    place.remove(home / CATALOGUE)
    return home


def test_a_claim_of_the_dead_stands_in_nobodys_way_for_long(
    bucket: Bucket, other_machine: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = _left_with_a_claim(bucket)
    other_machine()
    with pytest.raises(DatasetInUse):
        Dataset.create(home, NO_COLUMNS, True)
    monkeypatch.setattr("fluxbatch.dataset.claim.LIVES_S", -1.0)
    Dataset.create(home, NO_COLUMNS, True)
    assert Dataset.exists(home)


def test_a_claim_of_this_machines_dead_is_known_for_one(bucket: Bucket) -> None:
    home = _left_with_a_claim(bucket)
    Dataset.create(home, NO_COLUMNS, True)
    assert [name for name in bucket.objects() if "claims" in name] == []


def test_one_machine_holds_it_once_and_a_death_gives_it_back(stored: Dataset) -> None:
    other = Dataset.open(stored.folder)
    with stored.hold():
        assert other.held_by == f"process {os.getpid()} on {platform.node()}"
        with pytest.raises(DatasetInUse, match=r"s3://.*is working on this dataset"), other.hold():
            raise AssertionError("held twice")
    assert other.held_by is None
    with other.hold():
        assert stored.held_by


@pytest.mark.parametrize(
    ("which", "said"),
    [
        (lambda call: call.method == "PUT", "cannot put there"),
        (lambda call: "list-type" in call.query, "cannot list there"),
        (lambda call: call.is_a("HEAD", "") and "probe" in call.name, "cannot get there"),
        (lambda call: call.method == "DELETE", "cannot delete there"),
    ],
)  # fmt: skip
def test_a_right_that_is_missing_is_said_before_the_dataset_is_held(
    stored: Dataset, bucket: Bucket, which: object, said: str
) -> None:
    with bucket.server.refusing(which, 403), pytest.raises(StorageError, match=said) as refused, stored.hold():  # type: ignore[arg-type]
        raise AssertionError("held without its rights")
    assert "allow them to put, get, list and delete" in str(refused.value)


@pytest.mark.parametrize(
    ("status", "remedy"),
    [(301, "AWS_REGION"), (400, "renew them"), (401, "AWS_SECRET_ACCESS_KEY"), (403, "s3:PutObject"), (500, "look at")],
)
def test_what_a_store_answers_is_said_with_what_to_do_and_without_the_keys(
    stored: Dataset, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, status: int, remedy: str
) -> None:
    for name, value in bucket.variables.items():
        monkeypatch.setenv(name, value)
    with bucket.server.refusing(a_put("x"), status), pytest.raises(StorageError) as refused:
        place.put_atomic(stored.folder / "x", b"content")
    said = str(refused.value)
    assert said.startswith(f"{stored.folder}/x: could not be written: ")
    assert remedy in said
    assert not [secret for name, secret in bucket.variables.items() if "KEY" in name and secret in said]
    assert refused.value.__cause__ is None


def test_the_failed_upload_of_a_large_object_leaves_nothing_to_be_seen() -> None:
    """pyarrow completes an upload that has failed when it lets go of it, without the piece that is missing."""
    attic = Attic(fails_at=2)
    path = ObjectPath("s3", "bucket/large", fs.PyFileSystem(attic))
    with pytest.raises(StorageError, match=r"bucket/large: could not be written: .*the second piece"):
        place.put_atomic(path, b"x" * 25_000_000)
    assert attic.completed == ["bucket/large"], "the store was given what had gone up"
    assert attic.objects == {}


def test_a_large_part_goes_up_in_pieces_of_equal_size_as_r2_wants_them(stored: Dataset, bucket: Bucket) -> None:
    place.put_atomic(stored.folder / "large", lambda file: file.writelines([b"x" * 999_999] * 26))
    pieces = [call.body_bytes for call in bucket.server.calls if "partNumber" in call.query]
    assert len(pieces) == 3
    assert pieces == [PIECE_BYTES, PIECE_BYTES, 25_999_974 - 2 * PIECE_BYTES]
    assert (stored.folder / "large").read_bytes() == b"x" * 25_999_974


def test_a_spool_is_emptied_without_a_look_at_what_was_put_since(stored: Dataset, bucket: Bucket) -> None:
    spool = stored.spool()
    entries = spool_many(stored, spool, 4)
    late = spool_one(stored, spool, "late", 9)
    spool.remove(entries)
    assert bucket.server.count(a_removal(".row")) == 4
    assert list(spool.entries()) == [late]
