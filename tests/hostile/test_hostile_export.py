"""Hostile texts in every column, and in the columns' names, through every form of an export and the terminal."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.errors import UsageError
from fluxbatch.export import targets
from fluxbatch.export.cells import restored
from fluxbatch.export.command import run_export
from fluxbatch.export.exporter import Wish
from fluxbatch.export.told import show_exported, show_nothing
from tests.export.export_kit import exported
from tests.query.query_kit import dataset_of

TEXTS = [
    "=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(A1:A9)", "\t=1", "\r=1", "＝1+1",  # noqa: RUF001 - a formula as well
    "<script>alert(1)</script>", "[red]markup[/red]", "\x1b[31mred\x1b[0m\x1b]0;title\x07", "\x9b31m",
    "../../../../etc/passwd", "..\\..\\boot.ini", "/etc/passwd", "C:\\CON", "nul.", "aux.txt", "-rf ~", ".hidden",
    "nul\0nul", "x" * 50_000, "\u202etxt.exe\u202c", "سلام ../", "a\nb\r\nc", "\u2028\u2029", "{key}", "%n%s",
    "$(id)`id`", 'say "x", \'y\'; DROP TABLE t; --', "\ufeffbom",
    "🐱" * 90, "e\u0301" * 200, " ", "\x7f", "NaN", "null", "true",
]  # fmt: skip
NAMES = ["=cmd()", "<b>", "\x1b[1m", "../x", "a,b", 'q"q', "line\nline", "ID", "@x", "\u202e"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    own = pa.table(dict.fromkeys(NAMES, TEXTS) | {"nested": [{"=k": text, "l": [text]} for text in TEXTS]})
    folder = tmp_path_factory.mktemp("hostile") / "set"
    return dataset_of(folder, (20, len(TEXTS) - 20), own=own, prompts=TEXTS)


@pytest.mark.parametrize("to", targets.TARGETS)
def test_no_file_leaves_its_folder_and_every_name_is_plain(dataset: Dataset, tmp_path: Path, to: str) -> None:
    exported(dataset, tmp_path / "out", to, name="{prompt}/{ID}/{row}-{=cmd()}", shard_bytes=100_000_000)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    names = [path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*")]
    if to == targets.WEBDATASET:
        with tarfile.open(tmp_path / "out" / "shard-000000.tar") as tar:
            names += tar.getnames()
            tar.extractall(tmp_path / "unpacked", filter="data")
        assert len(list((tmp_path / "unpacked").rglob("*.jpg"))) == len(TEXTS)
    for name in names:
        assert name.isprintable()
        assert not set(name) & set("<>:\"\\|?*'`$;&%{} ")
        assert ".." not in name.split("/")


@pytest.fixture(scope="module")
def table(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("table") / "out"
    exported(dataset, target, "csv")
    return target / "train.csv"


def test_no_cell_and_no_header_is_a_formula_and_all_texts_come_back(dataset: Dataset, table: Path) -> None:
    with table.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file, strict=True)
    for cell in (cell for row in (header, *rows) for cell in row):
        start = cell.lstrip(" \t\r\n\0\ufeff\u2028\u2029\u202e\u200b")[:1]
        if start in set("=+-@\uff1d\uff0b\uff0d\uff20"):
            float(cell)
    found = [dict(zip(map(restored, header), row, strict=True)) for row in rows]
    assert [restored(row["prompt"]) for row in found] == TEXTS
    for name in NAMES:
        assert [restored(row[name]) for row in found] == TEXTS
    assert [json.loads(row["nested"])["=k"] for row in found] == TEXTS


def test_readers_of_csv_agree_on_how_many_rows_there_are(table: Path) -> None:
    assert len(pd.read_csv(table)) == len(TEXTS)
    assert len(pl.read_csv(table, infer_schema_length=None)) == len(TEXTS)
    how = "all_varchar=true, header=true, delim=',', quote='\"', escape='\"', max_line_size=10000000, new_line='\\r\\n'"
    with duckdb.connect() as db:
        [(count,)] = db.sql(f"SELECT count(*) FROM read_csv('{table}', {how})").fetchall()
    assert count == len(TEXTS)


@pytest.mark.parametrize("form", ["jsonl", "parquet", "csv"])
def test_the_texts_come_back_from_every_table(dataset: Dataset, tmp_path: Path, form: str) -> None:
    exported(dataset, tmp_path / "out", "imagefolder", metadata=form)
    path = tmp_path / "out" / "train" / f"metadata.{form}"
    if form == "parquet":
        rows = pq.read_table(path).to_pylist()
    elif form == "jsonl":
        rows = [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]
    else:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [{name: restored(cell) for name, cell in row.items()} for row in csv.DictReader(file)]
    assert [row["prompt"] for row in rows] == TEXTS
    assert all((tmp_path / "out" / "train" / row["file_name"]).is_file() for row in rows)


def test_webdataset_has_the_prompts_as_they_were(dataset: Dataset, tmp_path: Path) -> None:
    exported(dataset, tmp_path / "out", "webdataset", shard_bytes=100_000_000)
    with tarfile.open(tmp_path / "out" / "shard-000000.tar") as tar:
        files = {member.name: tar.extractfile(member) for member in tar}
        texts = [file.read().decode() for name, file in files.items() if file is not None and name.endswith(".txt")]
        rows = [json.loads(file.read()) for name, file in files.items() if file is not None and name.endswith(".json")]
    assert texts == TEXTS
    assert [row["=cmd()"] for row in rows] == TEXTS


def test_the_terminal_gets_no_escape_and_no_markup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b[31m[bold]x[/bold]\u202e"
    dataset = dataset_of(tmp_path / evil / "set", (1,), prompts=[evil])
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=200)
    show_exported(console, exported(dataset, tmp_path / evil / "out", "csv", where=f"prompt <> '{evil[1:]}'"))
    show_nothing(console, dataset, Wish("csv", f"prompt = '{evil}'"))
    assert run_export(dataset, str(tmp_path / evil / "b"), Wish("csv"), force=False, as_json=True, command="x") == 0
    with pytest.raises(UsageError) as caught:
        exported(dataset, tmp_path / "c", "csv", where=f'"{evil}" = 1', name=f"{{{evil}}}")
    said = out.getvalue() + capsys.readouterr().out + str(caught.value)
    assert "\x1b[31m" not in said
    assert "\u202e" not in said
    assert "[bold]" in said
