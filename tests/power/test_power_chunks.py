"""The power goes while what the chunks of a batch have made is moved into the dataset."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.chunks import chunks_of
from fluxbatch.dataset.recovery import recover
from fluxbatch.dataset.shards import seal
from fluxbatch.dataset.verify import verify_dataset
from tests.dataset.dataset_kit import NO_COLUMNS, SEALED_AT, spool_many
from tests.power.disk import cuts
from tests.power.power_check import pictures_of, spooled_of
from tests.power.tap import tap
from tests.soak import soak

STATES = soak(120, 5_000)


def filled(folder: Path) -> Dataset:
    """A dataset, and two chunks of a batch that died: parts that are listed and one that is not, pictures in spools."""
    dataset = Dataset.create(folder, NO_COLUMNS, True)
    seal(dataset, dataset.spool(), spool_many(dataset, dataset.spool(), 2), run_id="run-1", sealed_at=SEALED_AT)
    for number, name in enumerate(("0001", "0002"), start=1):
        chunk = dataset.chunk(name)
        spool, first = chunk.spool(), 10 * number
        seal(chunk, spool, spool_many(chunk, spool, 2, first), run_id=name, sealed_at=SEALED_AT)
        unlisted = seal(chunk, spool, spool_many(chunk, spool, 2, first + 2), run_id=name, sealed_at=SEALED_AT)
        chunk.remove_part(unlisted[0])
        spool_many(chunk, spool, 2, first + 4)
    return dataset


def test_a_cut_while_chunks_are_taken_in_loses_no_picture_and_doubles_none(tmp_path: Path) -> None:
    dataset = filled(tmp_path / "disk" / "pictures")
    with tap(tmp_path / "disk") as made:
        recover(dataset, dataset.spool())
    expected = Counter([*pictures_of(dataset), *spooled_of(dataset)])
    assert (len(expected), set(expected.values())) == (14, {1})
    where: Counter[str] = Counter()
    for state in cuts(made.history(), 1, STATES):
        again = tmp_path / "again"
        again.mkdir()
        state.write(again)
        opened = Dataset.open(again / "pictures")
        where["not taken in"] += bool(chunks_of(opened))
        where["parts not listed"] += bool(opened.unlisted())
        found = recover(opened, opened.spool())
        assert found.quarantined == [], f"cut at {state.at}"
        assert Counter([*pictures_of(opened), *spooled_of(opened)]) == expected, f"cut at {state.at}"
        assert chunks_of(opened) == []
        assert verify_dataset(opened) == []
        shutil.rmtree(again)
    assert min(where["not taken in"], where["parts not listed"]) > STATES // 20, where
