from __future__ import annotations

import gc
import random
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxbatch.dataset import failures
from fluxbatch.dataset.failures import FailureWriter
from fluxbatch.dataset.own import FAILURE_COLUMNS
from fluxbatch.errors import StorageError
from fluxbatch.manifest.request import Reference
from fluxbatch.models.money import ZERO, charge
from tests.dataset.dataset_kit import NO_COLUMNS, Killed, asked, jpeg, small_disk

OWN = pa.schema([("label", pa.string()), ("kind", pa.dictionary(pa.int32(), pa.string()))])


def add(writer: FailureWriter, prompt: str = "cat", **asking: object) -> None:
    writer.add(asked(prompt, **asking), "refused", "8007", "flagged", 1, ZERO)  # type: ignore[arg-type]


def test_a_failure_is_a_manifest_row_with_its_ending_beside_it(tmp_path: Path) -> None:
    own = pa.record_batch({"label": ["x"], "kind": pa.array(["k"]).dictionary_encode()})
    with FailureWriter(tmp_path / "failures.parquet", OWN, references=0) as writer:
        request = asked("cat", row=9, sample=2, own=own, id="cat-9", seed=4, guidance=2.5)
        writer.add(request, "lost", None, "no answer came", 2, charge(375_000))
    table = pq.read_table(tmp_path / "failures.parquet")
    assert table.to_pylist() == [
        {
            "prompt": "cat",
            "id": "cat-9",
            "model": "@cf/black-forest-labs/flux-2-dev",
            "width": 64,
            "height": 48,
            "steps": 25,
            "guidance": 2.5,
            "seed": 4,
            "sample": 2,
            "negative_prompt": None,
            "strength": None,
            "label": "x",
            "kind": "k",
            "failure": "lost",
            "failure_code": None,
            "failure_message": "no answer came",
            "failure_attempts": 2,
            "failure_unknown_usd": Decimal("0.041250000"),
        }
    ]
    assert table.schema.field("kind").type == OWN.field("kind").type


def test_references_are_carried_with_their_original_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(seed=1))
    in_file = Reference("aa" * 32, 64, 48, 64, 48, path=str(tmp_path / "a.jpg"))
    in_memory = Reference("bb" * 32, 64, 48, 64, 48, content=jpeg(seed=2))
    gone = Reference("cc" * 32, 64, 48, 64, 48, path=str(tmp_path / "gone.jpg"))
    with FailureWriter(tmp_path / "failures.parquet", NO_COLUMNS) as writer:
        add(writer, references=(in_file, in_memory, gone))
    [row] = pq.read_table(tmp_path / "failures.parquet").to_pylist()
    assert [row[f"input_image_{number}"] for number in range(4)] == [
        {"bytes": jpeg(seed=1), "path": "a.jpg"},
        {"bytes": jpeg(seed=2), "path": None},
        {"bytes": None, "path": str(tmp_path / "gone.jpg")},
        None,
    ]


def test_more_references_than_announced_are_a_bug_that_is_said(tmp_path: Path) -> None:
    writer = FailureWriter(tmp_path / "failures.parquet", NO_COLUMNS, references=0)
    with pytest.raises(ValueError, match="1 references where at most 0"):
        add(writer, references=(Reference("aa" * 32, 1, 1, 1, 1, content=b""),))


def test_without_a_failure_an_earlier_runs_file_goes(tmp_path: Path) -> None:
    path = tmp_path / "failures.parquet"
    with FailureWriter(path, NO_COLUMNS) as writer:
        add(writer)
    assert path.exists()
    with FailureWriter(path, NO_COLUMNS):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_error_on_the_way_leaves_the_earlier_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "_ROWS_MAX", 1)
    path = tmp_path / "failures.parquet"
    with FailureWriter(path, NO_COLUMNS) as writer:
        add(writer, "old")
    with pytest.raises(Killed):
        _add_and_break(path)
    assert pq.read_table(path).column("prompt").to_pylist() == ["old"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("bytes_max", "rows_max"), [(1, 10), (1, 1000), (30_000, 10)])
def test_a_disk_that_fills_up_leaves_the_earlier_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bytes_max: int, rows_max: int
) -> None:
    monkeypatch.setattr(failures, "_ROWS_MAX", rows_max)
    path = tmp_path / "failures.parquet"
    with FailureWriter(path, NO_COLUMNS) as writer:
        add(writer, "old")
    with pytest.raises(StorageError, match=r"failures\.parquet: could not be written"), small_disk(bytes_max):
        _add_noise(path)
    gc.collect()  # what the writer left open would complain here
    assert pq.read_table(path).column("prompt").to_pylist() == ["old"]
    assert list(tmp_path.iterdir()) == [path]


def _add_noise(path: Path) -> None:
    with FailureWriter(path, NO_COLUMNS) as writer:
        for number in range(60):
            add(writer, random.Random(number).randbytes(1000).hex())


def _add_and_break(path: Path) -> None:
    with FailureWriter(path, NO_COLUMNS) as writer:
        add(writer, "new")
        raise Killed


def test_discarding_what_was_closed_is_harmless(tmp_path: Path) -> None:
    writer = FailureWriter(tmp_path / "failures.parquet", NO_COLUMNS)
    add(writer)
    writer.close()
    writer.discard()
    assert pq.read_metadata(tmp_path / "failures.parquet").num_rows == 1


def test_memory_is_bounded_by_rows_and_by_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "_ROWS_MAX", 10)
    monkeypatch.setattr(failures, "_BYTES_MAX", 50_000)
    with FailureWriter(tmp_path / "failures.parquet", NO_COLUMNS) as writer:
        for number in range(25):
            add(writer, f"short {number}")
        for _ in range(4):
            add(writer, "long " * 5_000)
    found = pq.read_metadata(tmp_path / "failures.parquet")
    assert [found.row_group(number).num_rows for number in range(found.num_row_groups)] == [10, 10, 7, 2]


def test_many_categories_in_many_groups_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "_ROWS_MAX", 40)
    with FailureWriter(tmp_path / "failures.parquet", OWN, references=0) as writer:
        for number in range(300):
            own = pa.record_batch({"label": ["x"], "kind": pa.array([f"k{number}"]).dictionary_encode()})
            add(writer, f"cat {number}", own=own)
    kinds = pq.read_table(tmp_path / "failures.parquet").column("kind").to_pylist()
    assert kinds == [f"k{number}" for number in range(300)]


def test_failures_of_failures_have_the_columns_once(tmp_path: Path) -> None:
    own = pa.schema([("label", pa.string()), ("failure", pa.string())])
    with FailureWriter(tmp_path / "failures.parquet", own, references=0) as writer:
        add(writer)
    names = pq.read_schema(tmp_path / "failures.parquet").names
    assert len(names) == len(set(names))
    assert set(FAILURE_COLUMNS) < set(names)
