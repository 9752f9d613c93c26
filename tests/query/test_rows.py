"""Which rows come back, in which order, with which types; and what is said when a part or a sidecar is not whole."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.quarantine import Damaged
from fluxbatch.errors import StorageError, UsageError
from fluxbatch.query import Rows
from tests.dataset.dataset_kit import NO_COLUMNS, flip
from tests.query.query_kit import dataset_of, part_files, put_sidecar, values

OWN = pa.table(
    {
        "label": pa.array(["red", "blue", None, "blue", "green"]).dictionary_encode(),
        "tags": pa.array([["a", "b"], [], None, ["b"], ["c"]]),
        "box": pa.array([{"x": n, "y": None} for n in range(5)], pa.struct([("x", pa.int8()), ("y", pa.float32())])),
        "price": pa.array([Decimal(n) / 2 for n in range(5)], pa.decimal256(60, 2)),
    }
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return dataset_of(tmp_path_factory.mktemp("rows") / "set", own=OWN)


@pytest.fixture(scope="module")
def rows(dataset: Dataset) -> Rows:
    return Rows(dataset)


def test_all_rows_come_in_their_natural_order_without_their_pictures(rows: Rows) -> None:
    assert values(rows, "row", "part", "place") == [
        (1, "data/train-00000.parquet", 0),
        (2, "data/train-00000.parquet", 1),
        (3, "data/train-00000.parquet", 2),
        (4, "data/train-00001.parquet", 0),
        (5, "data/train-00001.parquet", 1),
    ]
    assert "image" not in rows.schema.names
    assert rows.count() == 5


def test_columns_have_the_types_and_values_of_the_parts(rows: Rows, dataset: Dataset) -> None:
    batches = list(rows.read())
    assert all(batch.schema.equals(rows.schema) for batch in batches)
    kept = [name for name in dataset.schema.names if name != "image"]
    direct = pa.concat_tables([pq.read_table(path, columns=kept) for path in part_files(dataset)])
    assert pa.Table.from_batches(batches).select(kept).to_pylist() == direct.to_pylist()
    again = pa.Table.from_batches(list(rows.read(order_by="row"))).unify_dictionaries()
    assert again.select(kept).to_pylist() == direct.to_pylist()
    assert again.schema.equals(rows.schema)


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("row > 3", [4, 5]),
        ("usd <= 0.041251320", [1, 2, 3, 4, 5]),
        ("usd < 0.04125132", []),
        ("usd = 0.041251320 AND neurons = 3750.12", [1, 2, 3, 4, 5]),
        ("label = 'blue'", [2, 4]),
        ("label IS NULL OR label = 'green'", [3, 5]),
        ("list_contains(tags, 'b')", [1, 4]),
        ("len(list_filter(tags, lambda tag: tag = 'b')) = 1", [1, 4]),
        ("[x for x in tags if x = 'c'] = ['c']", [5]),
        ("box.x BETWEEN 1 AND 2", [2, 3]),
        ("prompt ILIKE '%PICTURE 4%'", [4]),
        ("PROMPT = 'picture 4'", [4]),
        ("created_at > '2026-11-22' AND created_at < TIMESTAMPTZ '2026-11-23 00:00:00+01'", [1, 2, 3, 4, 5]),
        ("part LIKE '%00001%' AND place = 1", [5]),
        ("seed IS NULL -- a remark", [1, 2, 3, 4, 5]),
        ("CASE WHEN row % 2 = 0 THEN true END", [2, 4]),
    ],
)
def test_a_condition_chooses(rows: Rows, where: str, found: list[int]) -> None:
    assert values(rows, "row", where=where) == found
    assert rows.count(where) == len(found)


@pytest.mark.parametrize(
    ("order_by", "found"),
    [
        ("row DESC", [5, 4, 3, 2, 1]),
        ("label, row DESC", [4, 2, 5, 1, 3]),
        ("label NULLS FIRST", [3, 2, 4, 5, 1]),
        ("row % 2", [2, 4, 1, 3, 5]),
        ("label DESC", [1, 5, 2, 4, 3]),
    ],
)
def test_an_order_sorts_and_what_is_the_same_stays_in_its_natural_order(
    rows: Rows, order_by: str, found: list[int]
) -> None:
    assert values(rows, "row", order_by=order_by) == found
    assert values(rows, "row", order_by=order_by, limit=2, offset=1) == found[1:3]
    assert values(rows, "row", order_by=order_by, where="row <> 3") == [row for row in found if row != 3]


@pytest.mark.parametrize("order_by", [None, "label, row DESC", "row % 2"])
@pytest.mark.parametrize("where", [None, "row <> 3", "row > 9", "true"])
def test_numbers_lead_to_the_rows_that_are_read(rows: Rows, where: str | None, order_by: str | None) -> None:
    numbers = rows.numbers(where, order_by)
    found = [row for batch in rows.at(numbers.tolist(), ["row", "label", "place"]) for row in batch.to_pylist()]
    assert found == [
        row for batch in rows.read(["row", "label", "place"], where, order_by) for row in batch.to_pylist()
    ]
    assert [row["row"] - 1 for row in found] == numbers.tolist()


def test_a_part_without_a_wanted_row_is_not_opened(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "set", (2, 2, 2))
    part_files(dataset)[1].unlink()
    assert [batch.column("row").to_pylist() for batch in Rows(dataset).at([5, 0, 4], ["row"])] == [[6, 1, 5]]


@pytest.mark.parametrize("where", [None, "row > 0"])
@pytest.mark.parametrize("offset", [0, 1, 3, 4, 9])
@pytest.mark.parametrize("limit", [None, 0, 1, 3])
def test_limit_and_offset_cut_what_they_say(rows: Rows, where: str | None, limit: int | None, offset: int) -> None:
    every = [1, 2, 3, 4, 5]
    cut = every[offset:] if limit is None else every[offset : offset + limit]
    assert values(rows, "row", where=where, limit=limit, offset=offset) == cut


def test_a_part_before_the_offset_is_not_opened(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "set")
    part_files(dataset)[0].unlink()
    assert values(Rows(dataset), "row", offset=3) == [4, 5]
    with pytest.raises(StorageError, match=r"train-00000.*missing"):
        values(Rows(dataset), "row")


def test_no_picture_is_read(tmp_path: Path) -> None:
    """The pictures' pages are overwritten: whoever read one would stumble over its checksum."""
    dataset = dataset_of(tmp_path / "set", (3,))
    [path] = part_files(dataset)
    group = pq.ParquetFile(path).metadata.row_group(0)
    chunk = next(group.column(n) for n in range(group.num_columns) if group.column(n).path_in_schema == "image.bytes")
    content = bytearray(path.read_bytes())
    start = chunk.data_page_offset
    content[start : start + chunk.total_compressed_size] = bytes(chunk.total_compressed_size)
    path.write_bytes(content)
    assert values(Rows(dataset), "row", where="prompt LIKE 'picture%'") == [1, 2, 3]


def test_a_damaged_column_is_the_projects_own_error(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "set", (3,))
    [path] = part_files(dataset)
    group = pq.ParquetFile(path).metadata.row_group(0)
    chunk = next(group.column(n) for n in range(group.num_columns) if group.column(n).path_in_schema == "row")
    flip(path, (chunk.dictionary_page_offset or chunk.data_page_offset) + chunk.total_compressed_size - 1)
    with pytest.raises(Damaged, match="train-00000"):
        values(Rows(dataset), "row")
    assert values(Rows(dataset), "prompt") == ["picture 1", "picture 2", "picture 3"]


def test_a_part_of_another_dataset_is_not_taken_for_one(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "set", (2, 2))
    first, second = part_files(dataset)
    pq.write_table(pq.read_table(first).append_column("more", pa.array([1, 2])), second)
    with pytest.raises(Damaged, match=r"train-00001.*other columns"):
        values(Rows(dataset), "row")
    pq.write_table(pq.read_table(first).slice(0, 1), second)
    with pytest.raises(Damaged, match="has 1 rows, listed are 2"):
        values(Rows(dataset), "row")


def test_an_empty_dataset_has_no_rows(tmp_path: Path) -> None:
    rows = Rows(Dataset.create(tmp_path / "set", NO_COLUMNS, True))
    assert values(rows, "row", where="row > 0", order_by="row") == []
    assert rows.count() == rows.count("true") == 0


def keys_of(dataset: Dataset) -> list[str]:
    return values(Rows(dataset), "key")


def test_a_sidecar_is_joined_by_its_keys_and_missing_ones_are_null(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "set")
    keys = keys_of(dataset)
    scores = pa.table({"score": pa.array([0.5, 0.25, 9.0], pa.float32()), "key": [keys[4], keys[1], "f" * 64]})
    put_sidecar(dataset, "aesthetic", scores)
    rows = Rows(dataset)
    assert rows.late_columns == ("score",)
    assert rows.schema.field("score").type == pa.float32()
    assert values(rows, "row", "score") == [(1, None), (2, 0.25), (3, None), (4, None), (5, 0.5)]
    assert values(rows, "row", where="score < 1") == [2, 5]
    assert values(rows, "score", order_by="score DESC", limit=2) == [0.5, 0.25]
    assert values(rows, "row", where="score IS NULL AND row > 1", order_by="row DESC") == [4, 3]


def test_names_that_are_taken_get_underscores(tmp_path: Path) -> None:
    own = pa.table({"part": ["mine"] * 5, "Score": [7] * 5})
    dataset = dataset_of(tmp_path / "set", own=own)
    put_sidecar(dataset, "a", pa.table({"key": keys_of(dataset)[:1], "score": [1]}))
    put_sidecar(dataset, "b", pa.table({"key": keys_of(dataset)[:1], "score": [2]}))
    rows = Rows(dataset)
    assert values(rows, "Score", "score_", "score__", "part", rows.part_column)[0] == (
        7, 1, 2, "mine", "data/train-00000.parquet",
    )  # fmt: skip


@pytest.mark.parametrize("keys", [["a", "a"], ["a", None]])
def test_a_sidecar_with_a_key_twice_or_none_is_damaged(tmp_path: Path, keys: list[str | None]) -> None:
    dataset = dataset_of(tmp_path / "set", (1,))
    put_sidecar(dataset, "checks", pa.table({"key": pa.array(keys, pa.string()), "score": [1, 2]}))
    with pytest.raises(Damaged, match=r"checks\.parquet"):
        values(Rows(dataset), "score")


def test_a_sidecar_that_is_none_is_damaged(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "set", (1,))
    put_sidecar(dataset, "checks", pa.table({"score": [1]}))
    with pytest.raises(Damaged, match=r"checks\.parquet: has no column key"):
        Rows(dataset)


def test_many_threads_ask_one_object(rows: Rows) -> None:
    def ask(number: int) -> list[int]:
        return values(rows, "row", where=f"row > {number % 5}", order_by="row DESC")

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(40)))
    assert found == [[row for row in (5, 4, 3, 2, 1) if row > number % 5] for number in range(40)]


def test_a_column_that_is_none_is_said_with_those_there_are(rows: Rows) -> None:
    with pytest.raises(UsageError, match=r"no column 'promt' \(did you mean 'prompt'\?\).*columns: prompt, model"):
        rows.read(["promt"])
