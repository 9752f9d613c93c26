"""The dataset as those read it who know nothing of fluxbatch."""

from __future__ import annotations

import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image  # noqa: TID251 - a reader opens the pictures

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.failures import FailureWriter
from fluxbatch.dataset.own import kept_schema
from fluxbatch.dataset.shards import seal
from fluxbatch.models.money import ZERO
from tests.dataset.dataset_kit import SEALED_AT, WHEN, asked, jpeg, spool_one

OWN = pa.record_batch(
    {
        "label": pa.array(["red"]).dictionary_encode(),
        "tags": pa.array([["a", "b"]]),
        "price": pa.array([Decimal("1.50")], pa.decimal128(10, 2)),
        "when": pa.array([0], pa.timestamp("s", tz="Europe/Amsterdam")),
        "box": pa.array([{"x": 1, "y": None}], pa.struct([("x", pa.int8()), ("y", pa.float32())])),
        "nothing": pa.nulls(1),
        "text": pa.array(["large"], pa.large_string()),
    }
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pictures in two parts, and a failure beside them."""
    dataset = Dataset.create(tmp_path_factory.mktemp("pictures") / "set", kept_schema(OWN.schema), True)
    spool = dataset.spool()
    for rows in ((1, 2, 3), (4, 5)):
        entries = [spool_one(dataset, spool, f"picture {row}", row, own=OWN) for row in rows]
        seal(dataset, spool, entries, run_id="r", sealed_at=SEALED_AT)
    with FailureWriter(dataset.folder / "failures.parquet", dataset.own_schema) as failures:
        failures.add(asked("refused"), "refused", "8007", None, 1, ZERO)
    return dataset.folder


def check_picture(content: bytes) -> None:
    assert content == jpeg(seed=1)
    assert Image.open(io.BytesIO(content)).size == (64, 48)


def test_pandas(folder: Path) -> None:
    frame = pd.read_parquet(folder / "data")
    assert list(frame["prompt"]) == [f"picture {row}" for row in range(1, 6)]
    check_picture(frame["image"][0]["bytes"])
    assert frame["usd"][0] == Decimal("0.041251320")
    assert frame["label"].dtype == "category"
    assert frame["created_at"][0] == pd.Timestamp(WHEN)
    assert list(frame["tags"][0]) == ["a", "b"]


def test_polars(folder: Path) -> None:
    frame = pl.read_parquet(folder / "data" / "*.parquet")
    assert frame["prompt"].to_list() == [f"picture {row}" for row in range(1, 6)]
    check_picture(frame["image"][0]["bytes"])
    assert frame["usd"][0] == Decimal("0.041251320")
    assert frame.filter(pl.col("row") == 4)["box"].to_list() == [{"x": 1, "y": None}]
    assert pl.scan_parquet(folder / "data" / "*.parquet").select(pl.col("usd").sum()).collect().item() == Decimal(
        "0.206256600"
    )


def test_duckdb(folder: Path) -> None:
    with duckdb.connect() as db:
        table = f"read_parquet('{folder}/data/*.parquet')"
        [(count, spent)] = db.sql(f"SELECT count(*), sum(usd) FROM {table}").fetchall()
        assert (count, spent) == (5, Decimal("0.206256600"))
        [(content, tags, box)] = db.sql(f"SELECT image.bytes, tags, box FROM {table} WHERE row = 1").fetchall()
        check_picture(content)
        assert (tags, box) == (["a", "b"], {"x": 1, "y": None})


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    datasets.disable_progress_bars()
    return lambda *args, **options: datasets.load_dataset(*args, cache_dir=str(tmp_path), **options)


def check_hugging_face(pictures: Any) -> None:
    assert pictures["prompt"][:] == [f"picture {row}" for row in range(1, 6)]
    first = pictures[0]
    assert isinstance(first["image"], Image.Image)
    assert (first["image"].format, first["image"].size) == ("JPEG", (64, 48))
    assert first["usd"] == Decimal("0.041251320")
    assert (first["label"], first["tags"], first["box"], first["nothing"]) == (
        "red",
        ["a", "b"],
        {"x": 1, "y": None},
        None,
    )
    assert type(pictures.features["image"]).__name__ == "Image"
    assert str(pictures.features["created_at"].dtype) == "timestamp[us, tz=UTC]"


def test_hugging_face_loads_the_folder_and_only_its_parts(folder: Path, load: Any) -> None:
    found = load(str(folder))
    assert list(found) == ["train"]
    check_hugging_face(found["train"])


def test_hugging_face_loads_the_files(folder: Path, load: Any) -> None:
    check_hugging_face(load("parquet", data_files=str(folder / "data" / "*.parquet"), split="train"))


def test_hugging_face_streams(folder: Path, load: Any) -> None:
    first = next(iter(load(str(folder), split="train", streaming=True)))
    assert first["image"].size == (64, 48)
