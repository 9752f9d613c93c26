from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxbatch.dataset.own import FAILURE_COLUMNS, check_own_schema, fit_row, kept_schema
from fluxbatch.errors import DatasetError

SAME = (
    *(pa.bool_(), pa.int8(), pa.uint64(), pa.float32(), pa.float64(), pa.string(), pa.large_string(), pa.binary()),
    *(pa.large_binary(), pa.binary(4), pa.null(), pa.date32(), pa.time64("us"), pa.decimal128(38, 5)),
    *(pa.timestamp("ms"), pa.timestamp("ns"), pa.timestamp("us", tz="Europe/Amsterdam"), pa.duration("s")),
    *(pa.list_(pa.int16()), pa.large_list(pa.string()), pa.list_(pa.float32(), 3), pa.map_(pa.string(), pa.int8())),
    pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    pa.list_(pa.struct([("label", pa.string()), ("box", pa.list_(pa.float64()))])),
    pa.dictionary(pa.int32(), pa.string()),
)


def schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema(list(columns.items()))


@pytest.mark.parametrize("kind", SAME, ids=str)
def test_a_type_that_parquet_has_is_kept_exactly(kind: pa.DataType) -> None:
    assert kept_schema(schema(own=kind)) == schema(own=kind)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (pa.timestamp("s"), pa.timestamp("ms")),
        (pa.time32("s"), pa.time32("ms")),
        (pa.date64(), pa.date32()),
        (pa.dictionary(pa.int8(), pa.string(), ordered=True), pa.dictionary(pa.int32(), pa.string())),
        (pa.dictionary(pa.int8(), pa.int64()), pa.int64()),
    ],
    ids=str,
)
def test_a_type_that_parquet_lacks_becomes_the_one_it_gives_back(given: pa.DataType, kept: pa.DataType) -> None:
    assert kept_schema(schema(own=given)) == schema(own=kept)
    assert kept_schema(schema(own=kept)) == schema(own=kept)


def test_what_is_kept_may_be_null_and_has_no_foreign_metadata() -> None:
    field = pa.field("own", pa.string(), nullable=False, metadata={"PARQUET:field_id": "7"})
    kept = kept_schema(pa.schema([field], metadata={"pandas": "{}"}))
    assert kept.equals(schema(own=pa.string()), check_metadata=True)
    assert kept.field("own").nullable


def test_all_columns_that_parquet_cannot_hold_are_named_at_once() -> None:
    union = pa.dense_union([pa.field("a", pa.int8())])
    with pytest.raises(DatasetError) as caught:
        kept_schema(schema(one=union, fine=pa.string(), two=pa.month_day_nano_interval()))
    assert "one (dense_union" in str(caught.value)
    assert "two (month_day_nano_interval" in str(caught.value)
    assert "fine" not in str(caught.value)


def test_failures_that_are_sent_again_do_not_bring_their_endings_along() -> None:
    failures = pa.schema([("mine", pa.string()), *((name, pa.string()) for name in FAILURE_COLUMNS)])
    assert kept_schema(failures).names == ["mine"]
    assert kept_schema(schema(failure=pa.string())).names == ["failure"]  # a column of the user's own of that name


def test_the_same_fewer_and_reordered_columns_fit() -> None:
    own = kept_schema(schema(a=pa.string(), b=pa.timestamp("s"), c=pa.dictionary(pa.int8(), pa.string())))
    check_own_schema(own, schema(a=pa.string(), b=pa.timestamp("s"), c=pa.dictionary(pa.int16(), pa.string())))
    check_own_schema(own, schema(b=pa.timestamp("s"), a=pa.string()))
    check_own_schema(own, schema())


def test_new_and_differently_typed_columns_are_named_with_both_types() -> None:
    with pytest.raises(DatasetError) as caught:
        check_own_schema(schema(a=pa.string(), b=pa.int64()), schema(a=pa.float64(), b=pa.int64(), n=pa.bool_()))
    text = str(caught.value)
    assert "column a is double, in the dataset it is string" in text
    assert "column n (bool) is new" in text
    assert "column b" not in text
    assert "--out" in text


def test_a_row_is_put_into_the_datasets_order_with_nulls_for_what_is_missing() -> None:
    own = schema(a=pa.string(), b=pa.int64(), c=pa.list_(pa.int8()))
    row = pa.record_batch({"c": pa.array([[1]], pa.list_(pa.int8())), "a": ["x"]})
    assert [array.to_pylist() for array in fit_row(row, own)] == [["x"], [None], [[1]]]
    assert [array.to_pylist() for array in fit_row(None, own)] == [[None], [None], [None]]
    assert [array.type for array in fit_row(None, own)] == own.types


def test_a_category_comes_without_the_others() -> None:
    kind = pa.dictionary(pa.int32(), pa.string())
    many = pa.array([f"category {number}" for number in range(5000)]).dictionary_encode()
    [fitted] = fit_row(pa.record_batch({"a": many}).slice(17, 1), schema(a=kind))
    assert fitted.type == kind
    assert fitted.to_pylist() == ["category 17"]
    assert len(fitted.dictionary) == 1


def test_categories_of_any_width_and_null_ones_fit() -> None:
    own = schema(a=pa.dictionary(pa.int32(), pa.string()))
    for index in (pa.int8(), pa.uint16(), pa.int64()):
        for value in ("x", None):
            column = pa.array([value], pa.string()).dictionary_encode().cast(pa.dictionary(index, pa.large_string()))
            assert fit_row(pa.record_batch({"a": column}), own)[0].to_pylist() == [value]


def test_a_null_struct_of_categories_fits() -> None:
    given = pa.struct([("a", pa.dictionary(pa.int16(), pa.int64()))])
    row = pa.record_batch({"s": pa.nulls(1, given)})
    [fitted] = fit_row(row, kept_schema(row.schema))
    assert fitted.to_pylist() == [None]
    assert fitted.type == pa.struct([("a", pa.int64())])


def test_a_moment_that_no_calendar_has_does_not_cost_the_picture() -> None:
    row = pa.record_batch({"when": pa.array([2**62], pa.timestamp("s"))})
    [fitted] = fit_row(row, kept_schema(row.schema))
    assert (len(fitted), fitted.type) == (1, pa.timestamp("ms"))


def test_kept_types_are_what_parquet_gives_back() -> None:
    own = kept_schema(pa.schema([(f"c{number}", kind) for number, kind in enumerate(SAME)]))
    file = io.BytesIO()
    pq.write_table(own.empty_table(), file)
    assert pq.read_schema(io.BytesIO(file.getvalue())).equals(own)
