"""The rooms of a batch's chunks, and what moves from them into the dataset."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.chunks import chunks_of, take_in
from fluxbatch.dataset.recovery import recover
from fluxbatch.dataset.shards import seal
from fluxbatch.errors import DatasetInUse
from tests.dataset.dataset_kit import SEALED_AT, flip, spool_many, spool_one


def room(dataset: Dataset, name: str, count: int, first: int = 1) -> Dataset:
    """A chunk that has made so many pictures."""
    chunk = dataset.chunk(name)
    spool = chunk.spool()
    seal(chunk, spool, spool_many(chunk, spool, count, first), run_id=name, sealed_at=SEALED_AT)
    return chunk


def keys(dataset: Dataset) -> list[str]:
    return [key for part in dataset.parts for key, _, _ in dataset.keys(part)]


def test_a_chunk_has_the_datasets_id_and_rooms_of_its_own(dataset: Dataset) -> None:
    chunk = room(dataset, "0001", 3)
    assert chunk.id == dataset.id
    assert chunk.home == dataset.folder
    assert Dataset.open(dataset.folder).parts == ()
    assert not list(dataset.data_folder.iterdir())
    assert len(dataset.chunk("0001").parts) == 1, "opened again, it is what it was"


def test_parts_keep_the_order_of_the_chunks_and_their_bytes(dataset: Dataset) -> None:
    chunks = [room(dataset, f"{number:04d}", 2, 10 * number) for number in (3, 1, 2)]
    before = {part.sha256: chunk.path(part).read_bytes() for chunk in chunks for part in chunk.parts}
    assert take_in(dataset)
    assert [part.run_id for part in dataset.parts] == ["0001", "0002", "0003"]
    assert {part.sha256: dataset.path(part).read_bytes() for part in dataset.parts} == before
    assert chunks_of(dataset) == []
    assert not take_in(dataset)


def test_what_a_chunk_has_set_aside_is_set_aside_here_with_its_reason(dataset: Dataset) -> None:
    chunk = dataset.chunk("0001")
    entry = spool_one(chunk, chunk.spool(), "a picture", 1)
    assert isinstance(entry.path, Path)
    flip(entry.path, 100)
    recover(chunk, chunk.spool())
    recover(dataset, dataset.spool())
    [reason] = [path for path in dataset.quarantine.iterdir() if path.name.endswith(".reason")]
    assert "SHA-256" in reason.read_text()
    assert reason.with_name(reason.name.removesuffix(".reason")).exists()
    assert chunks_of(dataset) == []


def test_two_pictures_of_one_attempt_are_both_kept(dataset: Dataset) -> None:
    here = spool_one(dataset, dataset.spool(), "a picture", 1)
    chunk = dataset.chunk("0001")
    spool_one(chunk, chunk.spool(), "a picture", 1, id="another")
    take_in(dataset)
    assert isinstance(here.path, Path)
    assert here.path.exists()
    assert len([path for path in dataset.quarantine.iterdir() if path.name.endswith(".row")]) == 1


def test_an_unreadable_catalogue_of_a_chunk_costs_a_look_at_its_parts(dataset: Dataset) -> None:
    chunk = room(dataset, "0001", 3)
    (chunk.folder / "catalogue.jsonl").write_text("{nonsense")
    found = recover(dataset, dataset.spool())
    assert len(found.listed) == 1
    assert len(keys(dataset)) == 3


def test_a_damaged_part_of_a_chunk_is_set_aside_when_nobody_listed_it(dataset: Dataset) -> None:
    chunk = room(dataset, "0001", 3)
    path = chunk.path(chunk.parts[0])
    chunk.remove_part(chunk.parts[0])
    assert isinstance(path, Path)
    flip(path, path.stat().st_size // 2)
    found = recover(dataset, dataset.spool())
    assert (len(found.listed), len(found.quarantined)) == (0, 1)


def test_a_chunk_is_held_by_one_at_a_time_and_beside_the_others(dataset: Dataset) -> None:
    first, second = dataset.chunk("0001"), dataset.chunk("0002")
    with first.hold(), second.hold(), pytest.raises(DatasetInUse):
        dataset.chunk("0001")
