"""Exports as those read them who know nothing of fluxbatch: datasets, webdataset, pandas, polars, DuckDB."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image  # noqa: TID251 - a reader opens the pictures

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.query import Rows
from tests.dataset.dataset_kit import WHEN, jpeg
from tests.export.export_kit import exported
from tests.query.query_kit import dataset_of, put_sidecar, values

ROWS = 12
OWN = pa.table(
    {
        "label": pa.array(["red", None, "blue"] * 4).dictionary_encode(),
        "tags": pa.array([["a", "b"], [], None] * 4),
        "price": pa.array([Decimal("1.50"), None, Decimal("-2.25")] * 4, pa.decimal128(10, 2)),
        "box": pa.array([{"x": 1, "y": None}] * ROWS, pa.struct([("x", pa.int8()), ("y", pa.float32())])),
        "nothing": pa.nulls(ROWS),
        "late": pa.array([None] * 8 + [7, 8, 9, 10], pa.int64()),
        "source_file_name": pa.array([f"old/{n}.png" for n in range(ROWS)]),
    }
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One dataset in every form; its first rows have nothing where later ones have something."""
    folder = tmp_path_factory.mktemp("exports")
    dataset = dataset_of(folder / "set", (7, 5), own=OWN)
    put_sidecar(
        dataset, "aesthetic", pa.table({"key": values(Rows(dataset), "key")[8:], "score": [1.5, 2.5, 3.5, 4.5]})
    )
    for to in ("hf", "csv", "images"):
        exported(dataset, folder / to, to)
    exported(dataset, folder / "tars", "webdataset", shard_bytes=40_000)
    for form in ("parquet", "jsonl", "csv"):
        exported(dataset, folder / f"folder-{form}", "imagefolder", metadata=form, name="{label}/{row:04}")
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return dataset_of(tmp_path_factory.mktemp("small") / "set", (3,))


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    datasets.disable_progress_bars()
    return lambda *args, **options: datasets.load_dataset(*args, cache_dir=str(tmp_path), split="train", **options)


def check_picture(content: bytes, row: int) -> None:
    assert content == jpeg(seed=row)
    assert Image.open(io.BytesIO(content)).size == (64, 48)


def check_loaded(found: Any) -> None:
    assert found["prompt"][:] == [f"picture {row}" for row in range(1, ROWS + 1)]
    assert type(found.features["image"]).__name__ == "Image"
    assert (found[0]["image"].format, found[0]["image"].size) == ("JPEG", (64, 48))
    assert found["score"][:] == [None] * 8 + [1.5, 2.5, 3.5, 4.5]


def test_datasets_loads_the_parquet_files_and_the_folder(folder: Path, load: Any) -> None:
    for found in (load("parquet", data_files=str(folder / "hf" / "data" / "*.parquet")), load(str(folder / "hf"))):
        check_loaded(found)
        first = found[0]
        assert first["usd"] == Decimal("0.041251320")
        assert (first["label"], first["tags"], first["box"]) == ("red", ["a", "b"], {"x": 1, "y": None})
        assert first["created_at"] == WHEN


def test_datasets_streams(folder: Path, load: Any) -> None:
    first = next(iter(load(str(folder / "hf"), streaming=True)))
    assert first["image"].size == (64, 48)


def test_datasets_would_have_written_the_same_features_and_settings(folder: Path) -> None:
    [path] = (folder / "hf" / "data").iterdir()
    assert path.name == "train-00000-of-00001.parquet"
    part = pq.ParquetFile(path)
    assert json.loads(part.schema_arrow.metadata[b"huggingface"])["info"]["features"]["image"] == {"_type": "Image"}
    group = part.metadata.row_group(0)
    columns = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}
    assert columns["image.bytes"].compression == "UNCOMPRESSED"
    assert columns["prompt"].has_offset_index
    assert columns["prompt"].has_column_index
    assert b"fluxbatch" not in part.schema_arrow.metadata


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("form", ["parquet", "jsonl", "csv"])
def test_datasets_loads_the_imagefolder(folder: Path, load: Any, form: str) -> None:
    found = load("imagefolder", data_dir=str(folder / f"folder-{form}"))
    pictures = sorted(found, key=lambda row: row["row"])
    assert [row["prompt"] for row in pictures] == [f"picture {row}" for row in range(1, ROWS + 1)]
    assert all(row["image"].size == (64, 48) for row in pictures)
    assert pictures[4]["source_file_name_"] == "old/4.png"
    if form != "csv":  # CSV has no types: lists are JSON there
        assert pictures[0]["tags"] == ["a", "b"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # readers that leave files open
def test_datasets_loads_the_webdataset_with_types_that_its_first_samples_do_not_show(folder: Path, load: Any) -> None:
    found = load(str(folder / "tars"))
    assert len(list((folder / "tars").glob("*.tar"))) > 1
    assert found["txt"][:] == [f"picture {row}" for row in range(1, ROWS + 1)]
    assert found[3]["jpg"].size == (64, 48)
    assert [row["row"] for row in found["json"]] == list(range(1, ROWS + 1))
    assert [row["late"] for row in found["json"]] == [None] * 8 + [7, 8, 9, 10]
    files = {"train": str(folder / "tars" / "*.tar")}
    assert load("webdataset", data_files=files, features=found.features)["json"][11]["late"] == 10


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_datasets_loads_shards_without_their_card(dataset: Dataset, tmp_path: Path, load: Any) -> None:
    exported(dataset, tmp_path / "tars", "webdataset")
    found = load("webdataset", data_files=str(tmp_path / "tars" / "*.tar"))
    assert found["txt"][:] == [f"picture {row}" for row in range(1, 4)]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_itself(folder: Path) -> None:
    import webdataset

    shards = sorted(map(str, (folder / "tars").glob("*.tar")))
    samples = list(webdataset.WebDataset(shards, shardshuffle=False))
    assert [set(sample) >= {"jpg", "json", "txt", "__key__"} for sample in samples] == [True] * ROWS
    for row, sample in enumerate(samples, 1):
        check_picture(sample["jpg"], row)
        told = json.loads(sample["json"], parse_float=Decimal)
        assert (told["row"], told["prompt"]) == (row, sample["txt"].decode())
        assert told["usd"] == Decimal("0.041251320")
        assert sample["__key__"] == told["key"]


def test_pandas(folder: Path) -> None:
    frame = pd.read_parquet(folder / "hf" / "data")
    check_picture(frame["image"][4]["bytes"], 5)
    table = pd.read_csv(folder / "csv" / "train.csv")
    assert list(table["prompt"]) == [f"picture {row}" for row in range(1, ROWS + 1)]
    assert table["usd"].sum() == pytest.approx(0.041251320 * ROWS)
    assert list(table["price"][:3])[::2] == [1.5, -2.25]
    assert table["tags"][0] == '["a", "b"]'
    assert pd.read_json(folder / "folder-jsonl" / "train" / "metadata.jsonl", lines=True)["row"].sum() == 78


def test_polars(folder: Path) -> None:
    frame = pl.read_parquet(folder / "hf" / "data" / "*.parquet")
    assert frame["usd"].sum() == Decimal("0.041251320") * ROWS
    check_picture(frame["image"][11]["bytes"], 12)
    assert pl.read_csv(folder / "csv" / "train.csv", infer_schema_length=None)["late"].to_list()[7:] == [
        None,
        7,
        8,
        9,
        10,
    ]


def test_duckdb(folder: Path) -> None:
    with duckdb.connect() as db:
        found = db.sql(f"SELECT sum(usd), count(score), sum(price) FROM '{folder}/hf/data/*.parquet'").fetchall()
        assert found == [(Decimal("0.041251320") * ROWS, 4, Decimal("-3.00"))]
        found = db.sql(f"SELECT sum(price), count(*), min(created_at) FROM '{folder}/csv/train.csv'").fetchall()
        assert found[0][:2] == (-3.0, ROWS)
        [(content,)] = db.sql(f"SELECT image.bytes FROM '{folder}/hf/data/*.parquet' WHERE row = 2").fetchall()
        check_picture(content, 2)
