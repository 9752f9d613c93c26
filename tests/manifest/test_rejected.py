"""rejected.parquet: what was not sent, and why, as text that anything reads."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fluxbatch.manifest import rejected as module
from fluxbatch.manifest.reader import Rejected
from fluxbatch.manifest.rejected import RejectedWriter, as_text
from fluxbatch.manifest.request import Complaint
from tests.manifest.manifest_kit import opened, rejected, written


def test_rejected_rows_are_kept_with_their_complaints_and_values(tmp_path: Path) -> None:
    manifest = opened(written(tmp_path, "m.csv", "id,prompt,steps\nx,,99\ny,a fox,4\nz,b,4,extra\n"))
    sink = io.BytesIO()
    with RejectedWriter(sink, manifest.headers) as writer:
        for row in rejected(manifest):
            writer.add(row)
    first, second = pq.read_table(sink).to_pylist()
    assert writer.count == 2
    assert (first["row"], first["line"], first["id"], first["prompt"], first["steps"]) == (1, 2, "x", "", "99")
    assert first["complaints"].count("\n") == 1
    assert "row 1, column steps: 99 steps are out of range" in first["complaints"]
    assert (second["row"], second["line"], second["id"]) == (3, 4, "z")
    assert "extra" in second["complaints"]


def test_many_rows_go_out_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_ROWS", 10)
    sink = io.BytesIO()
    with RejectedWriter(sink, ("prompt",)) as writer:
        for row in range(1, 26):
            writer.add(Rejected(row, (Complaint("m.csv", row, "prompt", "is bad", "mend it"),), {"prompt": str(row)}))
            assert len(writer._rows) < 10
    assert pq.ParquetFile(sink).metadata.num_row_groups == 3
    assert pq.read_table(sink)["row"].to_pylist() == list(range(1, 26))


def test_no_rejected_row_is_an_empty_table() -> None:
    sink = io.BytesIO()
    with RejectedWriter(sink, ("prompt", "row")):
        pass
    assert pq.read_table(sink).schema.names == ["row", "line", "complaints", "prompt", "row (manifest)"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("ü", "ü"),
        ("a\ud800", "a\\ud800"),
        (7, "7"),
        (True, "true"),
        (b"1234", "4 bytes"),
        ({"bytes": b"1234", "path": None}, '{"bytes": "4 bytes", "path": null}'),
        ([1, "a"], '[1, "a"]'),
        ("x" * 2_000_000, "x" * 1_000_000),
    ],
)
def test_every_value_has_a_text(value: object, text: str | None) -> None:
    assert as_text(value) == text
