"""The dataset as others read it: datasets, pandas, polars, DuckDB; pictures as pictures."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image  # noqa: TID251 - the tests look at the pictures that the readers give

from fluxbatch.simulator import Simulator
from tests.e2e.e2e_kit import Desk, calm, rows, table

pytestmark = pytest.mark.xdist_group("readers")  # one dataset serves all of these tests


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with Simulator(calm(), in_thread=True) as simulator:
        desk = Desk(tmp_path_factory.mktemp("readers"), simulator)
        small = rows(4, mood="calm", width=320)
        desk.run(
            desk.manifest([*small, {"prompt": "x [[fault:8007]]", "mood": "wild"}]), "--rows-per-shard", "2"
        ).ended(0)
        yield desk.out


def test_load_dataset_gives_pictures(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(str(made), cache_dir=str(tmp_path), split="train")
    assert loaded.num_rows == 4, "only the parts are data: not failures.parquet, not the spool"
    assert isinstance(loaded.features["image"], datasets.Image)
    assert [row["image"].size for row in loaded] == [(320, 256)] * 4
    assert isinstance(loaded[0]["image"], Image.Image)
    assert loaded["mood"][:] == ["calm"] * 4
    assert loaded[0]["usd"] is not None


def test_load_dataset_with_the_data_files_named(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset("parquet", data_files=str(made / "data" / "*.parquet"), cache_dir=str(tmp_path))
    assert loaded["train"][3]["image"].size == (320, 256)


def test_pandas(made: Path) -> None:
    import pandas as pd

    frame = pd.read_parquet(made / "data")
    assert sorted(frame["prompt"]) == [f"a fox {index}" for index in range(4)]
    assert Image.open(io.BytesIO(frame["image"][0]["bytes"])).size == (320, 256)
    assert (frame["usd"].sum(), str(frame["created_at"].dtype)) == (
        table(made)["usd"].to_pandas().sum(),
        "datetime64[us, UTC]",
    )


def test_polars(made: Path) -> None:
    import polars as pl

    frame = pl.read_parquet(made / "data" / "*.parquet")
    assert frame.height == 4
    assert Image.open(io.BytesIO(frame["image"].struct.field("bytes")[0])).size == (320, 256)
    assert frame.filter(pl.col("mood") == "calm")["check"].to_list() == ["ok"] * 4


def test_duckdb(made: Path) -> None:
    import duckdb

    with duckdb.connect() as connection:
        query = f"select count(*), sum(usd), min(octet_length(image.bytes)), min(sha256) from '{made}/data/*.parquet'"
        count, usd, smallest, digest = connection.execute(query).fetchone() or ()
    assert (count, usd) == (4, sum(table(made)["usd"].to_pylist()))
    assert smallest > 100
    assert len(digest) == 64


def test_the_columns_are_the_promised_ones(made: Path) -> None:
    promised = (
        "image prompt model width height steps guidance seed sample references id row key mood "
        "image_width image_height format size_bytes sha256 phash "
        "sharpness luminance_mean luminance_spread dominant_color check "
        "neurons_expected neurons usd attempts latency_s request_id created_at run_id"
    )
    found = table(made).column_names
    assert [name for name in found if name in promised.split()] == promised.split()


def test_a_row_group_is_a_page_that_a_viewer_can_show_and_pages_have_an_index_and_checksums(made: Path) -> None:
    import pyarrow.parquet as pq

    for part in sorted((made / "data").glob("*.parquet")):
        with pq.ParquetFile(part, page_checksum_verification=True) as file:
            facts = file.metadata
            for group in range(facts.num_row_groups):
                assert facts.row_group(group).total_byte_size <= 100_000_000
                assert (
                    facts.row_group(group).column(0).has_column_index
                    or facts.row_group(group).column(2).has_column_index
                )
            file.read()
