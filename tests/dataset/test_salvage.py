"""What is saved of a damaged part is what was put into it, to the last column; and one flip costs one picture."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.salvage import salvage
from fluxbatch.dataset.shards import seal
from fluxbatch.dataset.spool import Spool
from tests.dataset.dataset_kit import SEALED_AT, WHEN, jpeg, seen, spool_one
from tests.soak import soak

SEED = 7
OWN = pa.record_batch(
    {
        "mood": ["calm", "wild", "calm", None],
        "tags": [["a"], [], None, ["b", "c"]],
        "kind": pa.array(["x", "y", "x", "x"]).dictionary_encode(),
    }
)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset.create(tmp_path / "pictures", OWN.schema, True, created_at=WHEN, dataset_id="cd" * 16)


def test_what_is_saved_is_what_was_put_in_wherever_the_bit_flipped(dataset: Dataset, spool: Spool) -> None:
    entries = [spool_one(dataset, spool, f"a fox {n}", n + 1, own=OWN.slice(n, 1)) for n in range(4)]
    put = {entry.key: seen(spool.load(entry)) for entry in entries}
    [part] = seal(dataset, spool, entries, run_id="r", sealed_at=SEALED_AT)
    path = dataset.path(part)
    whole, chance, saved = path.read_bytes(), random.Random(SEED), Counter[int]()
    assert {row.key for row in salvage(dataset, path)} == set(put)
    for number in range(soak(400, 20_000)):
        position, bit = chance.randrange(len(whole)), chance.randrange(8)
        path.write_bytes(whole[:position] + bytes([whole[position] ^ (1 << bit)]) + whole[position + 1 :])
        found = list(salvage(dataset, path))
        saved[len(found)] += 1
        for row in found:
            where = f"bit {bit} of byte {position} (seed {SEED}, number {number})"
            assert row.row.equals(put[row.key]), f"saved otherwise than it was put: {where}"
    assert saved.keys() >= {0, 3, 4}, f"a column, a picture and nothing that is read were hit: {saved}"


def test_a_flip_in_a_picture_costs_that_picture(dataset: Dataset, spool: Spool) -> None:
    entries = [spool_one(dataset, spool, f"a fox {n}", n + 1, own=OWN.slice(n, 1)) for n in range(4)]
    [part] = seal(dataset, spool, entries, run_id="r", sealed_at=SEALED_AT)
    path = dataset.path(part)
    whole = path.read_bytes()
    for index, entry in enumerate(entries):
        picture = jpeg(seed=index + 1)
        place = whole.index(picture) + len(picture) // 3
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert {row.key for row in salvage(dataset, path)} == {one.key for one in entries} - {entry.key}
