"""The row of a picture: its columns as data, one delivery as one row, and what a look at the picture adds. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Generic, TypeVar

import pyarrow as pa

from fluxbatch.dataset.image import Measured, Picture, suffix_of
from fluxbatch.dataset.own import fit_row
from fluxbatch.manifest.request import ImageRequest
from fluxbatch.models.money import Money

IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
NEURONS = pa.decimal128(18, 2)
USD = pa.decimal128(18, 9)

# Only the picture needs to be told; `datasets` reads the features of all other columns from their Arrow types.
HUGGING_FACE = json.dumps({"info": {"features": {"image": {"_type": "Image"}}}}).encode()


@dataclass(frozen=True, slots=True)
class Delivery:
    """A picture that came back, with all that its row needs. `created_at` is in UTC, `latency_s` in seconds.

    `attempt` is the number of the ledger's attempt that paid for it: so many sends it took in all.
    """

    request: ImageRequest
    content: bytes = field(repr=False)
    actual: Money
    attempt: int
    latency_s: float
    request_id: str | None
    created_at: datetime
    run_id: str


S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Column(Generic[S]):
    """A column that the dataset writes: its name, its type and where its value comes from."""

    name: str
    type: pa.DataType
    value: Callable[[S], Any]


def _image(delivery: Delivery) -> dict[str, object]:
    suffix = suffix_of(delivery.content)
    return {"bytes": delivery.content, "path": f"{delivery.request.key}{suffix}"}


def _measured(name: str) -> Callable[[Picture], Any]:
    assert name in Measured.__slots__
    return lambda picture: getattr(picture.measured, name, None)


ASKED: tuple[Column[Delivery], ...] = (
    Column("image", IMAGE, _image),
    Column("prompt", pa.string(), lambda d: d.request.prompt),
    Column("model", pa.string(), lambda d: d.request.model.id),
    Column("width", pa.int32(), lambda d: d.request.width),
    Column("height", pa.int32(), lambda d: d.request.height),
    Column("steps", pa.int32(), lambda d: d.request.steps),
    Column("guidance", pa.float64(), lambda d: d.request.guidance),
    Column("seed", pa.int64(), lambda d: d.request.seed),
    Column("sample", pa.int32(), lambda d: d.request.sample),
    Column("references", pa.list_(pa.string()), lambda d: [r.sha256 for r in d.request.references]),
    Column("negative_prompt", pa.string(), lambda d: d.request.negative_prompt),
    Column("strength", pa.float64(), lambda d: d.request.strength),
    Column("id", pa.string(), lambda d: d.request.id),
    Column("row", pa.int64(), lambda d: d.request.row),
    Column("key", pa.string(), lambda d: d.request.key),
)
LOOKED: tuple[Column[Picture], ...] = (
    Column("image_width", pa.int32(), lambda p: p.width),
    Column("image_height", pa.int32(), lambda p: p.height),
    Column("format", pa.string(), lambda p: p.format),
    Column("size_bytes", pa.int64(), lambda p: p.size_bytes),
    Column("sha256", pa.string(), lambda p: p.sha256),
    Column("phash", pa.string(), _measured("phash")),
    Column("sharpness", pa.float64(), _measured("sharpness")),
    Column("luminance_mean", pa.float64(), _measured("luminance_mean")),
    Column("luminance_spread", pa.float64(), _measured("luminance_spread")),
    Column("dominant_color", pa.string(), _measured("dominant_color")),
    Column("check", pa.string(), lambda p: p.check),
)
MADE: tuple[Column[Delivery], ...] = (
    Column("neurons_expected", NEURONS, lambda d: d.request.quote.expected.neurons),
    Column("neurons", NEURONS, lambda d: d.actual.neurons),
    Column("usd", USD, lambda d: d.actual.usd),
    Column("attempts", pa.int32(), lambda d: d.attempt),  # with the key, the name of the ledger's entry
    Column("latency_s", pa.float64(), lambda d: d.latency_s),
    Column("request_id", pa.string(), lambda d: d.request_id),
    Column("created_at", pa.timestamp("us", tz="UTC"), lambda d: d.created_at),
    Column("run_id", pa.string(), lambda d: d.run_id),
)

VERSION = 3
"""Of the columns. A dataset keeps those that it was made with, so that its parts are read together."""
LATER: Mapping[int, frozenset[str]] = {
    2: frozenset({"negative_prompt", "strength"}),
    3: frozenset({"sharpness", "luminance_mean", "luminance_spread", "dominant_color"}),
}
"""The columns that a version has brought: datasets of earlier ones have none of them."""

RESERVED = frozenset(c.name for c in ASKED) | frozenset(c.name for c in LOOKED) | frozenset(c.name for c in MADE)
"""All column names that a part has besides the user's own."""


def missing(version: int) -> frozenset[str]:
    """The columns that datasets of this version do not have yet."""
    return frozenset[str]().union(*(names for since, names in LATER.items() if since > version))


@lru_cache(maxsize=8)
def asked_columns(version: int) -> tuple[Column[Delivery], ...]:
    """What was asked, in the columns of a dataset of this version."""
    return _without(ASKED, version)


@lru_cache(maxsize=8)
def looked_columns(version: int) -> tuple[Column[Picture], ...]:
    """What a look at the picture says, in the columns of a dataset of this version."""
    return _without(LOOKED, version)


def _without(columns: tuple[Column[S], ...], version: int) -> tuple[Column[S], ...]:
    return tuple(column for column in columns if column.name not in missing(version))


def unaskable(version: int) -> frozenset[str]:
    """What a row may ask for today, and a dataset of this version has no column for."""
    return missing(version) & {column.name for column in ASKED}


def reserved(version: int) -> frozenset[str]:
    """All column names that a part of such a dataset has besides the user's own."""
    return RESERVED - missing(version)


@lru_cache(maxsize=8)
def part_schema(own: pa.Schema, version: int = VERSION) -> pa.Schema:
    """The columns of a part: what was asked, the user's own (`own.kept_schema`), what was made."""
    fields = [*_fields(asked_columns(version)), *own, *_fields(looked_columns(version)), *_fields(MADE)]
    return pa.schema(fields, metadata={b"huggingface": HUGGING_FACE})


def columns_of(part: pa.Schema) -> tuple[pa.Schema, int]:
    """The user's own columns of a part's schema, which stand between ours, and the version of ours."""
    names = part.names
    first, last = names.index(ASKED[-1].name) + 1, names.index(LOOKED[0].name)
    ours = {*names[:first], *names[last:]}
    version = max((since for since, columns in LATER.items() if columns & ours), default=1)
    return pa.schema([part.field(index) for index in range(first, last)]), version


def _fields(columns: tuple[Column[Any], ...]) -> list[pa.Field]:
    return [pa.field(column.name, column.type) for column in columns]


def picture_row(delivery: Delivery, own: pa.Schema, version: int = VERSION) -> pa.RecordBatch:
    """One delivery as a batch of one row with the schema `part_schema(own, version)`; both are the dataset's.

    What a look at the picture says is null: `looked_at` fills it in.
    """
    own_row = None if delivery.request.own is None else delivery.request.own.row()
    arrays = [
        *_values(_ASKED[version], asked_columns(version), delivery),
        *fit_row(own_row, own),
        *(pa.nulls(1, column.type) for column in looked_columns(version)),
        *_values(_MADE, MADE, delivery),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=part_schema(own, version))


def looked_at(row: pa.RecordBatch, picture: Picture) -> pa.RecordBatch:
    """The row, with what a look at its picture said."""
    names = row.schema.names
    first, last = names.index(LOOKED[0].name), names.index(MADE[0].name)  # the user's own may have a later one's name
    seen = dict(zip((column.name for column in LOOKED), _values(_LOOKED, LOOKED, picture), strict=True))
    arrays = [*row.columns[:first], *(seen[name] for name in names[first:last]), *row.columns[last:]]
    return pa.RecordBatch.from_arrays(arrays, schema=row.schema)


_ASKED = {version: pa.struct(_fields(asked_columns(version))) for version in (1, *LATER)}
_LOOKED, _MADE = (pa.struct(_fields(columns)) for columns in (LOOKED, MADE))


def _values(row: pa.StructType, columns: tuple[Column[S], ...], source: S) -> list[pa.Array]:
    """One value a column. As one struct, which takes pyarrow a third of the time of an array each."""
    values = {column.name: column.value(source) for column in columns}
    return list(pa.array([values], row).flatten())


def integers(column: pa.Array) -> list[int]:
    """A column of exact decimals (without nulls) as integers of their last decimal: usd -> nano-dollars."""
    plain = pa.decimal128(column.type.precision, 0)
    unscaled = pa.Array.from_buffers(plain, len(column), column.buffers(), offset=column.offset)
    numbers: list[int] = unscaled.cast(pa.int64()).to_pylist()
    return numbers
