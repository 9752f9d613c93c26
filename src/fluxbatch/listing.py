"""The models at the terminal: all of them as a table, one in detail, and what a plan says about prices and options."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fluxbatch.budget.plan import Plan
from fluxbatch.errors import UsageError
from fluxbatch.manifest.fit import OPTIONAL, SIZED, STRENGTH_MAX, fixed
from fluxbatch.manifest.rows import Defaults
from fluxbatch.models.catalogue import MODELS, REFERENCES, Catalogue, Model
from fluxbatch.models.money import exact
from fluxbatch.models.price import Quote, quote
from fluxbatch.models.tariff import price_table
from fluxbatch.tell import neurons, shown, usd

_PROMPT = "a lighthouse at dusk"


def chosen(catalogue: Catalogue, name: str) -> Model:
    """The model of this name, of this id, or the only one with this in its name. UsageError names the candidates."""
    if (found := catalogue.find(name)) is not None:
        return found
    near = catalogue.alike(name)
    if len(near) == 1:
        return near[0]
    what = f"could be {len(near)} models" if near else "is no model"
    names = ", ".join(model.name for model in near or catalogue.models)
    raise UsageError(f"{name!r} {what}; take one of: {names}")


def show_models(console: Console, catalogue: Catalogue, file: Path | None) -> None:
    """Every model in a line: its sizes, steps, references, and what a picture of its own defaults costs."""
    table = Table(box=None, padding=(0, 1, 0, 0))
    for header in ("model", "sides", "default", "steps", "refs", "a picture"):
        table.add_column(header, no_wrap=True)
    for model in catalogue.models:
        price = _default_quote(model).expected
        sides = f"{model.side_min}-{model.side_max}" if model.takes("width") else "always"
        steps = (
            f"{model.steps_min}-{model.steps_max} ({model.steps_default})"
            if model.takes("steps")
            else f"always {model.steps_default}"
        )
        size, cost = f"{model.width_default}x{model.height_default}", usd(price) if price.nano_usd else "free"
        table.add_row(shown(model.name), sides, size, steps, str(model.references_max or ""), cost)
    console.print(table)
    console.print("\nA picture: of the default size and steps, without references.", highlight=False)
    console.print(
        f"Prices: {_prices_read(catalogue.models, file)}. One in detail: fluxbatch models NAME", highlight=False
    )


def show_model(console: Console, model: Model, file: Path | None) -> None:
    """One model in detail, with an example of a manifest that asks for it."""
    for name, value in _facts(model, file):
        console.print(f"{name:>14}  {shown(value, 400)}", highlight=False, soft_wrap=True)
    console.print()
    table = Table("column", "sent as", "takes", "default", box=None, padding=(0, 2, 0, 0))
    for row in _parameters(model):
        table.add_row(*map(shown, row))
    console.print(table)
    console.print("\nA manifest that asks for it:\n", highlight=False)
    for line in example(model):
        console.print(f"  {shown(line)}", highlight=False, soft_wrap=True)


def example(model: Model) -> list[str]:
    """A manifest of one row in CSV, with a value for each parameter that the model takes."""
    values: dict[str, object] = {"prompt": _PROMPT, "model": model.name}
    values |= {name: fixed(model, name) for name in SIZED if model.takes(name)}
    own = {"guidance": model.guidance_default or 3.5, "seed": 7, "negative_prompt": "people"}
    values |= {name: value for name, value in own.items() if model.takes(name)}
    return [",".join(values), ",".join(map(str, values.values()))]


def models_json(models: Sequence[Model]) -> str:
    """All that is known about the models, one JSON object each."""
    return json.dumps({"models": [_as_json(model) for model in models]})


def _as_json(model: Model) -> dict[str, Any]:
    values = {field.name: getattr(model, field.name) for field in fields(model)}
    price = _default_quote(model)
    return values | {
        "sends": dict(model.sends),
        "price": price_table(model.price),
        "prices_read": model.prices_read.isoformat(),
        "default_expected_usd": exact(price.expected.usd),
        "default_expected_neurons": exact(price.expected.neurons),
        "default_bound_usd": exact(price.bound.usd),
    }


def plan_notes(plan: Plan, defaults: Defaults, file: Path | None) -> list[tuple[str, str]]:
    """What a plan says beside the sums: which options are not sent to which models, and whose prices these are."""
    pictures = plan.pictures_by_model()
    notes = [("not sent", text) for text in defaults.not_sent(pictures)]
    return [*notes, ("prices", _prices_read(tuple(pictures) or defaults.catalogue.models, file))]


def _prices_read(models: Sequence[Model], file: Path | None) -> str:
    """Where the prices come from, and of which day they are."""
    own = [model for model in models if model not in MODELS]
    days = sorted({model.prices_read.isoformat() for model in models if model in MODELS})
    texts = [f"Cloudflare's list as read on {', '.join(days)}"] if days else []
    if own:
        names = ", ".join(f"{shown(model.name)} (read on {model.prices_read})" for model in own)
        texts.insert(0, f"{names} from {shown(file)}")
    return "; ".join(texts)


def _facts(model: Model, file: Path | None) -> Iterator[tuple[str, str]]:
    yield "model", model.name
    yield "id", model.id
    yield "sent as", "multipart/form-data" if model.body == "multipart" else "JSON"
    told = "with its charge" if model.tells_neurons else "without its charge: the bound is booked"
    yield "answer", f"{'base64 in JSON' if model.answer == 'base64' else 'the bytes of the picture'}, {told}"
    yield "rate", f"{model.requests_per_minute} requests a minute, over all models of the account"
    table = price_table(model.price)
    for unit in ("neurons", "usd"):
        parts = [f"{name.removesuffix(f'_{unit}')} {value}" for name, value in table.items() if name.endswith(unit)]
        if parts:
            yield f"price, {'$' if unit == 'usd' else unit}", ", ".join(parts)
    yield "counted", model.price.formula
    price = _default_quote(model)
    yield "a picture", f"{usd(price.expected)} ({neurons(price.expected)}), at most {usd(price.bound)}: its defaults"
    yield "prices", _prices_read([model], file)


def _parameters(model: Model) -> Iterator[tuple[str, str, str, str]]:
    yield "prompt", model.wire_name("prompt") or "", f"1 to {model.prompt_characters_max:,} characters", "required"
    for name in SIZED:
        only = fixed(model, name)
        sides = f"{model.side_min} to {model.side_max}" + _multiple(model)
        wide = sides if name != "steps" else f"{model.steps_min} to {model.steps_max}"
        wire = model.wire_name(name)
        yield name, wire or "not sent", wide if wire else f"always {only}", str(only)
    for name in OPTIONAL:
        if (wire := model.wire_name(name)) is not None:
            yield name, wire, _range(model, name), _silent(model, name)
    for name in REFERENCES[: model.references_max]:
        yield name, model.wire_name(name) or "", f"a picture, fitted to {model.reference_side_max} a side", "none"


def _range(model: Model, name: str) -> str:
    if name == "guidance":
        return _guidance(model)
    return {"strength": f"0 to {STRENGTH_MAX:g}, with a reference", "seed": "0 to 2^63 - 1"}.get(name, "a text")


def _silent(model: Model, name: str) -> str:
    if name == "guidance" and model.guidance_default is not None:
        return f"not sent ({model.guidance_default:g})"
    return "not sent"


def _default_quote(model: Model) -> Quote:
    return quote(model, model.width_default, model.height_default, model.steps_default, 0)


def _multiple(model: Model) -> str:
    return f" by {model.side_multiple}" if model.side_multiple > 1 else ""


def _guidance(model: Model) -> str:
    low, high = model.guidance_min, model.guidance_max
    return "any number" if low is None or high is None else f"{low:g} to {high:g}"
