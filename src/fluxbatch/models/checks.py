"""Whether what a `models.toml` says of a model makes sense: each field by itself, then all of them together. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple

from fluxbatch.models.catalogue import PROMPT_CHARACTERS_MAX, REFERENCES, Answer, Body, Model
from fluxbatch.models.money import NANO_USD_PER_CENTINEURON

SIDE_MAX = 16_384
STEPS_MAX = 1_000
NEURONS_MAX = 1_000_000
"""Of one tile, step or megapixel. With the largest size and steps, a picture's price stays far below 2**63."""
PARAMETERS = ("prompt", "negative_prompt", "width", "height", "steps", "guidance", "seed", "strength", *REFERENCES)
_WIRE = re.compile(r"[A-Za-z0-9_]{1,64}")


class Wrong(NamedTuple):
    """What is wrong with one key (None: the whole table), and what to do."""

    key: str | None
    problem: str
    remedy: str


class Unfit(ValueError):
    """Values that make no sense."""

    def __init__(self, wrongs: list[Wrong]) -> None:
        super().__init__("; ".join(f"{wrong.key}: {wrong.problem}" for wrong in wrongs))
        self.wrongs = wrongs


def unfit(key: str, problem: str, remedy: str) -> Unfit:
    return Unfit([Wrong(key, problem, remedy)])


def _whole(key: str, value: object, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise unfit(key, f"{value} is no whole number from {low} to {high}", "correct it")
    return value


def _number(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not Decimal(value).is_finite():
        raise unfit(key, f"{value!r} is no number", "write it like 4.5")
    return float(value)


def _truth(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise unfit(key, f"{value!r} is neither true nor false", "write true or false")
    return value


def _day(key: str, value: object) -> date:
    if not isinstance(value, date) or isinstance(value, datetime):
        raise unfit(key, f"{value!r} is no date", "write it without quotes, like 2026-12-01")
    return value


def _one_of(key: str, value: object, kinds: type[StrEnum]) -> StrEnum:
    if not isinstance(value, str) or value not in list(kinds):
        raise unfit(key, f"{value!r} is not known", f"take one of: {', '.join(kinds)}")
    return kinds(value)


def _sends(key: str, value: object) -> tuple[tuple[str, str], ...]:
    """A table of our names and theirs, like { prompt = "prompt", steps = "num_steps" }."""
    if not isinstance(value, dict):
        raise unfit(key, f"{value!r} is no table", 'write it like { prompt = "prompt", steps = "num_steps" }')
    wrongs = []
    for ours, theirs in value.items():
        if ours not in PARAMETERS:
            wrongs.append(Wrong(f"{key}.{ours}", "is no parameter", f"take one of: {', '.join(PARAMETERS)}"))
        elif not isinstance(theirs, str) or not _WIRE.fullmatch(theirs):
            wrongs.append(Wrong(f"{key}.{ours}", f"{theirs!r} is no name of a field", "write it like num_steps"))
    if not wrongs and len(set(value.values())) < len(value):
        wrongs.append(Wrong(key, "two parameters have the same name on the wire", "give each its own"))
    if wrongs:
        raise Unfit(wrongs)
    return tuple(sorted(value.items(), key=lambda pair: PARAMETERS.index(pair[0])))


OF_FIELD: Mapping[str, Callable[[str, object], Any]] = {
    "body": partial(_one_of, kinds=Body),
    "answer": partial(_one_of, kinds=Answer),
    "tells_neurons": _truth,
    "sends": _sends,
    "prices_read": _day,
    "prompt_characters_max": partial(_whole, low=1, high=PROMPT_CHARACTERS_MAX),
    **dict.fromkeys(
        ("side_min", "side_max", "side_multiple", "width_default", "height_default"),
        partial(_whole, low=1, high=SIDE_MAX),
    ),
    **dict.fromkeys(("steps_min", "steps_max", "steps_default"), partial(_whole, low=1, high=STEPS_MAX)),
    **dict.fromkeys(("guidance_min", "guidance_max", "guidance_default"), _number),
    "references_max": partial(_whole, low=0, high=len(REFERENCES)),
    "reference_side_max": partial(_whole, low=0, high=SIDE_MAX),
    "requests_per_minute": partial(_whole, low=1, high=1_000_000),
}
"""How each key of a model is checked; `like`, `id` and `price` are custom.py's."""


def amount(key: str, table: Mapping[str, Any], before: Mapping[str, int]) -> int:
    """One price in hundredths of a neuron or in nano-dollars. Dollars that are left out are those of the neurons."""
    place, unit = f"price.{key}", key.rpartition("_")[2]
    value = table.get(key)
    if value is None and unit == "usd":
        return before.get(key.removesuffix("_usd") + "_centineurons", 0) * NANO_USD_PER_CENTINEURON
    if value is None:
        raise unfit(place, "is missing", "write it like 37.5")
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not Decimal(value).is_finite() or value < 0:
        raise unfit(place, f"{value!r} is no price", "write it like 37.5, without quotes")
    whole, smallest = (100, "a hundredth of a neuron") if unit == "neurons" else (10**9, "a nano-dollar")
    scaled = Decimal(value) * whole
    if scaled != scaled.to_integral_value():
        raise unfit(place, f"{value} is finer than {smallest}", "round it up")
    if Decimal(value) > (NEURONS_MAX if unit == "neurons" else NEURONS_MAX * Decimal("0.000011")):
        raise unfit(place, f"{value} is more than any picture costs", "check the unit")
    return int(scaled)


def contradictions(model: Model) -> Iterator[Wrong]:
    """What does not fit together in a model whose fields are each in order."""
    if not model.takes("prompt"):
        yield Wrong("sends", "the prompt is not sent", 'add prompt = "prompt"')
    yield from _range(model, "side", ("width", "height"), model.side_min, model.side_max)
    yield from _range(model, "steps", ("steps",), model.steps_min, model.steps_max)
    low, high = model.guidance_min, model.guidance_max
    if low is not None and high is not None and low > high:
        yield Wrong("guidance_min", f"{low:g} is above guidance_max {high:g}", "correct one of them")
    if tuple(name for name, _ in model.sends if name in REFERENCES) != REFERENCES[: model.references_max]:
        wanted = ", ".join(REFERENCES[: model.references_max]) or "no input_image"
        yield Wrong("references_max", f"{model.references_max} references: sends has to name {wanted}", "correct one")
    if model.references_max and not model.reference_side_max:
        yield Wrong("reference_side_max", "references are sent, and their largest side is not said", "add it")


def _range(model: Model, what: str, names: tuple[str, ...], low: int, high: int) -> Iterator[Wrong]:
    if low > high:
        yield Wrong(f"{what}_min", f"{low} is above {what}_max {high}", "correct one of them")
        return
    for name in names:
        default: int = getattr(model, f"{name}_default")
        if not low <= default <= high or (what == "side" and default % model.side_multiple):
            yield Wrong(f"{name}_default", f"{default} is not what the model takes", f"take one from {low} to {high}")
        elif not model.takes(name) and low != high:
            problem = f"{name} is not sent, so the model has one value for it"
            yield Wrong("sends", problem, f"add {name}, or make {what}_min and {what}_max that value")
