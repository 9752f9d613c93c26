"""A check of a dataset's pictures: what it finds, what it keeps, and what it does not look at again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxbatch.checks.check import check
from fluxbatch.checks.checked import Group
from fluxbatch.checks.covered import checking, standings
from fluxbatch.dataset.catalogue import CATALOGUE, Dataset
from fluxbatch.dataset.image import inspect
from fluxbatch.dataset.record import picture_row
from fluxbatch.dataset.recovery import recover
from fluxbatch.dataset.repair import mend_parts
from fluxbatch.dataset.shards import seal
from fluxbatch.dataset.verify import verify_dataset
from fluxbatch.errors import DatasetError, DatasetInUse, StorageError, UsageError
from fluxbatch.query import Rows
from fluxbatch.query.sidecars import sidecar_file
from fluxbatch.scores import Scored
from tests.checks.check_kit import BLACK, NONE, RED, Reds, add_part, dataset_at, key, picture
from tests.dataset.dataset_kit import SEALED_AT, asked, delivered, flip
from tests.query.query_kit import values

OLD = Path(__file__).parents[1] / "dataset"


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return dataset_at(tmp_path / "pictures")


@pytest.fixture
def mixed(dataset: Dataset) -> Dataset:
    """Two parts: 1 is near 4 and 6, 2 near none; 3 blank, 5 solid, 7 undecodable, 8 of a wrong size."""
    add_part(dataset, picture(1), picture(2), BLACK, picture(1, quality=95))
    add_part(dataset, RED, picture(1), NONE, picture(9, width=80))
    return Dataset.open(dataset.folder)


def table(dataset: Dataset, name: str) -> pa.Table:
    return pq.read_table(str(sidecar_file(dataset, name)))


def test_it_counts_and_names_the_suspects(mixed: Dataset) -> None:
    found = check(mixed.folder)
    assert (found.pictures, found.parts, found.suspect_count, found.exit_code) == (8, 2, 4, 1)
    assert found.suspects == {"blank": [key(3)], "solid": [key(5)], "undecodable": [key(7)], "wrong_size": [key(8)]}


def test_near_duplicates_are_kept_as_columns_by_which_rows_are_chosen(mixed: Dataset) -> None:
    found = check(mixed.folder)
    assert found.groups == [Group(key(1), (key(4), key(6)))]
    assert table(mixed, "duplicates").to_pydict()["duplicate_distance"][0] == 0
    rows = Rows(mixed)
    assert values(rows, "row", where="duplicate_group IS NOT NULL") == [1, 4, 6]
    assert set(values(rows, "duplicate_group", where="duplicate_group IS NOT NULL")) == {key(1)}
    kept = "\"check\" = 'ok' AND (duplicate_group IS NULL OR duplicate_group = key)"
    assert values(rows, "row", where=kept) == [1, 2]
    assert rows.count("duplicate_group IS NULL AND sharpness > 1") == 2
    assert rows.count("duplicate_distance > 4") == 0


def test_the_distance_can_be_chosen_and_another_one_groups_anew(mixed: Dataset) -> None:
    check(mixed.folder, distance_max=16)
    assert check(mixed.folder, distance_max=0).groups == [Group(key(1), tuple(near(mixed, 0)))]
    assert check(mixed.folder, distance_max=16).groups[0].key == key(1)


def near(dataset: Dataset, bits: int) -> list[str]:
    """The keys whose hash is within so many bits of the first one's, by hand."""
    found = dataset.to_pandas(["key", "phash"]).dropna()
    hashes = [int(text, 16) for text in found["phash"]]
    return [key for key, value in zip(found["key"], hashes, strict=True) if (value ^ hashes[0]).bit_count() <= bits][1:]


def test_a_dataset_without_pictures_and_one_without_duplicates(dataset: Dataset) -> None:
    assert check(dataset.folder).exit_code == 0
    add_part(dataset, picture(1), picture(2))
    found = check(dataset.folder)
    assert (found.groups, found.exit_code) == ([], 0)
    assert Rows(Dataset.open(dataset.folder)).count("duplicate_group IS NULL") == 2


def test_a_scorer_is_given_every_picture_that_can_be_decoded_and_only_once(mixed: Dataset) -> None:
    reds = Reds()
    [looked] = check(mixed.folder, [reds]).looked
    assert reds.given == [f"picture {row}" for row in (1, 2, 3, 4, 5, 6, 8)]
    assert (looked.now, looked.before) == (8, 0)
    assert looked.ranges["red"][2] == 200
    assert values(Rows(mixed), "red", where="row = 5") == [200.0]
    assert values(Rows(mixed), "red", where="row = 7") == [None]
    [looked] = check(mixed.folder, [reds]).looked
    assert (looked.now, looked.before, len(reds.given)) == (0, 8, 7)


def test_only_parts_that_came_since_are_looked_at(mixed: Dataset) -> None:
    reds = Reds()
    check(mixed.folder, [reds])
    reds.given.clear()
    add_part(mixed, picture(2, quality=95), picture(20))
    found = check(mixed.folder, [reds])
    assert reds.given == ["picture 9", "picture 10"]
    assert found.groups == [Group(key(1), (key(4), key(6))), Group(key(2), (key(9),))]
    assert table(mixed, "reds")["prompted"].to_pylist() == [f"picture {row}" for row in (1, 2, 3, 4, 5, 6, 8, 9, 10)]


def test_what_is_behind_the_dataset_says_so(mixed: Dataset) -> None:
    check(mixed.folder, [Reds()])
    assert not any(one.is_stale for one in standings(mixed))
    add_part(mixed, picture(20))
    found = check(mixed.folder)
    assert [(one.name, one.pictures_missing) for one in found.stale] == [("reds", 1)]
    assert "1 picture in 1 part came later, not covered" in str(found.stale[0])
    assert check(mixed.folder, [Reds()]).stale == []


@pytest.mark.parametrize("change", ["identity", "columns"])
def test_another_scorer_of_the_same_name_scores_all_anew(mixed: Dataset, change: str) -> None:
    check(mixed.folder, [Reds()])
    other = Reds(identity="version 2") if change == "identity" else Reds(columns={"red": int, "prompted": str})
    if change == "columns":
        other.score = lambda pictures: {"red": [7] * len(pictures), "prompted": [""] * len(pictures)}  # type: ignore[method-assign]
    [looked] = check(mixed.folder, [other]).looked
    assert (looked.now, looked.before) == (8, 0)


def test_a_part_that_was_written_anew_is_looked_at_anew_and_one_that_is_gone_is_forgotten(mixed: Dataset) -> None:
    reds = Reds()
    check(mixed.folder, [reds])
    first, second = mixed.parts
    reds.given.clear()
    with mixed.hold():
        mixed.remove_part(second)
    found = check(mixed.folder, [reds])
    assert (reds.given, found.pictures) == ([], 4)
    assert len(table(mixed, "reds")) == 4
    with mixed.hold():
        mixed.remove_part(first)
    mixed.path(first).unlink()
    mixed.path(second).unlink()
    add_part(mixed, picture(5))
    check(mixed.folder, [reds])
    assert reds.given == ["picture 1"]
    assert len(table(mixed, "reds")) == 1


def test_what_was_done_is_kept_when_it_is_stopped_and_it_goes_on_from_there(mixed: Dataset) -> None:
    def stopped(pictures: list[Scored]) -> None:
        if pictures[0].prompt == "picture 5":
            raise KeyboardInterrupt

    reds = Reds(before=stopped)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        check(mixed.folder, [reds])
    assert table(mixed, "reds")["prompted"].to_pylist() == [f"picture {row}" for row in (1, 2, 3, 4)]
    again = Reds()
    [looked] = check(mixed.folder, [again]).looked
    assert (again.given, looked.before) == (["picture 5", "picture 6", "picture 8"], 4)


def test_what_is_done_is_put_down_every_minute(dataset: Dataset) -> None:
    for seed in range(4):
        add_part(dataset, picture(seed))
    rows: list[int] = []
    path = Path(str(sidecar_file(dataset, "reds")))

    def look(pictures: object) -> None:
        rows.append(len(pq.read_table(path)) if path.exists() else 0)

    times = iter(range(0, 1000, 40))
    check(dataset.folder, [Reds(before=look)], clock=lambda: float(next(times)))
    assert rows == [0, 0, 2, 2]  # 40 s a look at the clock: it was written behind the second


def test_a_damaged_part_is_named_when_all_others_are_checked(mixed: Dataset) -> None:
    add_part(mixed, picture(30))
    flip(Path(str(mixed.path(mixed.parts[1]))), 400)
    Path(str(mixed.path(mixed.parts[2]))).unlink()
    reds = Reds()
    with pytest.raises(StorageError, match=r"train-00001.*train-00002\.parquet is missing.*verify --repair"):
        check(mixed.folder, [reds])
    assert reds.given == [f"picture {row}" for row in (1, 2, 3, 4)]
    assert len(table(mixed, "duplicates")) == 3  # the second part's keys and hashes can be read


@pytest.mark.parametrize("how", ["flipped", "emptied", "of another dataset", "not ours"])
def test_a_file_of_columns_that_is_not_what_was_written_is_made_anew(mixed: Dataset, how: str, tmp_path: Path) -> None:
    check(mixed.folder, [Reds()])
    path = Path(str(sidecar_file(mixed, "reds")))
    whole = table(mixed, "reds")
    if how == "flipped":
        flip(path, 60)
    elif how == "emptied":
        path.write_bytes(b"")
    elif how == "not ours":
        pq.write_table(whole.replace_schema_metadata(None), path)
    else:
        said = json.loads(whole.schema.metadata[b"fluxbatch"])
        pq.write_table(whole.replace_schema_metadata({"fluxbatch": json.dumps({**said, "dataset": "cd" * 16})}), path)
    again = Reds()
    check(mixed.folder, [again])
    assert len(again.given) == 7
    assert table(mixed, "reds").equals(whole)


@pytest.mark.parametrize("version", [1, 2])
def test_pictures_of_an_older_dataset_are_measured_into_columns_beside_it(tmp_path: Path, version: int) -> None:
    folder = tmp_path / "old"
    (folder / "data").mkdir(parents=True)
    shutil.copy(OLD / f"version{version}" / CATALOGUE, folder)
    shutil.copy(OLD / f"version{version}" / "train-00000.parquet", folder / "data")
    before = (folder / "data" / "train-00000.parquet").read_bytes()
    [looked] = check(folder).looked
    assert (looked.name, looked.now) == ("checks", 2)
    old = Dataset.open(folder)
    rows = Rows(old)
    sharpness = "sharpness_" if version == 2 else "sharpness"  # the user's own column has that name in version 2
    by_hand = [inspect(image["bytes"], 64, 48).measured for image in old.to_pandas(["image"])["image"]]
    assert None not in by_hand
    assert values(rows, sharpness) == [one.sharpness for one in by_hand if one]
    assert values(rows, "dominant_color") == [one.dominant_color for one in by_hand if one]
    assert rows.count("luminance_mean > 0 AND luminance_spread > 0") == 2
    assert check(folder).looked[0].now == 0
    assert (folder / "data" / "train-00000.parquet").read_bytes() == before
    assert verify_dataset(old) == []


def test_a_new_dataset_has_its_figures_in_its_parts(mixed: Dataset) -> None:
    assert check(mixed.folder).looked == []
    assert not sidecar_file(mixed, "checks").exists()


def test_a_picture_that_was_paid_for_twice_is_no_duplicate_of_itself_and_has_one_row(dataset: Dataset) -> None:
    for attempt in (1, 2):
        request = asked("picture 1")
        delivery = delivered(request, picture(1), attempt=attempt)
        entry = dataset.spool().put(picture_row(delivery, dataset.own_schema), request.key, attempt)
        seal(dataset, dataset.spool(), [entry], run_id="run-1", sealed_at=SEALED_AT)
    assert check(dataset.folder, [Reds()]).groups == []
    assert len(table(dataset, "reds")) == 1
    assert values(Rows(Dataset.open(dataset.folder)), "prompted") == ["picture 1"] * 2
    assert check(dataset.folder, [Reds()]).looked[0].now == 0


def test_blank_and_solid_pictures_are_in_no_group(dataset: Dataset) -> None:
    add_part(dataset, BLACK, RED, BLACK, RED)
    found = check(dataset.folder)
    assert (found.groups, found.suspect_count) == ([], 4)


def test_it_disturbs_nothing_that_is_done_with_a_dataset(mixed: Dataset) -> None:
    check(mixed.folder, [Reds()])
    opened = Dataset.open(mixed.folder)
    assert verify_dataset(opened) == []
    assert opened.unlisted() == []
    flip(Path(str(opened.path(opened.parts[0]))), 3000)
    with opened.hold():
        mend_parts(opened, opened.spool())
        recover(opened, opened.spool())
        chunk = opened.chunk("1-of-2")
    assert chunk.parts == ()
    assert (opened.folder / ".fluxbatch" / "columns" / "reds.parquet").exists()  # type: ignore[operator]
    assert Rows(Dataset.open(mixed.folder)).count("red IS NOT NULL") > 0


def test_it_goes_on_beside_a_run_and_keeps_other_checks_out(mixed: Dataset) -> None:
    with mixed.hold():
        assert check(mixed.folder).pictures == 8
    with checking(mixed), pytest.raises(DatasetInUse, match=r"process \d+ on .* is checking this dataset; wait"):
        check(mixed.folder)


def test_what_a_dead_check_left_half_written_is_removed(mixed: Dataset) -> None:
    check(mixed.folder)
    folder = Path(str(mixed.folder)) / ".fluxbatch" / "columns"
    left = folder / ".reds.parquet.99999-0123abcd-7.tmp"
    left.write_bytes(b"half")
    check(mixed.folder)
    assert sorted(path.name for path in folder.iterdir()) == ["duplicates.parquet", "lock"]


def test_the_same_check_writes_the_same_bytes(mixed: Dataset, tmp_path: Path) -> None:
    check(mixed.folder, [Reds()])
    before = {name: sidecar_file(mixed, name).read_bytes() for name in ("reds", "duplicates")}
    for name in before:
        Path(str(sidecar_file(mixed, name))).unlink()
    check(mixed.folder, [Reds()])
    assert before == {name: sidecar_file(mixed, name).read_bytes() for name in before}


def test_all_bad_arguments_are_said_at_once(mixed: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--distance 17 is not between 0 .* and 16 bits; --scorer reds is given more"):
        check(mixed.folder, [Reds(), Reds()], 17)
    with pytest.raises(DatasetError, match="is no dataset"):
        check(tmp_path / "nothing")


def test_numbers_of_a_scorer_that_are_none_are_null(mixed: Dataset) -> None:
    reds = Reds(columns={"red": float})
    reds.score = lambda pictures: {"red": np.full(len(pictures), np.nan, np.float32)}  # type: ignore[method-assign]
    check(mixed.folder, [reds])
    assert Rows(mixed).count("red > 0") == 0
    assert Rows(mixed).count("red IS NULL") == 8
