"""Datasets that were made before the pixels were measured: they open, go on, seal and verify as before, and keep their
columns, also one of the user's own that has the name of a later one.

The files in version2/ were written by fluxbatch as it was then: two pictures in a part, one in the spool, and a column
of the user's own that is called sharpness.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxbatch.dataset.catalogue import CATALOGUE, Dataset
from fluxbatch.dataset.own import check_own_schema
from fluxbatch.dataset.record import LATER, picture_row
from fluxbatch.dataset.recovery import recover
from fluxbatch.dataset.repair import mend_catalogue, mend_parts
from fluxbatch.dataset.shards import seal
from fluxbatch.dataset.verify import verify_dataset
from fluxbatch.job import Job
from fluxbatch.settings import load_settings
from tests.dataset.dataset_kit import SEALED_AT, asked, delivered, flip

FILES = Path(__file__).parent / "version2"
OWN = pa.schema([("mood", pa.string()), ("sharpness", pa.string())])


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
        own = pa.record_batch({"mood": ["calm"], "sharpness": ["crisp"]}, schema=OWN)
        request = asked("picture 4", row=4, own=own, negative_prompt="rain")
        row = picture_row(delivered(request), dataset.own_schema, dataset.header.version)
        made = spool.put(row, request.key, 1)
        seal(dataset, spool, [*found.adoptable, made], run_id="run-2", sealed_at=SEALED_AT)


def test_it_opens_and_is_whole(old: Dataset) -> None:
    assert verify_dataset(old) == []
    assert old.header.version == 2
    check_own_schema(old.own_schema, OWN)
    assert LATER[3] & set(old.schema.names) == {"sharpness"}


def test_it_goes_on_with_the_columns_it_has_and_the_users_own_stay_theirs(old: Dataset) -> None:
    before = (old.folder / "data" / "train-00000.parquet").read_bytes()
    go_on(old)
    again = Dataset.open(old.folder)
    assert verify_dataset(again) == []
    schemas = [pq.read_schema(again.path(part)) for part in again.parts]
    assert schemas[0].equals(schemas[1], check_metadata=True)
    assert (old.folder / "data" / "train-00000.parquet").read_bytes() == before
    table = again.to_pandas(["prompt", "negative_prompt", "sharpness", "check"])
    assert table["prompt"].to_list() == [f"picture {number}" for number in (1, 2, 3, 4)]
    assert table["negative_prompt"].to_list() == ["fog", "fog", "fog", "rain"]
    assert table["sharpness"].to_list() == ["soft", "soft", "soft", "crisp"]
    assert table["check"].to_list() == ["ok"] * 4


def test_its_header_is_made_anew_from_its_parts(old: Dataset) -> None:
    (old.folder / CATALOGUE).unlink()
    mend_catalogue(old.folder, lambda dataset: True)
    again = Dataset.open(old.folder)
    assert (again.id, again.header.version) == (old.id, 2)
    assert again.schema.equals(old.schema)
    assert again.own_schema.equals(OWN)


def test_a_damaged_part_is_mended_from_what_can_be_read_of_it(old: Dataset) -> None:
    part = old.folder / "data" / "train-00000.parquet"
    flip(part, part.stat().st_size // 4)
    with old.hold():
        mend_parts(old, old.spool())
        spool = old.spool()
        seal(old, spool, recover(old, spool).adoptable, run_id="run-2", sealed_at=SEALED_AT)
    again = Dataset.open(old.folder)
    assert verify_dataset(again) == []
    assert set(again.to_pandas(["sharpness"])["sharpness"]) == {"soft"}


def test_an_own_column_of_a_later_name_is_carried_on_here_and_refused_in_a_new_dataset(
    old: Dataset, tmp_path: Path
) -> None:
    manifest = tmp_path / "rows.csv"
    manifest.write_text("prompt,mood,sharpness\na,calm,soft\n")
    assert Job(manifest, old.folder, 0, load_settings()).open_manifest().complaints == ()
    (complaint,) = Job(manifest, tmp_path / "new", 0, load_settings()).open_manifest().complaints
    assert "the dataset has a column of this name already" in str(complaint)
