"""A sweep written as a table asks for the same pictures as the sweep itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxbatch.errors import ManifestError, UsageError
from fluxbatch.manifest.sweep.write import batches, write
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


def test_many_small_blocks_are_few_row_groups(tmp_path: Path) -> None:
    entries = ", ".join(f"{{a: word {number}}}" for number in range(300))
    sweep = sweep_of(tmp_path, f"prompt: 'a {{{{ a }}}}'\ninclude: [{entries}]")
    metadata = pq.read_metadata(wrote(sweep, tmp_path / "o.parquet"))
    assert (metadata.num_rows, metadata.num_row_groups) == (300, 1)


def test_a_long_sweep_is_never_held_in_memory(tmp_path: Path) -> None:
    text = "prompt: 'a {{ a }} {{ b }}'\naxes: {a: {range: [1, 400]}, b: {range: [1, 1000]}}"
    sweep = sweep_of(tmp_path, text)
    schema = pa.schema([pa.field(name, sweep.type_of(name)) for name in sweep.headers])
    before, peak, rows = pa.total_allocated_bytes(), 0, 0
    for batch in batches(sweep, tmp_path / "o.parquet", schema, None):
        rows += batch.num_rows
        peak = max(peak, pa.total_allocated_bytes() - before)
    assert rows == 400_000
    assert 100_000 < peak < 20_000_000
