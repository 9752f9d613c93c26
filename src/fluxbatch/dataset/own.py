"""The user's own columns: which types a part can keep, and whether a manifest fits a dataset. Pure."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq

from fluxbatch.errors import DatasetError

_INDEX = pa.int32()

FAILURE_COLUMNS = ("failure", "failure_code", "failure_message", "failure_attempts", "failure_unknown_usd")
"""What `failures.parquet` says beside the request. A manifest that has them all is one: they are not carried along."""


def kept_schema(own: pa.Schema) -> pa.Schema:
    """The user's own columns with the types that Parquet gives back, nullable, without metadata.

    Nearly all types come back as they are. Parquet has no seconds (timestamp[s] becomes timestamp[ms]) and no date64
    (date32). A dictionary gets 32-bit indices and no order: pandas chooses the width by the number of categories, so
    one more category would be another type, and the order is lost when the categories of many rows are put together.
    DatasetError names the columns that Parquet cannot hold at all.
    """
    fields, refused = [], []
    resent = set(FAILURE_COLUMNS) <= set(own.names)
    for field in own:
        if resent and field.name in FAILURE_COLUMNS:
            continue
        try:
            fields.append(pa.field(field.name, _kept_type(field.type)))
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
            refused.append(f"{field.name} ({field.type}: {error})")
    if refused:
        raise DatasetError(
            f"Parquet cannot keep these columns of the manifest: {'; '.join(refused)}. "
            "Cast them to another type in the manifest, or drop them."
        )
    return pa.schema(fields)


def _kept_type(kind: pa.DataType) -> pa.DataType:
    """What comes back when an empty column of this type goes through Parquet."""
    if pa.types.is_dictionary(kind):
        kind = pa.dictionary(_INDEX, kind.value_type)
    file = io.BytesIO()
    pq.write_table(pa.schema([pa.field("column", kind)]).empty_table(), file)
    return pq.read_schema(io.BytesIO(file.getvalue())).field(0).type


def check_own_schema(dataset_schema: pa.Schema, manifest_schema: pa.Schema) -> None:
    """May rows with the manifest's own columns go into the dataset? Missing columns may: they become null.

    DatasetError names every column that is new or has another type, with both types, and says what to do.
    """
    wanted = kept_schema(manifest_schema)
    problems = [problem for field in wanted if (problem := _problem(field, dataset_schema)) is not None]
    if problems:
        raise DatasetError(
            f"the manifest's own columns do not fit the dataset: {'; '.join(problems)}. "
            "Give another --out for a dataset of its own, or cast or drop these columns in the manifest."
        )


def _problem(field: pa.Field, dataset_schema: pa.Schema) -> str | None:
    index = dataset_schema.get_field_index(field.name)
    if index < 0:
        return f"column {field.name} ({field.type}) is new, the dataset has no such column"
    kind = dataset_schema.field(index).type
    return None if kind.equals(field.type) else f"column {field.name} is {field.type}, in the dataset it is {kind}"


def fit_row(row: pa.RecordBatch | None, own: pa.Schema) -> list[pa.Array]:
    """One row's own columns (or None, when it has none) in the dataset's order and types; missing ones are null."""
    given = {} if row is None else dict(zip(row.schema.names, row.columns, strict=True))
    return [_fit(given[f.name], f.type) if f.name in given else pa.nulls(1, f.type) for f in own]


def _fit(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """One value as `kind`. A dictionary is cut down to that value: the spool file shall not carry all categories."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not pa.types.is_dictionary(kind):
        return column if column.type.equals(kind) else _cast(column, kind)
    if not column[0].is_valid:
        return pa.nulls(1, kind)
    return pa.DictionaryArray.from_arrays(pa.array([0], _INDEX), _cast(column, kind.value_type))


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """Never refuses: the picture of this row has been paid for. Only garbage (a year 300 million) would overflow."""
    try:
        return column.cast(kind, safe=False)
    except pa.ArrowException:  # pyarrow 26 cannot cast a null struct with a dictionary of numbers in it
        return pa.array(column.to_pylist(), kind)
