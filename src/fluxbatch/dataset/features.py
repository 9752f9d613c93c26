"""A part's columns as the `features` of a dataset card's YAML. Pure.

As `datasets` itself writes them (`Features._to_yaml_list`; a test compares): https://huggingface.co/docs/datasets,
"Dataset features". A type that `datasets` cannot name makes it none at all: readers take the types from Parquet then.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

_NAMES = {"halffloat": "float16", "float": "float32", "double": "float64", "date32[day]": "date32"}
"""Where pyarrow's name of a type is not the one of `datasets`."""
_NO_NAME = (pa.types.is_map, pa.types.is_union, pa.types.is_interval, pa.types.is_run_end_encoded)


class _Unnameable(Exception):
    """A type that `datasets` has no name for."""


def features_of(schema: pa.Schema, pictures: str = "image") -> list[dict[str, Any]] | None:
    """One entry a column; the column `pictures` is an Image. None when a column has a type that cannot be said."""
    try:
        return [_entry(field, pictures) for field in schema]
    except _Unnameable:
        return None


def _entry(field: pa.Field, pictures: str | None = None) -> dict[str, Any]:
    return {"name": field.name, **({"dtype": "image"} if field.name == pictures else _feature(field.type))}


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_dictionary(kind):
        return _feature(kind.value_type)
    if pa.types.is_struct(kind):
        return {"struct": [_entry(kind.field(index)) for index in range(kind.num_fields)]}
    if pa.types.is_fixed_size_list(kind):
        return {"list": _inner(kind.value_type), "length": kind.list_size}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return {"list" if pa.types.is_list(kind) else "large_list": _inner(kind.value_type)}
    if pa.types.is_nested(kind) or any(is_one(kind) for is_one in _NO_NAME):
        raise _Unnameable
    return {"dtype": _NAMES.get(str(kind), str(kind))}


def _inner(kind: pa.DataType) -> Any:
    """What a list is of: a name, or what a struct or a list in it says."""
    feature = _feature(kind)
    return feature.get("dtype") or feature.get("struct") or feature
