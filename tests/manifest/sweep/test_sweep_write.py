"""A sweep written as a table asks for the same pictures as the sweep itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fluxbatch.errors import ManifestError, UsageError
from fluxbatch.manifest.sweep.write import write
from tests.manifest.manifest_kit import asked, opened, own_values
from tests.manifest.sweep.sweep_kit import manifest_of, sweep_of

PROMPTS = Path(__file__).parents[3] / "prompts"
EXAMPLES = ("matrix", "postcards", "brand")


def wrote(sweep: object, path: Path, rows: list[int] | None = None) -> Path:
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as sink:
        write(sweep, path, sink, rows)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_the_table_has_the_same_keys_and_columns(tmp_path: Path, name: str, ending: str) -> None:
    manifest = opened(PROMPTS / f"{name}.yaml")
    assert manifest.sweep is not None
    table = opened(wrote(manifest.sweep, tmp_path / f"out.{ending}"))
    assert [row.key for row in asked(table)] == [row.key for row in asked(manifest)]
    assert table.own_schema.names == manifest.own_schema.names
    if ending == "parquet":
        assert table.own_schema == manifest.own_schema
        assert [own_values(row) for row in asked(table)] == [own_values(row) for row in asked(manifest)]


def test_references_are_found_from_the_tables_folder(tmp_path: Path) -> None:
    shutil.copytree(PROMPTS, tmp_path / "prompts")
    sweep = opened(tmp_path / "prompts" / "brand.yaml").sweep
    inside = pq.read_table(wrote(sweep, tmp_path / "b.parquet", [1]))
    assert inside["input_image_0"].to_pylist() == ["prompts/references/teapot.png"]
    beside = pq.read_table(wrote(sweep, tmp_path / "prompts" / "b.parquet", [1]))
    assert beside["input_image_0"].to_pylist() == ["references/teapot.png"]
    outside = pq.read_table(wrote(sweep, tmp_path / "elsewhere" / "b.parquet", [1]))
    assert outside["input_image_0"].to_pylist() == [str(tmp_path / "prompts" / "references" / "teapot.png")]


def test_only_some_rows_are_written(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, "prompt: a\naxes: {seed: {range: [1, 100]}}\nexclude: [{seed: 2}]")
    table = pq.read_table(wrote(sweep, tmp_path / "o.parquet", [1, 2, 99]))
    assert table["seed"].to_pylist() == [1, 3, 100]


def test_a_prompt_that_cannot_be_rendered_stops_the_writing(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, "prompt: 'a {{ 6 // n }}'\naxes: {n: [3, 0]}")
    with pytest.raises(ManifestError) as raised:
        wrote(sweep, tmp_path / "o.parquet")
    assert "row 2" in str(raised.value.complaints[0])


def test_a_table_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"use \.parquet, \.csv, \.jsonl"):
        wrote(manifest_of(tmp_path, "prompt: a").sweep, tmp_path / "o.xlsx")
