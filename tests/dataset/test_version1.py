"""Datasets that were made before a negative prompt could be asked: they open, go on, seal and verify as before, and
keep their columns, so that old and new parts are read together.

The files in version1/ were written by fluxbatch as it was then: two pictures in a part, one in the spool, and a column
of the user's own that is called negative_prompt.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from fluxbatch.dataset.catalogue import CATALOGUE, Dataset
from fluxbatch.dataset.header import Header
from fluxbatch.dataset.own import check_own_schema
from fluxbatch.dataset.record import LATER, RESERVED, VERSION, part_schema, picture_row
from fluxbatch.dataset.recovery import recover
from fluxbatch.dataset.repair import mend_catalogue
from fluxbatch.dataset.shards import seal
from fluxbatch.dataset.verify import verify_dataset
from fluxbatch.job import Job
from fluxbatch.settings import load_settings
from tests.dataset.dataset_kit import NO_COLUMNS, SEALED_AT, WHEN, asked, delivered

FILES = Path(__file__).parent / "version1"
OWN = pa.schema([("mood", pa.string()), ("negative_prompt", pa.string())])


@pytest.fixture
def old(tmp_path: Path) -> Dataset:
    folder = tmp_path / "old"
    (folder / "data").mkdir(parents=True)
    (folder / ".fluxbatch" / "spool").mkdir(parents=True)
    shutil.copy(FILES / CATALOGUE, folder)
    shutil.copy(FILES / "train-00000.parquet", folder / "data")
    for row in FILES.glob("*.row"):
        shutil.copy(row, folder / ".fluxbatch" / "spool")
    return Dataset.open(folder)


def go_on(dataset: Dataset) -> None:
    """What the next run does: recover, make one more picture, seal all."""
    with dataset.hold():
        spool = dataset.spool()
        found = recover(dataset, spool)
        assert len(found.adoptable) == 1
        own = pa.record_batch({"mood": ["calm"], "negative_prompt": ["rain"]}, schema=OWN)
        request = asked("picture 4", row=4, own=own)
        row = picture_row(delivered(request), dataset.own_schema, dataset.header.version)
        made = spool.put(row, request.key, 1)
        seal(dataset, spool, [*found.adoptable, made], run_id="run-2", sealed_at=SEALED_AT)


def test_it_opens_and_is_whole(old: Dataset) -> None:
    assert verify_dataset(old) == []
    assert old.own_schema.equals(OWN)
    check_own_schema(old.own_schema, OWN)
    assert (old.header.version, old.header.prices) == (1, ())


def test_it_goes_on_with_the_columns_it_has(old: Dataset) -> None:
    before = (old.folder / "data" / "train-00000.parquet").read_bytes()
    go_on(old)
    again = Dataset.open(old.folder)
    assert verify_dataset(again) == []
    assert [part.rows for part in again.parts] == [2, 2]
    schemas = [pq.read_schema(again.path(part)) for part in again.parts]
    assert schemas[0].equals(schemas[1], check_metadata=True)
    assert (old.folder / "data" / "train-00000.parquet").read_bytes() == before
    table = pa.dataset.dataset([str(again.path(part)) for part in again.parts]).to_table()
    assert table.column("prompt").to_pylist() == [f"picture {number}" for number in (1, 2, 3, 4)]
    assert table.column("negative_prompt").to_pylist() == ["fog", "fog", "fog", "rain"]


def test_hugging_face_reads_old_and_new_parts_together(old: Dataset, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    go_on(old)
    files = sorted(str(path) for path in old.data_folder.glob("*.parquet"))
    read = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert read["prompt"][:] == [f"picture {number}" for number in (1, 2, 3, 4)]
    assert read[3]["image"].size == (64, 48)


def test_its_header_is_made_anew_from_its_parts(old: Dataset) -> None:
    (old.folder / CATALOGUE).unlink()
    mend_catalogue(old.folder, lambda dataset: True)
    again = Dataset.open(old.folder)
    assert (again.id, again.header.version) == (old.id, 1)
    assert again.schema.equals(old.schema)
    assert again.own_schema.equals(OWN)


def test_a_new_dataset_has_the_columns_and_its_header_is_made_anew_as_well(tmp_path: Path) -> None:
    new = Dataset.create(tmp_path / "new", NO_COLUMNS, True, created_at=WHEN)
    request = asked("picture 1", negative_prompt="fog", strength=0.25)
    spool = new.spool()
    row = picture_row(delivered(request), new.own_schema, new.header.version)
    seal(new, spool, [spool.put(row, request.key, 1)], run_id="run-1", sealed_at=SEALED_AT)
    (picture,) = new.to_pandas(columns=["negative_prompt", "strength"]).to_dict("records")
    assert picture == {"negative_prompt": "fog", "strength": 0.25}
    (new.folder / CATALOGUE).unlink()
    mend_catalogue(new.folder, lambda dataset: True)
    again = Dataset.open(new.folder)
    assert (again.header.version, again.own_schema.names) == (VERSION, [])


def test_what_an_old_dataset_has_no_column_for_is_a_complaint_of_the_row(tmp_path: Path) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    Dataset.restore(folder, Header("ab" * 16, WHEN, True, NO_COLUMNS, version=1), ())
    manifest = tmp_path / "rows.csv"
    manifest.write_text("prompt,model,negative_prompt\na,phoenix-1.0,fog\nb,phoenix-1.0,\n")
    refused, taken = Job(manifest, folder, 0, load_settings()).open_manifest().rows()
    (complaint,) = refused.complaints  # type: ignore[union-attr]
    assert "this dataset was made before negative_prompt could be asked" in str(complaint)
    assert "give another --out" in str(complaint)
    assert taken.negative_prompt is None  # type: ignore[union-attr]
    fresh = list(Job(manifest, tmp_path / "new", 0, load_settings()).open_manifest().rows())
    assert [row.negative_prompt for row in fresh] == ["fog", None]  # type: ignore[union-attr]


def test_an_own_column_that_was_kept_before_is_kept_still(old: Dataset, tmp_path: Path) -> None:
    manifest = tmp_path / "rows.csv"
    manifest.write_text("prompt,mood,negative_prompt\na,calm,fog\n")
    job = Job(manifest, old.folder, 0, load_settings(), own=frozenset({"negative_prompt"}))
    opened = job.open_manifest()
    assert opened.complaints == ()
    assert opened.own_schema.equals(OWN)


def test_only_the_later_columns_are_between_the_versions() -> None:
    assert RESERVED - set(part_schema(NO_COLUMNS, 1).names) == LATER[2] | LATER[3]
    assert RESERVED - set(part_schema(NO_COLUMNS, 2).names) == LATER[3]
    assert set(part_schema(NO_COLUMNS, VERSION).names) == RESERVED
