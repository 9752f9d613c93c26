"""CSV and TSV: every cell exactly as written, every mistake with its line."""

from __future__ import annotations

import csv
import gzip
import io
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxbatch.errors import UsageError
from tests.manifest.manifest_kit import asked, opened, own_values, rejected, written

PARTI = (
    "Prompt\tCategory\tChallenge\tNote\n"
    "bond\tAbstract\tBasic\tBiology-inspired concepts\n"
    "peace\tAbstract\tBasic\t\n"
    '"G I G G L E" painted in thick colorful lettering\tIllustrations\tWriting & Symbols\t\n'
    'a sign that says "Deep Learning"\tArtifacts\tWriting & Symbols\tWords: 1 - 3\n'
    "Salvador Dalí, in the rain; 12' tall\tPeople\tBasic\t\n"
)


def test_a_published_tsv_with_quotes_comes_through_as_published(tmp_path: Path) -> None:
    manifest = opened(written(tmp_path, "parti.tsv", PARTI), columns={"prompt": "Prompt"})
    assert manifest.complaints == ()
    assert manifest.own_schema.names == ["Category", "Challenge", "Note"]
    rows = asked(manifest)
    lines = [line.split("\t") for line in PARTI.splitlines()[1:]]
    assert [row.prompt for row in rows] == [cells[0] for cells in lines]
    assert [[value or "" for value in own_values(row).values()] for row in rows] == [cells[1:] for cells in lines]


@pytest.mark.parametrize(
    ("cell", "meant"),
    [
        ('"a ""quoted"" fox"', 'a "quoted" fox'),
        ('"a\tfox"', "a\tfox"),
        ('"a" and "b"', '"a" and "b"'),
        ('a "b"', 'a "b"'),
        ('"fox"', "fox"),
    ],
)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_tsv_cell_is_unquoted_only_when_it_is_wholly_quoted(
    tmp_path: Path, cell: str, meant: str, ending: str
) -> None:
    path = written(tmp_path, "m.tab", f"id\tprompt\tnote{ending}1\t{cell}\t{ending}2\t{cell}\tlast{ending}")
    assert [row.prompt for row in asked(opened(path))] == [meant, meant]


def test_a_tsv_cell_whose_quote_stays_open_is_a_complaint(tmp_path: Path) -> None:
    (row,) = rejected(opened(written(tmp_path, "m.tsv", 'prompt\n"a fox\n')))
    assert "not closed in its line" in row.complaints[0].problem
    assert row.complaints[0].line == 2


def test_tsv_from_pandas_comes_back(tmp_path: Path) -> None:
    prompts = ['he said "hi"', "tab\there", "plain", '"start', "ü"]
    pd.DataFrame({"prompt": prompts, "n": range(5)}).to_csv(tmp_path / "m.tsv", sep="\t", index=False)
    assert [row.prompt for row in asked(opened(tmp_path / "m.tsv"))] == prompts


SENDABLE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(
    lambda text: not text.isspace()
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(SENDABLE, st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))))
def test_any_text_comes_back_from_csv(rows: list[tuple[str, str]]) -> None:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([("prompt", "note"), *rows])
    with tempfile.TemporaryDirectory() as folder:
        manifest = opened(written(Path(folder), "m.csv", buffer.getvalue()))
        found = asked(manifest)
    assert [(row.prompt, own_values(row)["note"]) for row in found] == [(prompt, note or None) for prompt, note in rows]


def test_own_cells_stay_text_and_an_empty_one_is_null(tmp_path: Path) -> None:
    (row,) = asked(opened(written(tmp_path, "m.csv", "code,prompt,empty\n00123,a fox,\n")))
    assert own_values(row) == {"code": "00123", "empty": None}


def test_lines_of_complaints_are_right_after_quoted_line_breaks_and_empty_lines(tmp_path: Path) -> None:
    text = 'prompt,steps\n"two\nlines",4\n\na fox,900\n"x\r\ny",4\nb,4,5\n'
    first, second = rejected(opened(written(tmp_path, "m.csv", text)))
    assert (first.row, first.complaints[0].line, first.complaints[0].column) == (2, 5, "steps")
    assert (second.row, second.complaints[0].line) == (4, 8)
    assert "3 cells, the header 2" in second.complaints[0].problem
    assert second.values == {"prompt": "b", "steps": "4"}


@pytest.mark.parametrize(
    ("body", "problem", "line"),
    [
        (b"a fox\n", "1 cells, the header 2", 2),
        (b"a fox,4,\n", "3 cells, the header 2", 2),
        (b'"G I" painted,4\n', "text follows a closing quote", 2),
        (b'fine,4\n"never closed,4\nb,4\n', "never closed", 3),
        (b"a f\xf6x,4\n", "byte 4 of line 2 (0xF6) is not UTF-8", 2),
        (b'"\xc3\xa4\n\xe4",4\n', "byte 1 of line 3 (0xE4) is not UTF-8", 2),
        (b"a\0fox,4\n", "NUL", 2),
        (b"\xed\xa0\x80,4\n", "byte 1 of line 2 (0xED)", 2),
    ],
)
def test_a_row_that_does_not_come_apart_is_a_complaint_of_that_row(
    tmp_path: Path, body: bytes, problem: str, line: int
) -> None:
    found = rejected(opened(written(tmp_path, "m.csv", b"prompt,steps\n" + body)))
    assert problem in found[0].complaints[0].problem
    assert found[0].complaints[0].line == line


def test_rows_behind_a_broken_one_are_still_read(tmp_path: Path) -> None:
    manifest = opened(written(tmp_path, "m.csv", b'prompt,note\n"a" b,x\n\xff,y\nc,z\n'))
    rows = list(manifest.rows())
    assert [row.row for row in rows] == [1, 2, 3]
    assert [row.row for row in rejected(manifest)] == [1, 2]
    assert own_values(asked([rows[2]])[0]) == {"note": "z"}


def test_a_quote_that_never_closes_ends_the_reading(tmp_path: Path) -> None:
    rows = list(opened(written(tmp_path, "m.csv", 'prompt\nfirst\n"open' + "\nx" * 200_000)).rows())
    assert len(rows) == 2
    assert "rows from here on were not read" in str(rejected(opened(tmp_path / "m.csv"))[0].complaints[0])


@pytest.mark.parametrize(
    "text", ["\ufeffprompt\na fox\n", "prompt\r\na fox\r\n", "prompt\ra fox\r", "\n\nprompt\n\na fox"]
)
def test_marks_and_line_ends_of_any_system_are_read(tmp_path: Path, text: str) -> None:
    assert [row.prompt for row in asked(opened(written(tmp_path, "m.csv", text)))] == ["a fox"]


@pytest.mark.parametrize("name", ["m.csv.gz", "M.CSV.GZ", "m.tsv.gz", "m.jsonl.gz"])
def test_gzipped_text_is_read(tmp_path: Path, name: str) -> None:
    text = '{"prompt": "a fox"}\n' if "json" in name else "prompt\na fox\n"
    path = written(tmp_path, name, gzip.compress(text.encode()))
    assert [row.prompt for row in asked(opened(path))] == ["a fox"]


def test_damaged_gzip_is_said_when_it_shows(tmp_path: Path) -> None:
    whole = gzip.compress(b"prompt\n" + b"".join(b"fox %d\n" % n for n in range(50_000)))
    manifest = opened(written(tmp_path, "m.csv.gz", whole[: len(whole) // 2]))
    with pytest.raises(UsageError, match="cannot be read after line"):
        list(manifest.rows())


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        ("prompt\na fox\n".encode("utf-16"), "UTF-16"),
        ("prompt\na fox\n".encode("utf-16-le"), "UTF-16"),
        (b"pr\xf6mpt\na fox\n", "byte 3 of line 1"),
        (b"PAR1....PAR1", "Parquet"),
        (b"PK\x03\x04", "Excel"),
        (b"\x1f\x8b\x08\x00", "gzip"),
    ],
)
@pytest.mark.parametrize("name", ["m.csv", "m.tsv"])
def test_a_file_that_is_no_text_table_cannot_be_opened(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        opened(written(tmp_path, name, content))


def test_a_pandas_index_is_a_complaint_with_the_way_out(tmp_path: Path) -> None:
    pd.DataFrame({"prompt": ["a fox"]}).to_csv(tmp_path / "m.csv")
    (complaint,) = opened(tmp_path / "m.csv").complaints
    assert "index=False" in complaint.remedy
    assert complaint.line == 1
