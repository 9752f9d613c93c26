"""JSON lines: one type for each own column, and every bad line a complaint of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fluxbatch.errors import UsageError
from fluxbatch.manifest import jsonl
from tests.manifest.manifest_kit import asked, opened, own_values, rejected, written


def lines_of(*objects: Any) -> str:
    return "".join(json.dumps(entry) + "\n" for entry in objects)


def test_keys_in_any_order_and_missing_keys_are_columns(tmp_path: Path) -> None:
    text = lines_of({"prompt": "a", "note": "x"}, {"steps": 4, "tags": ["u"], "prompt": "b"}, {"prompt": "c", "id": 7})
    manifest = opened(written(tmp_path, "m.jsonl", text))
    assert manifest.complaints == ()
    assert manifest.headers == ("prompt", "note", "steps", "tags", "id")
    rows = asked(manifest)
    assert [(row.prompt, row.steps, row.id) for row in rows] == [("a", 25, None), ("b", 4, None), ("c", 25, "7")]
    assert [own_values(row) for row in rows] == [
        {"note": "x", "tags": None},
        {"note": None, "tags": ["u"]},
        {"note": None, "tags": None},
    ]


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        (1, 2.5, pa.float64()),
        (None, "x", pa.string()),
        ([], [1.5], pa.list_(pa.float64())),
        ({"a": 1}, {"b": "x"}, pa.struct([("a", pa.int64()), ("b", pa.string())])),
        (None, None, pa.null()),
    ],
)
@pytest.mark.parametrize("chunk_rows", [1, 4096])
def test_one_type_is_found_that_holds_all_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: Any, second: Any, kind: pa.DataType, chunk_rows: int
) -> None:
    monkeypatch.setattr(jsonl, "CHUNK_ROWS", chunk_rows)
    text = lines_of({"prompt": "a", "own": first}, {"prompt": "b", "own": second})
    manifest = opened(written(tmp_path, "m.jsonl", text))
    assert manifest.complaints == ()
    assert manifest.own_schema.field("own").type == kind
    assert len(asked(manifest)) == 2


@pytest.mark.parametrize("chunk_rows", [1, 4096])
@pytest.mark.parametrize(("first", "second"), [(1, "x"), (True, 1), ([1], 1), ({"a": 1}, "x"), (1, 2**70)])
def test_a_column_that_no_type_holds_is_a_complaint_about_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: Any, second: Any, chunk_rows: int
) -> None:
    monkeypatch.setattr(jsonl, "CHUNK_ROWS", chunk_rows)
    text = lines_of({"prompt": "a", "own": first}, {"prompt": "b", "own": second})
    manifest = opened(written(tmp_path, "m.jsonl", text))
    (complaint,) = manifest.complaints
    assert complaint.column == "own"
    assert "no one type holds" in complaint.problem
    if type(first) is not type(second):
        assert "(line 1)" in complaint.problem
        assert "(line 2)" in complaint.problem
    assert len(asked(manifest)) == 2


def test_a_number_that_would_lose_digits_is_a_complaint_of_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "CHUNK_ROWS", 1)
    text = lines_of({"prompt": "a", "own": 2**53 + 1}, {"prompt": "b", "own": 0.5})
    manifest = opened(written(tmp_path, "m.jsonl", text))
    (row,) = rejected(manifest)
    assert (row.row, row.complaints[0].line, row.complaints[0].column) == (1, 1, "own")
    assert row.values == {"prompt": "a", "own": 2**53 + 1}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "no valid JSON"),
        ('{"prompt": "a"} x', "no valid JSON"),
        ('["a"]', "a list, not an object"),
        ('"a"', "a text, not an object"),
        ("null", "null, not an object"),
        ('{"prompt": "a", "x": NaN}', "NaN"),
        ('{"prompt": "a", "x": -Infinity}', "-Infinity"),
        ('{"prompt": "a", "x": 1e999}', "too large"),
        ('{"prompt": "a", "x": ' + "9" * 5000 + "}", "5000 digits"),
        ('{"prompt": "a", "prompt": "b"}', "'prompt' stands twice"),
        ('{"prompt": "a", "x": {"y": 1, "y": 2}}', "'y' stands twice"),
        ('{"prompt": "a\\ud800"}', "half of a character"),
        ('{"prompt": "a", "\\uDFFF": 1}', "half of a character"),
        ("[" * 100_000, "nested"),
        ('{"prompt": "a", "x": ' + "[" * 40 + "]" * 40 + "}", "nested over 32"),
    ],
)
def test_a_bad_line_is_a_complaint_and_the_rest_is_read(tmp_path: Path, line: str, problem: str) -> None:
    manifest = opened(written(tmp_path, "m.jsonl", f'{{"prompt": "first"}}\n\n{line}\n{{"prompt": "last"}}\n'))
    assert manifest.complaints == ()
    rows = list(manifest.rows())
    assert [row.row for row in rows] == [1, 2, 3]
    (bad,) = rejected(manifest)
    assert problem in bad.complaints[0].problem
    assert (bad.row, bad.complaints[0].line) == (2, 3)


def test_a_pair_of_surrogates_is_one_character(tmp_path: Path) -> None:
    (row,) = asked(opened(written(tmp_path, "m.jsonl", '{"prompt": "\\ud83e\\udd8a"}\n')))
    assert row.prompt == "🦊"


def test_a_byte_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (row,) = rejected(opened(written(tmp_path, "m.jsonl", b'{"prompt": "ok"}\n{"prompt": "f\xf6x"}\n')))
    assert "byte 14 of line 2 (0xF6)" in row.complaints[0].problem


def test_only_empty_objects_cannot_be_carried(tmp_path: Path) -> None:
    (complaint,) = opened(written(tmp_path, "m.jsonl", '{"prompt": "a", "own": [{}]}\n')).complaints
    assert "empty objects" in complaint.problem


@pytest.mark.parametrize("content", ["", "\n \n", "[1]\n", "{}\n"])
def test_a_file_without_fields_cannot_be_opened(tmp_path: Path, content: str) -> None:
    with pytest.raises(UsageError, match="one JSON object a line"):
        opened(written(tmp_path, "m.jsonl", content))


def test_thousands_of_different_keys_are_no_columns(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="different keys"):
        opened(written(tmp_path, "m.jsonl", lines_of({str(n): 1 for n in range(2001)})))
