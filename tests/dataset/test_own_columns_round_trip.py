"""The user's own columns, of any type and value, through row, spool, part and back."""

from __future__ import annotations

import datetime as dt
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.own import kept_schema
from fluxbatch.dataset.rewritten import check_rewritten
from fluxbatch.dataset.shards import part_settings, seal, sealed_schema
from tests.dataset.dataset_kit import SEALED_AT, WHEN, spool_one

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SECONDS = st.integers(0, 7_000_000_000)
MOMENT = SECONDS.map(lambda seconds: dt.datetime.fromtimestamp(seconds + 0.125, dt.UTC))
NAIVE = MOMENT.map(lambda moment: moment.replace(tzinfo=None))

PLAIN: list[tuple[pa.DataType, st.SearchStrategy[object]]] = [
    (pa.string(), TEXT),
    (pa.large_string(), TEXT),
    (pa.binary(), st.binary(max_size=8)),
    (pa.large_binary(), st.binary(max_size=8)),
    (pa.binary(3), st.binary(min_size=3, max_size=3)),
    (pa.bool_(), st.booleans()),
    (pa.int8(), st.integers(-128, 127)),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.float32(), st.floats(width=32, allow_nan=False)),
    (pa.float64(), st.floats(allow_nan=False)),
    (pa.decimal128(38, 5), st.decimals(-(10**30), 10**30, places=5)),
    (pa.decimal256(60, 2), st.decimals(-(10**20), 10**20, places=2)),
    (pa.date32(), st.dates()),
    (pa.date64(), st.dates()),
    (pa.time64("us"), st.times()),
    (pa.time32("s"), st.times().map(lambda time: time.replace(microsecond=0))),
    (pa.timestamp("s"), NAIVE.map(lambda moment: moment.replace(microsecond=0))),
    (pa.timestamp("us"), NAIVE),
    (pa.timestamp("us", tz="America/New_York"), MOMENT),
    (pa.timestamp("ns", tz="UTC"), MOMENT),
    (pa.duration("ms"), st.timedeltas(dt.timedelta(), dt.timedelta(days=9999)).map(lambda d: dt.timedelta(d.days))),
    (pa.dictionary(pa.int8(), pa.string()), TEXT),
    (pa.dictionary(pa.int16(), pa.int64(), ordered=True), st.integers(0, 9)),
    (pa.null(), st.none()),
]


def nested(inner: tuple[pa.DataType, st.SearchStrategy[object]]) -> st.SearchStrategy[object]:
    kind, value = inner
    value = st.none() | value
    return st.sampled_from(
        [
            inner,
            (pa.list_(kind), st.lists(value, max_size=3)),
            (pa.large_list(kind), st.lists(value, max_size=3)),
            (pa.list_(kind, 2), st.lists(value, min_size=2, max_size=2)),
            (pa.struct([("a", kind), ("b", pa.string())]), st.fixed_dictionaries({"a": value, "b": st.none() | TEXT})),
            (
                pa.map_(pa.string(), kind),
                st.dictionaries(TEXT, value, max_size=3).map(lambda found: list(found.items())),
            ),
        ]
    )


COLUMN = (
    st.sampled_from(PLAIN)
    .flatmap(nested)
    .flatmap(
        lambda found: st.lists(st.none() | found[1], min_size=1, max_size=6).map(lambda values: (found[0], values))
    )
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(COLUMN)
def test_a_column_of_the_users_own_comes_back_with_its_type_and_values(
    column: tuple[pa.DataType, list[object]],
) -> None:
    kind, values = column
    manifest = pa.record_batch({"own": _array(values, kind)})
    wanted = kept_schema(manifest.schema)
    with tempfile.TemporaryDirectory() as folder:
        dataset = Dataset.create(Path(folder), manifest.schema, True, created_at=WHEN, dataset_id="ef" * 16)
        spool = dataset.spool()
        rows = range(len(values))
        entries = [spool_one(dataset, spool, "cat", row + 1, sample=row, own=manifest.slice(row, 1)) for row in rows]
        [part] = seal(dataset, spool, entries, run_id="r", sealed_at=SEALED_AT)
        found = pq.read_table(dataset.path(part))
        check_rewritten(dataset.path(part), part_settings(sealed_schema(dataset)))  # a sound part is never set aside
        reopened = Dataset.open(Path(folder))
    assert spool.quarantined == []
    assert reopened.own_schema.equals(wanted)
    assert found.schema.field("own").type == wanted.field("own").type
    assert found.column("own").to_pylist() == manifest.column("own").to_pylist()


def _array(values: list[object], kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return pa.array(values, kind.value_type).dictionary_encode().cast(kind)
    return pa.array(values, kind)
