"""One picture of a sealed dataset by key or id: which one it is, how little is read for it, and what is said else."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.pictures import Earlier, Pictures
from fluxbatch.dataset.quarantine import Damaged
from fluxbatch.dataset.record import picture_row
from fluxbatch.dataset.shards import seal
from fluxbatch.dataset.spool import Spool
from fluxbatch.manifest.values import Unusable
from tests.dataset.dataset_kit import SEALED_AT, asked, delivered, flip, jpeg, sealed, spool_one


@pytest.fixture
def base(dataset: Dataset, spool: Spool) -> Dataset:
    """Two parts of three pictures; ids a to f, and g for two."""
    for first in (1, 4):
        entries = [
            spool_one(dataset, spool, f"picture {row}", row, id="abcdef"[row - 1]) for row in range(first, first + 3)
        ]
        seal(dataset, spool, entries, run_id="run-1", sealed_at=SEALED_AT)
    twice = [spool_one(dataset, spool, "twice", 7, sample=sample, id="g") for sample in (0, 1)]
    seal(dataset, spool, twice, run_id="run-1", sealed_at=SEALED_AT)
    return dataset


def key_of(row: int) -> str:
    return asked(f"picture {row}", row=row).key


def test_each_key_brings_its_own_picture(base: Dataset) -> None:
    pictures = Pictures(base.folder)
    for row in (6, 1, 4, 3, 2, 5, 1):
        assert pictures.get(key_of(row)) == (jpeg(seed=row), key_of(row))


def test_an_id_and_the_first_digits_of_a_key_are_enough(base: Dataset) -> None:
    pictures = Pictures(base.folder)
    assert pictures.get("id=d") == (jpeg(seed=4), key_of(4))
    assert pictures.get(key_of(2)[:8]) == (jpeg(seed=2), key_of(2))
    assert pictures.get(key_of(2)[:20].upper()) == (jpeg(seed=2), key_of(2))


@pytest.mark.parametrize(
    ("wanted", "problem", "remedy"),
    [
        ("id=z", "has no picture 'id=z'", "fluxbatch status"),
        ("id=", "has no picture", "fluxbatch status"),
        ("0" * 64, "has no picture", "fluxbatch status"),
        ("abc1234", "is no key", "8 or more"),
        ("x" * 64, "is no key", "64 hex digits"),
        ("0" * 65, "is no key", "64 hex digits"),
        ("../../etc", "is no key", "id=ID"),
    ],
)
def test_what_is_not_there_is_said_with_what_to_do(base: Dataset, wanted: str, problem: str, remedy: str) -> None:
    with pytest.raises(Unusable) as said:
        Pictures(base.folder).get(wanted)
    assert problem in said.value.problem
    assert remedy in said.value.remedy


def test_an_id_of_two_pictures_is_refused_with_both_keys(base: Dataset) -> None:
    with pytest.raises(Unusable, match="has 2 pictures for 'id=g'") as said:
        Pictures(base.folder).get("id=g")
    assert all(asked("twice", row=7, sample=sample).key[:16] in said.value.remedy for sample in (0, 1))


def test_a_picture_that_is_still_in_the_spool_is_told_apart_from_one_that_was_never_made(
    base: Dataset, spool: Spool
) -> None:
    waiting = spool_one(base, spool, "waiting", 9)
    with pytest.raises(Unusable, match="in no part yet"):
        Pictures(base.folder).get(waiting.key)
    seal(base, spool, [waiting], run_id="run-2", sealed_at=SEALED_AT)
    assert Pictures(base.folder).get(waiting.key)[1] == waiting.key


def test_a_second_picture_of_a_part_does_not_read_the_part_again(dataset: Dataset, spool: Spool) -> None:
    """After the first, all other pictures of the part are overwritten: whoever read the pages again would see it."""
    (part,) = sealed(dataset, spool, 40)
    path = dataset.path(part)
    pictures = Pictures(dataset.folder)
    pictures.get(key_of(1))
    content = bytearray(path.read_bytes())
    for row in range(1, 41):
        if row != 33:
            start = content.index(jpeg(seed=row))
            content[start : start + len(jpeg(seed=row))] = b"\0" * len(jpeg(seed=row))
    path.write_bytes(content)
    assert pictures.get(key_of(33))[0] == jpeg(seed=33)
    with pytest.raises(Damaged, match="not what was written"):
        pictures.get(key_of(34))


def test_pictures_that_are_alike_are_not_confused(dataset: Dataset, spool: Spool) -> None:
    """The same bytes twice in a row group, and a picture that is the start of the next one."""
    contents = [jpeg(seed=1), jpeg(seed=1), jpeg(seed=1)[:100], jpeg(seed=1)[:200], b"", jpeg(seed=2)]
    requests = [asked(f"alike {row}", row=row) for row in range(len(contents))]
    entries = []
    for request, content in zip(requests, contents, strict=True):
        entries.append(spool.put(picture_row(delivered(request, content), dataset.own_schema), request.key, 1))
    seal(dataset, spool, entries, run_id="run-1", sealed_at=SEALED_AT)
    pictures = Pictures(dataset.folder)
    assert [pictures.get(request.key)[0] for request in requests] == contents


def test_a_part_that_another_tool_has_written_again_is_still_read(dataset: Dataset, spool: Spool) -> None:
    (part,) = sealed(dataset, spool, 5)
    path = dataset.path(part)
    pq.write_table(pq.read_table(path), path, compression="zstd", row_group_size=2)
    pictures = Pictures(dataset.folder)
    assert [pictures.get(key_of(row))[0] for row in (5, 1, 4)] == [jpeg(seed=row) for row in (5, 1, 4)]


def test_a_flipped_bit_of_a_picture_is_seen(dataset: Dataset, spool: Spool) -> None:
    (part,) = sealed(dataset, spool, 2)
    path = dataset.path(part)
    flip(path, path.read_bytes().index(jpeg(seed=2)) + 50)
    with pytest.raises(Damaged, match=r"CRC|checksum"):
        Pictures(dataset.folder).get(key_of(2))


@pytest.mark.parametrize("wrong", ["no dataset", "part gone", "part cut"])
def test_a_dataset_that_cannot_be_read_is_a_complaint_and_no_traceback(
    dataset: Dataset, spool: Spool, tmp_path: Path, wrong: str
) -> None:
    (part,) = sealed(dataset, spool, 2)
    folder = tmp_path / "none" if wrong == "no dataset" else dataset.folder
    if wrong == "part gone":
        dataset.path(part).unlink()
    if wrong == "part cut":
        dataset.path(part).write_bytes(dataset.path(part).read_bytes()[:-30])
    with pytest.raises(Unusable) as said:
        Earlier()(folder, key_of(1))
    assert str(folder) in said.value.problem
    assert said.value.remedy == f"see `fluxbatch status {folder}`"


def test_many_threads_read_the_same_dataset(base: Dataset) -> None:
    earlier, found = Earlier(), []

    def read(row: int) -> None:
        content, key = earlier(base.folder, key_of(row))
        found.append((row, key, hashlib.sha256(content).hexdigest()))

    threads = [threading.Thread(target=read, args=(1 + number % 6,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(set(found)) == [(row, key_of(row), hashlib.sha256(jpeg(seed=row)).hexdigest()) for row in range(1, 7)]
    assert len(found) == 24
