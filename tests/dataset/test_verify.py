from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.parts import file_sha256
from fluxbatch.dataset.shards import seal
from fluxbatch.dataset.spool import Spool
from fluxbatch.dataset.verify import Finding, verify_dataset
from tests.dataset.dataset_kit import NO_COLUMNS, SEALED_AT, flip, sealed, spool_many, spool_one


def whats(findings: list[Finding]) -> str:
    return "\n".join(str(finding) for finding in findings)


def test_a_sound_dataset_has_no_findings(dataset: Dataset, spool: Spool) -> None:
    sealed(dataset, spool, 3)
    spool_many(dataset, spool, 2, first=10)
    assert verify_dataset(dataset) == []


def test_a_verified_dataset_is_not_touched(dataset: Dataset, spool: Spool) -> None:
    sealed(dataset, spool, 1)
    shutil.rmtree(dataset.folder / ".fluxbatch")
    before = sorted(dataset.folder.rglob("*"))
    assert verify_dataset(Dataset.open(dataset.folder)) == []
    assert sorted(dataset.folder.rglob("*")) == before


def test_a_missing_part_is_found(dataset: Dataset, spool: Spool) -> None:
    [part] = sealed(dataset, spool, 1)
    dataset.path(part).unlink()
    [finding] = verify_dataset(dataset)
    assert (finding.place, finding.what) == (part.file, "is listed and missing")
    assert "copy" in finding.remedy


def test_every_flipped_bit_of_a_part_is_found(dataset: Dataset, spool: Spool) -> None:
    [part] = sealed(dataset, spool, 1)
    path = dataset.path(part)
    for position in range(0, part.size_bytes, 199):
        flip(path, position)
        assert part.file in {finding.place for finding in verify_dataset(dataset)}
        flip(path, position)
    assert verify_dataset(dataset) == []


@pytest.mark.parametrize("keep", [0, 4, 500, -1])
def test_a_cut_part_is_found(dataset: Dataset, spool: Spool, keep: int) -> None:
    [part] = sealed(dataset, spool, 1)
    dataset.path(part).write_bytes(dataset.path(part).read_bytes()[:keep])
    found = verify_dataset(dataset)
    assert f"bytes, listed are {part.size_bytes}" in whats(found)


def rewritten(dataset: Dataset, table: pa.Table) -> None:
    """A part whose file says something else than it did, with a catalogue line that agrees with the file."""
    [part] = dataset.parts
    path = dataset.path(part)
    pq.write_table(table, path)
    changed = replace(part, size_bytes=path.stat().st_size, sha256=file_sha256(path))
    dataset.parts = ()
    dataset.add_part(changed)


def test_a_picture_that_is_not_the_one_that_was_hashed_is_found(dataset: Dataset, spool: Spool) -> None:
    [part] = sealed(dataset, spool, 3)
    table = pq.read_table(dataset.path(part))
    hashes = table.column("sha256").to_pylist()
    wrong = pa.array([hashes[0], "0" * 64, hashes[2]])
    rewritten(dataset, table.set_column(table.schema.get_field_index("sha256"), "sha256", wrong))
    [finding] = verify_dataset(dataset)
    assert "row 2: the picture does not have the SHA-256 beside it" in finding.what


def test_rows_and_money_that_the_catalogue_does_not_say_are_found(dataset: Dataset, spool: Spool) -> None:
    [part] = sealed(dataset, spool, 3)
    rewritten(dataset, pq.read_table(dataset.path(part)).slice(0, 2))
    [finding] = verify_dataset(dataset)
    assert finding.what == "has 2 rows for $0.082502640, listed are 3 for $0.123753960"


def test_a_key_that_stands_twice_is_found(dataset: Dataset, spool: Spool) -> None:
    entries = [spool_one(dataset, spool, "cat", 1, attempt=number) for number in (1, 2, 3)]
    seal(dataset, spool, entries[:2], run_id="r", sealed_at=SEALED_AT)
    seal(dataset, spool, entries[2:], run_id="r", sealed_at=SEALED_AT)
    within, across = verify_dataset(dataset)
    assert (within.place, across.place) == ("data/train-00000.parquet", "data/train-00001.parquet")
    assert f"key {entries[0].key} stands in data/train-00000.parquet as well" in within.what
    assert f"key {entries[0].key} stands in data/train-00000.parquet as well" in across.what


def test_a_part_that_is_not_listed_is_found(dataset: Dataset, spool: Spool) -> None:
    [part] = sealed(dataset, spool, 1)
    (dataset.data_folder / "train-00009.parquet").write_bytes(dataset.path(part).read_bytes())
    [finding] = verify_dataset(dataset)
    assert (finding.place, finding.what) == ("data/train-00009.parquet", "is not listed in the catalogue")


def test_a_part_of_another_dataset_is_found(dataset: Dataset, spool: Spool, tmp_path: Path) -> None:
    other = Dataset.create(tmp_path / "other", NO_COLUMNS, True)
    [theirs] = sealed(other, other.spool(), 1)
    (dataset.data_folder / "train-00000.parquet").write_bytes(other.path(theirs).read_bytes())
    dataset.add_part(theirs)
    assert "was not written for this dataset" in whats(verify_dataset(dataset))


def test_a_damaged_spool_file_is_found_and_left_where_it_is(dataset: Dataset, spool: Spool) -> None:
    broken, _ = spool_many(dataset, spool, 2)
    flip(broken.path, 77)
    [finding] = verify_dataset(dataset)
    assert finding.place == f".fluxbatch/spool/{broken.path.name}"
    assert "SHA-256" in finding.what
    assert broken.path.exists()
