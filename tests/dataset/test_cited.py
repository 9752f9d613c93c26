"""The table that says where references came from: it grows, keeps what earlier runs used, and survives damage."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from fluxbatch.dataset.cited import CITED, SCHEMA, write_cited
from fluxbatch.manifest.frame import Fit
from fluxbatch.manifest.request import Change, Cited, Reference

PLAIN = Reference("a" * 64, 640, 320, 511, 256, source="images/a.png")
CUT = Reference(
    "b" * 64, 400, 200, 200, 200, fit=Fit.COVER, crop=(200, 200), changes=(Change.TURNED, Change.FLATTENED), source=None
)


def test_a_reference_is_told_whole() -> None:
    assert PLAIN.cited == Cited("a" * 64, "images/a.png", 640, 320, "contain", 640, 320, 511, 256, ())
    changes = ("turned upright", "flattened over white")
    assert CUT.cited == Cited("b" * 64, None, 400, 200, "cover", 200, 200, 200, 200, changes)
    assert SCHEMA.names[:6] == ["sha256", "source", "width", "height", "fit", "crop_width"]


def test_the_table_grows_and_is_not_written_for_nothing(tmp_path: Path) -> None:
    write_cited(tmp_path, [])
    assert not (tmp_path / CITED).exists()
    write_cited(tmp_path, [PLAIN.cited])
    written = (tmp_path / CITED).stat()
    write_cited(tmp_path, [PLAIN.cited])
    assert (tmp_path / CITED).stat().st_ino == written.st_ino, "it was renamed over itself"
    write_cited(tmp_path, [CUT.cited, PLAIN.cited])
    rows = pq.read_table(tmp_path / CITED).to_pylist()
    assert [row["sha256"][0] for row in rows] == ["a", "b"]
    assert rows[1]["changes"] == ["turned upright", "flattened over white"]
    assert [row["source"] for row in rows] == ["images/a.png", None]


def test_a_table_that_cannot_be_read_is_set_aside_and_begun_anew(tmp_path: Path) -> None:
    (tmp_path / CITED).write_bytes(b"no table")
    write_cited(tmp_path, [PLAIN.cited])
    assert pq.read_table(tmp_path / CITED).num_rows == 1
    assert (tmp_path / ".fluxbatch" / "quarantine" / CITED).read_bytes() == b"no table"
