"""The catalogue's lines as values: the dataset's header, and one part. Pure; the file is catalogue.py's.

Each line ends in a check of itself, so that no flipped bit is read as a fact. Lines of older catalogues have none.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Any

import pyarrow as pa

from fluxbatch.dataset.record import VERSION

VERSIONS = range(1, VERSION + 1)
CHECK_DIGITS = 16
RUN_SECOND = len("20261122T120000Z")
"""A run's id begins with the second in which it began; what follows tells runs apart and has no order."""


@dataclass(frozen=True, slots=True)
class PriceList:
    """The prices that runs were planned and reserved by, from `run` on, until the next entry has another.

    `models` has, by the model's id, its price as `Catalogue.price_list` writes it, and the day it was read.
    """

    run: str
    since: str
    models: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Header:
    """What a dataset is: its id (32 hex digits), when it was made (UTC), and the user's own columns in it.

    `version` is that of the columns (`record.VERSION`); `prices` only grows.
    """

    id: str
    created_at: datetime
    simulated: bool
    own_schema: pa.Schema
    version: int = VERSION
    prices: tuple[PriceList, ...] = ()

    def with_prices(self, prices: PriceList) -> Header:
        """The header with this list, unless it is the last one's already. Older entries stay as they are."""
        if self.prices and self.prices[-1].models == prices.models:
            return self
        return replace(self, prices=(*self.prices, prices))

    def prices_of(self, run: str) -> PriceList | None:
        """The price list of a run; None for one of before lists were kept."""
        own = next((prices for prices in self.prices if prices.run == run), None)
        earlier = (prices for prices in reversed(self.prices) if prices.run[:RUN_SECOND] <= run[:RUN_SECOND])
        return own or next(earlier, None)


@dataclass(frozen=True, slots=True)
class Part:
    """One sealed Parquet file: where (relative to the dataset), what is in it, and what its pictures cost."""

    file: str
    rows: int
    size_bytes: int
    sha256: str
    nano_usd: int
    centineurons: int
    sealed_at: str
    run_id: str


def catalogue_text(header: Header, parts: Iterable[Part], checked: bool = True) -> str:
    """The whole catalogue; `checked=False` is how it was written before lines had checks."""
    lines = (header_line(header), *map(part_line, parts))
    return "".join(f"{line if checked else _unchecked(line)}\n" for line in lines)


def header_line(header: Header) -> str:
    values: dict[str, Any] = {
        "fluxbatch": "dataset",
        "version": header.version,
        "id": header.id,
        "created_at": header.created_at.isoformat(),
        "simulated": header.simulated,
        "own_columns": [{"name": field.name, "type": str(field.type)} for field in header.own_schema],
        "own_schema": base64.b64encode(header.own_schema.serialize().to_pybytes()).decode(),
    }
    if header.prices:
        values["prices"] = [asdict(prices) for prices in header.prices]
    return _checked(values)


def part_line(part: Part) -> str:
    return _checked({"part": asdict(part)})


def parse_header(line: str) -> Header:
    """ValueError says why a line is no header."""
    found = _object(line)
    if found.get("fluxbatch") != "dataset":
        raise ValueError("is not the header of a fluxbatch dataset")
    if found.get("version") not in VERSIONS:
        raise ValueError(f"has the format version {found.get('version')}; this fluxbatch reads versions 1 to {VERSION}")
    try:
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(found["own_schema"], validate=True)))
        created_at = datetime.fromisoformat(found["created_at"])
        prices = tuple(PriceList(**entry) for entry in found.get("prices", ()))
        return Header(str(found["id"]), created_at, bool(found["simulated"]), schema, found["version"], prices)
    except (KeyError, TypeError, OSError, pa.ArrowException) as error:
        raise ValueError(f"cannot be read: {type(error).__name__} {error}") from error


def parse_part(line: str) -> Part:
    """ValueError says why a line is no part."""
    values = _object(line).get("part")
    names = {field.name: int if field.type == "int" else str for field in fields(Part)}
    if not isinstance(values, dict) or {name: type(value) for name, value in values.items()} != names:
        raise ValueError(f"is not a part with the fields {', '.join(names)}")
    return Part(**values)


def _object(line: str) -> dict[str, Any]:
    found = json.loads(line)
    if not isinstance(found, dict):
        raise ValueError("is not a JSON object")  # noqa: TRY004 - the text of a file is wrong, not a type of ours
    if "check" in found and line != _checked({name: value for name, value in found.items() if name != "check"}):
        raise ValueError("was changed since it was written: its check does not fit")
    return found


def _checked(values: dict[str, Any]) -> str:
    text = json.dumps(values)
    return json.dumps(values | {"check": hashlib.sha256(text.encode()).hexdigest()[:CHECK_DIGITS]})


def _unchecked(line: str) -> str:
    return json.dumps({name: value for name, value in json.loads(line).items() if name != "check"})
