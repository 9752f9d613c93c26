from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fluxbatch.dataset.catalogue import CATALOGUE, Dataset
from fluxbatch.dataset.header import Part
from fluxbatch.dataset.quarantine import Damaged
from fluxbatch.dataset.recovery import Recovered, _examine
from fluxbatch.dataset.shards import seal
from fluxbatch.dataset.spool import Spool
from fluxbatch.models.money import charge
from tests.dataset.dataset_kit import (
    NO_COLUMNS,
    SEALED_AT,
    Killed,
    again,
    flip,
    sealed,
    sealed_in_two_lives,
    spool_many,
    spool_one,
)

NOTHING = Recovered([], [], [])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("step", ["part", "listed", "emptied"])
@pytest.mark.parametrize("which", [1, 2, 3])
def test_a_death_after_any_step_of_sealing_ends_in_the_same_dataset(
    dataset: Dataset, spool: Spool, step: str, which: int
) -> None:
    sealed_in_two_lives(dataset, spool, step, which)


def test_a_death_while_the_part_is_written_leaves_a_temp_file_and_the_spool(dataset: Dataset, spool: Spool) -> None:
    entries = spool_many(dataset, spool, 3)
    for folder in (dataset.data_folder, dataset.folder, spool.folder):
        (folder / ".train-00000.parquet.4711-0badcafe-0.tmp").write_bytes(b"PAR1 half")
    opened, found = again(dataset)
    assert sorted(entry.key for entry in found.adoptable) == sorted(entry.key for entry in entries)
    assert (found.listed, found.quarantined) == ([], [])
    assert not list(opened.folder.rglob("*.tmp"))


def test_a_part_that_is_listed_at_the_start_has_the_line_that_sealing_would_have_written(
    dataset: Dataset, spool: Spool
) -> None:
    [wanted] = sealed(dataset, spool, 4)
    lines = (dataset.folder / CATALOGUE).read_text().splitlines()
    (dataset.folder / CATALOGUE).write_text(lines[0] + "\n")
    _, found = again(dataset)
    [part] = found.listed
    times = {"sealed_at": ""}
    assert {**vars_of(part), **times} == {**vars_of(wanted), **times}
    assert part.sealed_at.endswith("+00:00")


def vars_of(part: Part) -> dict[str, object]:
    return {name: getattr(part, name) for name in Part.__dataclass_fields__}


def test_recovery_twice_changes_nothing_more(dataset: Dataset, spool: Spool) -> None:
    sealed(dataset, spool, 2)
    damaged, sound = spool_many(dataset, spool, 2, first=10)
    flip(damaged.path, 40)
    (dataset.data_folder / "train-00005.parquet").write_bytes(b"PAR1 not at all PAR1")
    first = again(dataset)[1]
    assert ([entry.key for entry in first.adoptable], len(first.quarantined)) == ([sound.key], 2)
    before = contents(dataset.folder)
    assert again(dataset)[1] == Recovered(first.adoptable, [], [])
    assert contents(dataset.folder) == before


def test_a_sound_dataset_is_left_alone(dataset: Dataset, spool: Spool) -> None:
    sealed(dataset, spool, 2)
    assert again(dataset)[1] == NOTHING


def test_a_spool_file_that_stands_in_a_part_is_removed_and_another_attempt_is_not(
    dataset: Dataset, spool: Spool
) -> None:
    entry = spool_one(dataset, spool, "cat", 1, attempt=1)
    kept = entry.path.read_bytes()
    seal(dataset, spool, [entry], run_id="r", sealed_at=SEALED_AT)
    entry.path.write_bytes(kept)
    second = spool_one(dataset, spool, "cat", 1, attempt=2)
    _, found = again(dataset)
    assert found.adoptable == [second]
    assert not entry.path.exists()


@pytest.mark.parametrize("position", [5, 1000, 2000, -1, -8, -300])
def test_an_unlisted_part_that_is_damaged_is_set_aside_with_its_reason(
    dataset: Dataset, spool: Spool, position: int
) -> None:
    entries = spool_many(dataset, spool, 3)

    def die(step: str) -> None:
        raise Killed

    with pytest.raises(Killed):
        seal(dataset, spool, entries, run_id="r", sealed_at=SEALED_AT, after=die)
    path = dataset.data_folder / "train-00000.parquet"
    flip(path, position % path.stat().st_size)
    broken = path.read_bytes()
    opened, found = again(dataset)
    [aside] = found.quarantined
    assert aside.path.read_bytes() == broken
    assert aside.path.with_name(f"{aside.path.name}.reason").exists()
    assert opened.parts == ()
    assert len(found.adoptable) == 3  # the spool still has them all


def test_a_flipped_bit_in_an_unlisted_part_is_refused_or_harmless(dataset: Dataset, spool: Spool) -> None:
    [part] = sealed(dataset, spool, 2)
    path = dataset.path(part)
    whole, wanted = path.read_bytes(), pq.read_table(path)
    dataset.parts = ()
    refused = 0
    for position in range(0, len(whole), 23):
        flip(path, position)
        try:
            _examine(dataset, path)
        except Damaged:
            refused += 1
        else:  # a statistic or an index; what is read is the same
            assert pq.read_table(path).equals(wanted)
        path.write_bytes(whole)
    assert refused > len(whole) / 23 / 2


def test_a_truncated_unlisted_part_is_never_listed(dataset: Dataset, spool: Spool) -> None:
    sealed(dataset, spool, 1)
    whole = (dataset.data_folder / "train-00000.parquet").read_bytes()
    for end in [0, 1, 4, 12, *range(100, len(whole), 997), len(whole) - 1]:
        (dataset.data_folder / "train-00001.parquet").write_bytes(whole[:end])
        _, found = again(dataset)
        assert (found.listed, len(found.quarantined)) == ([], 1)


def test_a_copy_of_a_listed_part_is_set_aside(dataset: Dataset, spool: Spool) -> None:
    [part] = sealed(dataset, spool, 2)
    (dataset.data_folder / "train-00007.parquet").write_bytes(dataset.path(part).read_bytes())
    opened, found = again(dataset)
    assert "stand in a listed part already" in found.quarantined[0].reason
    assert opened.spent == charge(375_012) * 2


def test_a_part_of_another_dataset_is_not_booked_here(dataset: Dataset, tmp_path: Path) -> None:
    other = Dataset.create(tmp_path / "other", NO_COLUMNS, True)
    [part] = sealed(other, other.spool(), 2)
    (dataset.data_folder / "train-00000.parquet").write_bytes(other.path(part).read_bytes())
    opened, found = again(dataset)
    assert "was not written for this dataset" in found.quarantined[0].reason
    assert opened.parts == ()


def test_a_file_of_the_users_own_in_the_data_folder_is_left_alone(dataset: Dataset) -> None:
    (dataset.data_folder / "notes.parquet").write_bytes(b"mine")
    assert again(dataset)[1] == NOTHING
    assert (dataset.data_folder / "notes.parquet").read_bytes() == b"mine"


def test_parts_are_not_read_when_the_spool_is_empty(dataset: Dataset, spool: Spool) -> None:
    [part] = sealed(dataset, spool, 2)
    dataset.path(part).write_bytes(b"")
    assert again(dataset)[1] == NOTHING
