from __future__ import annotations

import gc
import itertools
import random
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxbatch.dataset import shards
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.image import inspect
from fluxbatch.dataset.parts import file_sha256
from fluxbatch.dataset.shards import seal, split
from fluxbatch.dataset.spool import Spool, Spooled
from fluxbatch.errors import StorageError
from fluxbatch.models.money import ZERO, charge
from tests.dataset.dataset_kit import (
    NO_COLUMNS,
    SEALED_AT,
    WHEN,
    asked,
    delivered,
    flip,
    jpeg,
    row_of,
    seen,
    small_disk,
    spool_many,
    spool_one,
)


def prompts(dataset: Dataset) -> list[str]:
    return list(dataset.to_pandas(columns=["prompt"])["prompt"])


def test_sealing_moves_pictures_from_the_spool_into_a_listed_part(dataset: Dataset, spool: Spool) -> None:
    entries = spool_many(dataset, spool, 5)
    rows = [seen(spool.load(entry)) for entry in entries]
    [part] = seal(dataset, spool, entries, run_id="run-9", sealed_at=SEALED_AT)
    path = dataset.path(part)
    assert (part.file, part.rows, part.run_id, part.sealed_at) == ("data/train-00000.parquet", 5, "run-9", SEALED_AT)
    assert (part.size_bytes, part.sha256) == (path.stat().st_size, file_sha256(path))
    assert (part.nano_usd, part.centineurons) == ((charge(375_012) * 5).nano_usd, 375_012 * 5)
    assert dataset.parts == (part,)
    assert list(spool.entries()) == []
    table = pq.read_table(path)
    assert table.to_pylist() == [row.to_pylist()[0] for row in rows]
    assert table.schema.equals(dataset.schema)


def test_rows_stand_in_the_manifests_order_whatever_came_first(dataset: Dataset, spool: Spool) -> None:
    entries = [spool_one(dataset, spool, "same", 3, sample=sample) for sample in (1, 0)]
    entries += spool_many(dataset, spool, 2)
    seal(dataset, spool, random.Random(1).sample(entries, 4), run_id="r", sealed_at=SEALED_AT)
    assert list(dataset.to_pandas(columns=["row", "sample"]).itertuples(index=False, name=None)) == [
        *((1, 0), (2, 0), (3, 0), (3, 1))
    ]


def test_the_same_entries_give_the_same_bytes(tmp_path: Path) -> None:
    hashes = set()
    for name in ("a", "b"):
        dataset = Dataset.create(tmp_path / name, NO_COLUMNS, True, created_at=WHEN, dataset_id="cd" * 16)
        spool = dataset.spool()
        entries = spool_many(dataset, spool, 20)
        random.Random(name).shuffle(entries)
        if name == "b":  # here the run has looked at them; in a, whose run died, sealing does
            pictures = [inspect(spool.load(one).column("image")[0]["bytes"].as_py(), 64, 48) for one in entries]
            entries = [replace(one, picture=picture) for one, picture in zip(entries, pictures, strict=True)]
        [part] = seal(dataset, spool, entries, run_id=name, sealed_at=name)
        hashes.add(part.sha256)
    assert len(hashes) == 1


def test_a_part_is_closed_before_it_grows_too_large(dataset: Dataset, spool: Spool) -> None:
    entries = spool_many(dataset, spool, 7)
    limit = 3 * max(entry.size_bytes for entry in entries)
    parts = seal(dataset, spool, entries, run_id="r", sealed_at=SEALED_AT, part_bytes_max=limit)
    assert [part.rows for part in parts] == [3, 3, 1]
    assert [part.file[-13:] for part in parts] == ["00000.parquet", "00001.parquet", "00002.parquet"]
    assert prompts(dataset) == [f"picture {number}" for number in range(1, 8)]


def test_row_groups_are_bounded_in_rows_and_bytes(
    dataset: Dataset, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = spool_many(dataset, spool, 10)
    monkeypatch.setattr(shards, "GROUP_ROWS_MAX", 4)
    [part] = seal(dataset, spool, entries, run_id="r", sealed_at=SEALED_AT)
    found = pq.read_metadata(dataset.path(part))
    assert [found.row_group(number).num_rows for number in range(found.num_row_groups)] == [4, 4, 2]
    entries = spool_many(dataset, spool, 4, first=20)
    monkeypatch.setattr(shards, "GROUP_BYTES_MAX", entries[0].size_bytes * 2 + 50)
    [part] = seal(dataset, spool, entries, run_id="r", sealed_at=SEALED_AT)
    assert pq.read_metadata(dataset.path(part)).num_row_groups == 2


@given(st.lists(st.integers(1, 50), max_size=30), st.integers(1, 120), st.one_of(st.none(), st.integers(1, 6)))
def test_splitting_keeps_all_in_order_and_within_the_bounds(sizes: list[int], most: int, rows: int | None) -> None:
    entries = [Spooled("", n, ZERO, Path(), size, 0, 0) for n, size in enumerate(sizes)]
    groups = list(split(entries, most, rows))
    assert [entry for group in groups for entry in group] == entries
    for group in groups:
        assert len(group) == 1 or sum(entry.size_bytes for entry in group) <= most
        assert rows is None or len(group) <= rows
    for before, after in itertools.pairwise(groups):
        size = sum(entry.size_bytes for entry in before) + after[0].size_bytes
        assert size > most or len(before) == rows


def test_pictures_are_plain_and_all_else_is_compressed_with_index_and_checksums(dataset: Dataset, spool: Spool) -> None:
    [part] = seal(dataset, spool, spool_many(dataset, spool, 8), run_id="r", sealed_at=SEALED_AT)
    group = pq.read_metadata(dataset.path(part)).row_group(0)
    columns = {group.column(number).path_in_schema: group.column(number) for number in range(group.num_columns)}
    assert len(columns) == len(dataset.schema.names) + 1
    pictures = columns.pop("image.bytes")
    assert (pictures.compression, set(pictures.encodings)) == ("UNCOMPRESSED", {"PLAIN", "RLE"})
    assert not pictures.is_stats_set
    assert pictures.has_offset_index
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    assert all(column.has_column_index and column.has_offset_index for column in columns.values())
    assert columns["row"].statistics.max == 8


def test_every_page_of_every_column_has_a_checksum(dataset: Dataset, spool: Spool) -> None:
    [part] = seal(dataset, spool, spool_many(dataset, spool, 4), run_id="r", sealed_at=SEALED_AT)
    path = dataset.path(part)
    group = pq.read_metadata(path).row_group(0)
    for number in range(group.num_columns):
        column = group.column(number)
        last = column.dictionary_page_offset or column.data_page_offset
        position = last + column.total_compressed_size - 1
        flip(path, position)
        with pytest.raises(OSError, match=r"CRC|checksum"):
            pq.ParquetFile(path, page_checksum_verification=True).read()
        flip(path, position)
    pq.ParquetFile(path, page_checksum_verification=True).read()


def test_a_damaged_entry_is_set_aside_and_the_others_are_sealed(dataset: Dataset, spool: Spool) -> None:
    entries = spool_many(dataset, spool, 3)
    flip(entries[1].path, 50)
    [part] = seal(dataset, spool, entries, run_id="r", sealed_at=SEALED_AT)
    assert (part.rows, part.nano_usd) == (2, (charge(375_012) * 2).nano_usd)
    assert prompts(dataset) == ["picture 1", "picture 3"]
    [aside] = spool.quarantined
    assert aside.path.exists()
    assert list(spool.entries()) == []


def test_when_all_entries_are_damaged_there_is_no_part(dataset: Dataset, spool: Spool) -> None:
    entries = spool_many(dataset, spool, 2)
    for entry in entries:
        flip(entry.path, 50)
    assert seal(dataset, spool, entries, run_id="r", sealed_at=SEALED_AT) == []
    assert dataset.parts == ()
    assert list(dataset.data_folder.iterdir()) == []
    assert len(spool.quarantined) == 2


def test_a_row_with_other_columns_than_the_dataset_is_set_aside(dataset: Dataset, spool: Spool) -> None:
    import pyarrow as pa

    request = asked("cat")
    entry = spool.put(row_of(delivered(request), pa.schema([("other", pa.string())])), request.key, 1)
    assert seal(dataset, spool, [entry], run_id="r", sealed_at=SEALED_AT) == []
    assert "other columns" in spool.quarantined[0].reason


@pytest.mark.parametrize("bytes_max", [1, 5_000, 20_000])
def test_a_disk_that_fills_up_while_sealing_costs_nothing(dataset: Dataset, spool: Spool, bytes_max: int) -> None:
    entries = spool_many(dataset, spool, 12)
    with small_disk(bytes_max), pytest.raises(StorageError, match=r"train-00000\.parquet: could not be written"):
        seal(dataset, spool, entries, run_id="r", sealed_at=SEALED_AT)
    gc.collect()  # what the writer left open would complain here
    assert list(dataset.data_folder.iterdir()) == []
    assert Dataset.open(dataset.folder).parts == ()
    assert len(list(spool.entries())) == 12
    [part] = seal(dataset, spool, entries, run_id="r", sealed_at=SEALED_AT)
    assert part.rows == 12


def test_nothing_to_seal_is_no_part(dataset: Dataset, spool: Spool) -> None:
    assert seal(dataset, spool, [], run_id="r", sealed_at=SEALED_AT) == []
    assert dataset.parts == ()


def test_pictures_come_back_bit_for_bit(dataset: Dataset, spool: Spool) -> None:
    seal(dataset, spool, spool_many(dataset, spool, 3), run_id="r", sealed_at=SEALED_AT)
    pictures = [image["bytes"] for image in dataset.to_pandas(columns=["image"])["image"]]
    assert pictures == [jpeg(seed=number) for number in (1, 2, 3)]
