"""Parquet: own columns keep their types, parameters mean the same as in a text file."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxbatch.errors import UsageError
from fluxbatch.manifest import parquet
from tests.manifest.manifest_kit import asked, opened, own_values, picture, rejected, written

OWN = pa.table(
    {
        "words": pa.array(["a", None, "a"]).dictionary_encode(),
        "big": pa.array(["x", "y", "z"], pa.large_string()),
        "at": pa.array([1, 2, None], pa.timestamp("ns", "Europe/Berlin")),
        "day": pa.array([datetime.date(2026, 11, 22), None, None]),
        "far": pa.array([10**15, None, 1], pa.timestamp("ms")),
        "money": pa.array([Decimal("1.50"), None, Decimal("0.01")], pa.decimal128(10, 2)),
        "nested": pa.array([[{"a": 1}], [], None], pa.list_(pa.struct([("a", pa.int8())]))),
        "pairs": pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int64())),
        "uid": pa.array([b"0" * 16] * 3, pa.uuid()),
        "small": pa.array([1, 2, 3], pa.uint8()),
        "raw": pa.array([b"\0", b"", None], pa.binary()),
    }
)


def stored(folder: Path, table: pa.Table, **options: object) -> Path:
    pq.write_table(table, folder / "m.parquet", **options)
    return folder / "m.parquet"


def test_own_columns_keep_their_types_and_values(tmp_path: Path) -> None:
    table = OWN.append_column("prompt", pa.array(["p", "q", "r"]))
    manifest = opened(stored(tmp_path, table, row_group_size=2))
    assert manifest.complaints == ()
    assert manifest.own_schema.equals(OWN.schema)
    parts = [row.own.row() for row in asked(manifest) if row.own is not None]
    assert pa.Table.from_batches(parts, manifest.own_schema).equals(OWN)


def test_a_rejected_row_shows_all_its_values_even_those_python_has_no_type_for(tmp_path: Path) -> None:
    table = OWN.append_column("prompt", pa.array(["", "q", "r"]))
    (row,) = rejected(opened(stored(tmp_path, table)))
    assert list(row.values) == [*OWN.column_names, "prompt"]
    assert row.values["money"] == Decimal("1.50")
    assert isinstance(row.values["far"], str)


def test_pandas_columns_with_gaps_mean_the_same_as_whole_ones(tmp_path: Path) -> None:
    frame = pd.DataFrame({"prompt": ["a", "b"], "width": [512, None], "seed": [7, None], "guidance": [None, 3.5]})
    frame.to_parquet(tmp_path / "m.parquet")
    first, second = asked(opened(tmp_path / "m.parquet"))
    assert (first.width, first.seed, first.guidance) == (512, 7, None)
    assert (second.width, second.seed, second.guidance) == (1024, None, 3.5)
    assert type(first.width) is type(first.seed) is int


def test_the_same_rows_have_the_same_keys_in_every_format(tmp_path: Path) -> None:
    table = pa.table(
        {
            "prompt": pa.array(["a", "b"]).dictionary_encode(),
            "width": pa.array([512, 768], pa.uint16()),
            "guidance": pa.array([3.3, None], pa.float32()),
            "seed": pa.array([1.0, None]),
        }
    )
    csv = written(tmp_path, "m.csv", "prompt,width,guidance,seed\na,512,3.3,1\nb,768,,\n")
    jsonl = written(
        tmp_path, "m.jsonl", '{"prompt":"a","width":512,"guidance":3.3,"seed":1}\n{"prompt":"b","width":768}\n'
    )
    keys = [[row.key for row in asked(opened(path))] for path in (stored(tmp_path, table), csv, jsonl)]
    assert keys[0] == keys[1] == keys[2]


@pytest.mark.parametrize(
    ("column", "array"),
    [
        ("prompt", pa.array([b"a fox"])),
        ("width", pa.array([True])),
        ("width", pa.array([512.5])),
        ("seed", pa.array([2.0**60])),
        ("guidance", pa.array([float("inf")], pa.float32())),
        ("steps", pa.array([datetime.date(2026, 1, 1)])),
        ("model", pa.array([1])),
        ("input_image_0", pa.array([[1]])),
    ],
)
def test_a_column_of_the_wrong_type_is_a_complaint(tmp_path: Path, column: str, array: pa.Array) -> None:
    (row,) = rejected(opened(stored(tmp_path, pa.table({"prompt": pa.array(["a"])} | {column: array}))))
    assert [complaint.column for complaint in row.complaints] == [column]
    assert row.complaints[0].line is None


def test_pictures_come_as_bytes_or_as_hugging_face_structs(tmp_path: Path) -> None:
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    written(tmp_path, "b.png", picture(40, 30))
    table = pa.table(
        {
            "prompt": ["a", "b", "c", "d"],
            "input_image_0": pa.array(
                [{"bytes": picture(20, 10), "path": "x.png"}, {"bytes": None, "path": "b.png"}, None, None], image
            ),
        }
    )
    rows = asked(opened(stored(tmp_path, table)))
    assert [[(r.width, r.height) for r in row.references] for row in rows] == [[(20, 10)], [(40, 30)], [], []]
    assert rows[0].references[0].content == picture(20, 10)
    assert rows[1].references[0].content is None


def test_heavy_rows_are_read_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "CHUNK_BYTES_MAX", 100_000)
    table = pa.table({"prompt": [f"fox {n}" for n in range(100)], "blob": [bytes([n]) * 10_000 for n in range(100)]})
    path = stored(tmp_path, table, compression="none", use_dictionary=False)
    rows = asked(opened(path))
    assert [own_values(row)["blob"][0] for row in rows] == list(range(100))
    assert max(row.own.batch.num_rows for row in rows if row.own is not None) <= 10


@pytest.mark.parametrize("content", [b"", b"PAR1xxxxPAR1", b"prompt\na fox\n"])
def test_what_is_no_parquet_cannot_be_opened(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UsageError, match="cannot be read as Parquet"):
        opened(written(tmp_path, "m.parquet", content))


def test_a_damaged_page_is_said_and_not_read_as_something_else(tmp_path: Path) -> None:
    table = pa.table({"prompt": [f"a fox, number {n}" for n in range(1000)]})
    path = stored(tmp_path, table, compression="none", use_dictionary=False, write_page_checksum=True)
    content = bytearray(path.read_bytes())
    content[content.index(b"number 500")] ^= 1
    path.write_bytes(content)
    with pytest.raises(UsageError, match="damaged"):
        list(opened(path).rows())


def test_two_columns_of_one_name_are_a_complaint(tmp_path: Path) -> None:
    table = pa.table([["a"], ["b"], ["c"]], names=["prompt", "note", "note"])
    manifest = opened(stored(tmp_path, table))
    assert ["more than once" in complaint.problem for complaint in manifest.complaints] == [True]
    assert own_values(asked(manifest)[0]) == {"note": "b"}
