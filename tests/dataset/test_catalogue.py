from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from multiprocessing.connection import Connection
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from fluxbatch.dataset import catalogue
from fluxbatch.dataset.card import Card
from fluxbatch.dataset.catalogue import CATALOGUE, Dataset
from fluxbatch.dataset.header import Part
from fluxbatch.dataset.spool import Spool
from fluxbatch.errors import DatasetError, DatasetInUse, StorageError
from fluxbatch.models.money import ZERO, charge
from tests.dataset.dataset_kit import NO_COLUMNS, WHEN, sealed, spool_one

OWN = pa.schema(
    [("label", pa.string()), ("when", pa.timestamp("ms")), ("kind", pa.dictionary(pa.int32(), pa.string()))]
)


def test_a_dataset_is_opened_as_it_was_made(tmp_path: Path) -> None:
    made = Dataset.create(tmp_path / "a" / "b", OWN, False, created_at=WHEN)
    opened = Dataset.open(tmp_path / "a" / "b")
    assert opened.header == made.header
    assert (opened.id, opened.simulated, opened.parts, opened.spent) == (made.id, False, (), ZERO)
    assert opened.own_schema.equals(OWN)
    assert opened.header.created_at == WHEN
    assert len(opened.id) == 32


def test_each_dataset_has_an_id_of_its_own(tmp_path: Path) -> None:
    ids = {Dataset.create(tmp_path / name, NO_COLUMNS, True).id for name in "abc"}
    assert len(ids) == 3


def test_a_second_dataset_in_the_same_folder_is_refused(dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match="is a dataset already"):
        Dataset.create(dataset.folder, NO_COLUMNS, True)
    assert Dataset.open(dataset.folder).id == dataset.id


def test_two_that_are_made_at_once_do_not_replace_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second would have written a catalogue with another id over the first's: its money and parts forgotten."""
    first: list[str] = []

    def meanwhile(folder: Path) -> None:
        monkeypatch.undo()
        first.append(Dataset.create(folder, NO_COLUMNS, True).id)

    monkeypatch.setattr(catalogue, "_make_folders", meanwhile)
    with pytest.raises(DatasetError, match="is a dataset already; run the same command again"):
        Dataset.create(tmp_path, NO_COLUMNS, True)
    assert [Dataset.open(tmp_path).id] == first


def test_one_that_is_being_made_is_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    second: list[DatasetInUse] = []

    def meanwhile(card: Card) -> str:
        monkeypatch.undo()
        with pytest.raises(DatasetInUse) as caught:
            Dataset.create(tmp_path, NO_COLUMNS, True)
        second.append(caught.value)
        return "card"

    monkeypatch.setattr(catalogue, "card_text", meanwhile)
    made = Dataset.create(tmp_path, NO_COLUMNS, True)
    assert len(second) == 1
    assert Dataset.open(tmp_path).id == made.id


def test_pictures_whose_catalogue_is_gone_are_not_taken_over(dataset: Dataset, spool: Spool) -> None:
    spool_one(dataset, spool, "cat", 1)
    (dataset.folder / CATALOGUE).unlink()
    with pytest.raises(DatasetError, match="has pictures"):
        Dataset.create(dataset.folder, NO_COLUMNS, True)


def test_a_creation_that_died_half_way_can_be_done_again(tmp_path: Path) -> None:
    Dataset.create(tmp_path, NO_COLUMNS, True)
    (tmp_path / CATALOGUE).unlink()
    Dataset.create(tmp_path, NO_COLUMNS, True)
    assert Dataset.open(tmp_path).parts == ()


def test_a_file_given_as_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(DatasetError, match="is a file"):
        Dataset.create(tmp_path / "a", NO_COLUMNS, True)


def test_own_columns_with_the_datasets_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="sha256, usd have names"):
        Dataset.create(tmp_path / "a", pa.schema([("usd", pa.string()), ("sha256", pa.string())]), True)
    assert not (tmp_path / "a").exists()


def test_a_card_is_written_and_the_users_own_is_left_alone(tmp_path: Path) -> None:
    Dataset.create(tmp_path / 'a "quoted" name: yes', NO_COLUMNS, True)
    card = (tmp_path / 'a "quoted" name: yes' / "README.md").read_text()
    assert "path: data/train-*.parquet" in card
    assert yaml.safe_load(card.split("---\n")[1])["pretty_name"] == 'a "quoted" name: yes'
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("my own words")
    Dataset.create(tmp_path / "mine", NO_COLUMNS, True)
    assert (tmp_path / "mine" / "README.md").read_text() == "my own words"


def test_a_folder_without_catalogue_is_said_to_be_no_dataset(tmp_path: Path) -> None:
    assert not Dataset.exists(tmp_path)
    with pytest.raises(DatasetError, match="is no dataset"):
        Dataset.open(tmp_path)


@pytest.mark.parametrize(
    ("line", "text", "said"),
    [
        (1, "", "line 1"),
        (1, "[]", "line 1: is not a JSON object"),
        (1, "{}", "line 1: is not the header"),
        (1, '{"fluxbatch": "dataset", "version": 4}', "format version 4"),
        (1, '{"fluxbatch": "dataset", "version": 1}', "line 1: cannot be read"),
        (2, '{"part": {"file": "data/train-00000.parquet"}}', "line 2: is not a part"),
        (2, '{"part": {"file": "data/tr', "line 2"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(dataset: Dataset, spool: Spool, line: int, text: str, said: str) -> None:
    sealed(dataset, spool, 1)
    path = dataset.folder / CATALOGUE
    lines = path.read_text().splitlines()
    lines[line - 1] = text
    path.write_text("\n".join(lines))
    with pytest.raises(DatasetError, match=r"catalogue\.jsonl, line") as caught:
        Dataset.open(dataset.folder)
    assert said in str(caught.value)


def test_the_catalogue_can_be_read_by_people_and_other_programs(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "a", OWN, True, created_at=WHEN)
    sealed(dataset, dataset.spool(), 2)
    header, part = (json.loads(line) for line in (dataset.folder / CATALOGUE).read_text().splitlines())
    assert header["own_columns"][:2] == [{"name": "label", "type": "string"}, {"name": "when", "type": "timestamp[ms]"}]
    assert (header["id"], header["simulated"], header["version"]) == (dataset.id, True, 3)
    assert (part["part"]["file"], part["part"]["rows"]) == ("data/train-00000.parquet", 2)


def test_parts_are_listed_durably_and_summed(dataset: Dataset, spool: Spool) -> None:
    parts = [*sealed(dataset, spool, 2), *sealed(dataset, spool, 3, first=10)]
    opened = Dataset.open(dataset.folder)
    assert opened.parts == tuple(parts) == dataset.parts
    assert opened.spent == charge(375_012) * 5
    assert [len(list(opened.keys(part))) for part in parts] == [2, 3]


def test_keys_tell_what_the_ledger_has_to_know(dataset: Dataset, spool: Spool) -> None:
    entry = spool_one(dataset, spool, "cat", 1, attempt=4)
    from fluxbatch.dataset.shards import seal

    [part] = seal(dataset, spool, [entry], run_id="run-1", sealed_at="now")
    assert list(dataset.keys(part)) == [(entry.key, 4, charge(375_012))]


def test_a_missing_part_is_said_when_its_keys_are_asked_for(dataset: Dataset, spool: Spool) -> None:
    [part] = sealed(dataset, spool, 1)
    dataset.path(part).unlink()
    with pytest.raises(StorageError, match="is missing"):
        list(dataset.keys(part))


def test_a_part_is_listed_once(dataset: Dataset, spool: Spool) -> None:
    [part] = sealed(dataset, spool, 1)
    with pytest.raises(ValueError, match="listed already"):
        dataset.add_part(part)


def test_part_names_are_never_given_twice(dataset: Dataset) -> None:
    dataset.add_part(Part("data/train-00007.parquet", 1, 1, "", 0, 0, "", ""))
    (dataset.data_folder / "train-00009.parquet").write_bytes(b"")
    (dataset.data_folder / "train-x.parquet").write_bytes(b"")
    assert [dataset.next_part().name for _ in range(2)] == ["train-00010.parquet", "train-00011.parquet"]


def test_pandas_gets_all_listed_rows_and_only_those(dataset: Dataset, spool: Spool) -> None:
    assert list(dataset.to_pandas().columns) == dataset.schema.names
    sealed(dataset, spool, 2)
    sealed(dataset, spool, 1, first=10)
    unlisted = dataset.data_folder / "train-00099.parquet"
    unlisted.write_bytes((dataset.data_folder / "train-00000.parquet").read_bytes())
    assert list(dataset.to_pandas()["prompt"]) == ["picture 1", "picture 2", "picture 10"]
    assert list(dataset.to_pandas(columns=["row"]).columns) == ["row"]


def test_the_holder_is_named_and_the_second_is_kept_out(dataset: Dataset) -> None:
    with dataset.hold():
        with (
            pytest.raises(DatasetInUse, match=f"process {os.getpid()} on ") as caught,
            Dataset.open(dataset.folder).hold(),
        ):
            pass
        assert str(dataset.folder) in str(caught.value)
    with dataset.hold():
        pass


def test_who_takes_hold_sees_what_was_sealed_in_between(dataset: Dataset) -> None:
    other = Dataset.open(dataset.folder)
    with other.hold():
        sealed(other, other.spool(), 1)
    assert dataset.parts == ()
    with dataset.hold():
        assert dataset.parts == other.parts


def _hold_and_die(folder: str, pipe: Connection) -> None:
    with Dataset.open(Path(folder)).hold():
        pipe.send(os.getpid())
        os._exit(9)


def test_death_releases_the_lock(dataset: Dataset) -> None:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_hold_and_die, args=(str(dataset.folder), theirs))
    process.start()
    assert ours.recv() == process.pid
    process.join()
    assert process.exitcode == 9
    with dataset.hold():
        pass


def test_a_copied_dataset_that_lost_its_hidden_folder_can_be_gone_on_with(dataset: Dataset) -> None:
    shutil.rmtree(dataset.folder / ".fluxbatch")
    with dataset.hold():
        assert sealed(dataset, dataset.spool(), 1)
