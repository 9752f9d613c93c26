"""A user's own `models.toml`: prices that have changed, and models that are not in the table.

    [flux-2-dev]                          # a known model: what stands here is taken, the rest stays
    prices_read = 2026-12-01              # the day you read the price; it goes with every price
    price = { kind = "tile-step", output_tile_neurons = 37.5, input_tile_neurons = 18.75 }

    ["our-model-1.0"]                     # a model of your own (a name with a dot is quoted)
    like = "lucid-origin"                 # whatever does not stand here is as in that one
    id = "@cf/us/our-model-1.0"
    prices_read = 2026-12-01
    price = { kind = "tile-and-step", tile_neurons = 636, step_neurons = 12, tile_usd = 0.006996 }

The keys are the fields of `catalogue.Model`. A dollar price that is left out is the neurons' (at $0.011 per 1,000).
Every complaint comes at once, with file, table and key. The result is a new `Catalogue`; nothing global changes.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from fluxbatch.errors import ManifestError, UsageError
from fluxbatch.models import checks
from fluxbatch.models.catalogue import CATALOGUE, Catalogue, Model
from fluxbatch.models.checks import Wrong
from fluxbatch.models.tariff import KINDS, Price, kind_of, split_unit

BYTES_MAX = 1_000_000
MODELS_MAX = 1_000
_ID = re.compile(r"@[a-z]+(/[A-Za-z0-9][A-Za-z0-9._-]*){2}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_REQUIRED = [field.name for field in fields(Model) if field.default is MISSING and field.name != "name"]


class Complaint(NamedTuple):
    """What is wrong in `models.toml`, where, and what to do."""

    file: str
    table: str
    key: str | None
    problem: str
    remedy: str

    def __str__(self) -> str:
        key = "" if self.key is None else f" {self.key}"
        return f"{self.file}, [{self.table}]{key}: {self.problem}; {self.remedy}"


def read_catalogue(path: Path | None) -> Catalogue:
    """Cloudflare's models with what the file says otherwise; as they are when there is no file.

    UsageError when it cannot be read, ManifestError with every complaint when it makes no sense.
    """
    if path is None:
        return CATALOGUE
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"--models {path}: cannot be read ({error.strerror or error}); give a TOML file") from None
    if len(content) > BYTES_MAX:
        raise UsageError(f"--models {path}: has {len(content)} bytes, over {BYTES_MAX}; this is no table of models")
    try:
        tables = tomllib.loads(content.decode(), parse_float=Decimal)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"--models {path}: is no TOML ({error}); see `fluxbatch models --help`") from None
    return changed(CATALOGUE, tables, str(path))


def changed(known: Catalogue, tables: Mapping[str, Any], file: str) -> Catalogue:
    """The catalogue with the tables' rows in place of its own, and new ones behind. Pure."""
    complaints: list[Complaint] = []
    models = {model.name: model for model in known.models}
    if len(tables) > MODELS_MAX:
        raise UsageError(f"--models {file}: has {len(tables)} tables, over {MODELS_MAX}; leave out what is not used")
    for name, table in tables.items():
        model, wrongs = _row(known, name, table)
        complaints += [Complaint(file, name, *wrong) for wrong in wrongs]
        if model is not None:
            models[name] = model
    for wrong_name, wrong in _doubled(models.values()):
        complaints.append(Complaint(file, wrong_name, *wrong))
    if complaints:
        noun = "complaint" if len(complaints) == 1 else "complaints"
        raise ManifestError(f"{len(complaints)} {noun} about {file}; mend them", complaints)
    return Catalogue(tuple(models.values()))


def _row(known: Catalogue, name: str, table: object) -> tuple[Model | None, list[Wrong]]:
    """One table as a model, or what is wrong with it."""
    if not isinstance(table, dict):
        return None, [Wrong(None, "is a value, no table", f"write it as a table: [{name}]")]
    if not _NAME.fullmatch(name):
        return None, [Wrong(None, "is no name", "take letters, digits, dots, dashes and underscores")]
    before = next((model for model in known.models if model.name == name), None)
    start, wrongs = _start(known, before, table)
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key == "like":
            continue
        try:
            values[key] = _value(key, value, name, known, start)
        except checks.Unfit as error:
            wrongs += error.wrongs
    wrongs += _missing(before, start, table)
    if wrongs:
        return None, wrongs
    model = Model(name=name, **values) if start is None else replace(start, name=name, **values)
    wrongs = list(checks.contradictions(model))
    return (None, wrongs) if wrongs else (model, [])


def _start(known: Catalogue, before: Model | None, table: Mapping[str, Any]) -> tuple[Model | None, list[Wrong]]:
    """The model that whatever is not said is taken from."""
    like = table.get("like")
    if like is None:
        return before, []
    if before is not None:
        return before, [Wrong("like", f"{before.name} is known already", "remove this key: the rest stays as it is")]
    found = known.find(like) if isinstance(like, str) else None
    if found is None:
        names = ", ".join(model.name for model in known.models)
        return None, [Wrong("like", f"{like!r} is no known model", f"take one of: {names}")]
    return found, []


def _missing(before: Model | None, start: Model | None, table: Mapping[str, Any]) -> Iterator[Wrong]:
    if before is None:
        own = ("id", "price") if start is not None else _REQUIRED
        absent = [key for key in own if key not in table]
        if absent:
            remedy = "add them" if start is not None else 'add them, or say which known model it is like: like = "…"'
            yield Wrong(None, f"a new model has to say {', '.join(absent)}", remedy)
    if "price" in table and "prices_read" not in table:
        yield Wrong("prices_read", "a price goes with the day it was read", "add it, like prices_read = 2026-12-01")


def _value(key: str, value: object, name: str, known: Catalogue, start: Model | None) -> Any:
    if key == "price":
        return _price(value, start)
    if key == "id":
        if not isinstance(value, str) or not _ID.fullmatch(value):
            raise checks.unfit("id", f"{value!r} is no model id", "write it like @cf/black-forest-labs/flux-2-dev")
        return value
    check = checks.OF_FIELD.get(key)
    if check is None:
        if any(model.name == f"{name}.{key}" for model in known.models):
            raise checks.unfit(key, "is no key of a model", f'a name with a dot is quoted: ["{name}.{key}"]')
        raise checks.unfit(key, "is no key of a model", f"take one of: like, id, price, {', '.join(checks.OF_FIELD)}")
    return check(key, value)


def _price(value: object, start: Model | None) -> Price:
    """A price from its table: kind, neurons, and dollars where they are not the neurons'."""
    if not isinstance(value, dict):
        raise checks.unfit("price", f"{value!r} is no table", 'write it like { kind = "tile", … }')
    kind = value.get("kind", None if start is None else kind_of(start.price))
    if not isinstance(kind, str) or kind not in KINDS:
        raise checks.unfit("price.kind", f"{kind!r} is no kind of price", f"take one of: {', '.join(KINDS)}")
    amounts: dict[str, int] = {}
    wrongs: list[Wrong] = []
    names = {field.name: "_".join(split_unit(field.name)) for field in fields(KINDS[kind])}
    for key in value:
        if key != "kind" and key not in names.values():
            takes = ", ".join(names.values()) or "nothing more"
            wrongs.append(Wrong(f"price.{key}", f"is no part of a {kind} price", f"it takes {takes}"))
    for field_name, key in names.items():
        try:
            amounts[field_name] = checks.amount(key, value, amounts)
        except checks.Unfit as error:
            wrongs += error.wrongs
    if wrongs:
        raise checks.Unfit(wrongs)
    return KINDS[kind](**amounts)


def _doubled(models: Any) -> Iterator[tuple[str, Wrong]]:
    """Names and ids are told apart: a row finds one model by either."""
    seen: dict[str, str] = {}
    for model in models:
        for text in (model.name, model.id):
            other = seen.setdefault(text, model.name)
            if other != model.name:
                yield model.name, Wrong("id", f"{text} is {other} already", "give each model its own")
