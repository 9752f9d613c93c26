"""The user's own columns, of any type that a part can keep, through every form."""

from __future__ import annotations

import csv
import datetime as dt
import json
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.export import targets
from tests.export.export_kit import exported
from tests.query.query_kit import dataset_of

FAR = 2**62
OWN = pa.table(
    {
        "dictionary": pa.array(["a", None, "b"]).dictionary_encode(),
        "numbers": pa.array([1, None, 3], pa.int64()).dictionary_encode(),
        "map": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int8())),
        "struct": pa.array([{"x": Decimal("1.5"), "y": [b"\x00"]}, None, {"x": None, "y": None}],
                           pa.struct([("x", pa.decimal128(5, 2)), ("y", pa.list_(pa.binary()))])),
        "fixed": pa.array([[1.5, None], None, [0.0, float("nan")]], pa.list_(pa.float32(), 2)),
        "large": pa.array([["x"], None, []], pa.large_list(pa.large_string())),
        "binary": pa.array([b"\xff\x00", None, b""], pa.binary()),
        "wide": pa.array([Decimal(10) ** 30, None, Decimal(-1)], pa.decimal256(60, 2)),
        "float": pa.array([float("inf"), None, float("nan")], pa.float64()),
        "half": pa.array([1.5, None, -0.0], pa.float16()),
        "big": pa.array([2**64 - 1, None, 0], pa.uint64()),
        "time": pa.array([1, None, 86_399_999_999_999], pa.time64("ns")),
        "moment": pa.array([1, None, FAR], pa.timestamp("ns", tz="Asia/Tokyo")),
        "far": pa.array([FAR, None, -FAR], pa.timestamp("us")),
        "date": pa.array([dt.date(1, 1, 1), None, dt.date(9999, 12, 31)], pa.date32()),
        "span": pa.array([1, None, -1], pa.duration("ns")),
        "null": pa.nulls(3),
        "text": pa.array(["", None, "ünï"], pa.large_string()),
        "file_name": pa.array(["mine", None, "x"]),
    }
)  # fmt: skip


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return dataset_of(tmp_path_factory.mktemp("own") / "set", (2, 1), own=OWN)


@pytest.mark.parametrize("to", targets.TARGETS)
def test_every_form_takes_every_column(dataset: Dataset, tmp_path: Path, to: str) -> None:
    assert exported(dataset, tmp_path / "out", to).pictures == 3


def test_parquet_keeps_types_and_values(dataset: Dataset, tmp_path: Path) -> None:
    exported(dataset, tmp_path / "hf", "hf")
    exported(dataset, tmp_path / "folder", "imagefolder")
    [path] = (tmp_path / "hf" / "data").iterdir()
    for table in (pq.read_table(path), pq.read_table(tmp_path / "folder" / "train" / "metadata.parquet")):
        for name in OWN.column_names:
            found = table.column("file_name_" if name == "file_name" and "image" not in table.schema.names else name)
            kept = dataset.own_schema.field(name).type
            assert found.type == kept
            assert found.combine_chunks().cast(kept).equals(OWN.column(name).combine_chunks().cast(kept)) or name in (
                "fixed",
                "float",
            )  # fmt: skip - NaN is not itself


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_text_forms_say_every_value(dataset: Dataset, tmp_path: Path, form: str) -> None:
    exported(dataset, tmp_path / "out", "imagefolder", metadata=form)
    path = tmp_path / "out" / "train" / f"metadata.{form}"
    if form == "jsonl":
        first, second, third = (json.loads(line, parse_float=Decimal) for line in path.read_text().splitlines())
        assert first["struct"] == {"x": Decimal("1.5"), "y": ["AA=="]}
        assert first["wide"] == Decimal(10) ** 30
        assert first["float"] is None
        assert (first["big"], first["map"], third["large"]) == (2**64 - 1, [["k", 1]], [])
        assert all(second[name] is None for name in OWN.column_names if name != "file_name")
    else:
        with path.open(newline="") as file:
            first, second, third = csv.DictReader(file)
        assert (first["binary"], first["big"], first["float"]) == ("/wA=", str(2**64 - 1), "inf")
        assert all(second[name] == "" for name in OWN.column_names if name != "file_name")
    assert first["file_name_"] == "mine"
    assert first["file_name"].endswith(".jpg")
