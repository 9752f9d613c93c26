"""What a model takes and what a row asks for, held against each other. Pure.

A parameter that the model does not take is refused where a row gives it: it would be ignored, or the whole request
refused. A fixed value may be written as it is. An option (`--steps 25`) stands for rows that are silent, and only for
those whose model takes it; `job.py` refuses one that fits no row, and a plan says which pictures go without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fluxbatch.manifest.values import Trouble
from fluxbatch.models.catalogue import Model

SEED_MAX = 2**63 - 1
STRENGTH_MAX = 1.0
SIZED = ("width", "height", "steps")
"""What every request has: sent, or fixed by the model."""
OPTIONAL = ("guidance", "seed", "negative_prompt", "strength")
_SAID = {"guidance": "guidance", "seed": "seed", "negative_prompt": "negative prompt", "strength": "strength"}


class Silent(NamedTuple):
    """What a row gets that says nothing, for one model; and what it may not say, because it is never sent."""

    width: int
    height: int
    steps: int
    guidance: float | None
    not_taken: frozenset[str] = frozenset()


def silent(model: Model, width: int | None, height: int | None, steps: int | None, guidance: float | None) -> Silent:
    """The options where the model takes them (None: not given), else its own defaults and fixed values."""
    return Silent(
        width if width is not None and model.takes("width") else model.width_default,
        height if height is not None and model.takes("height") else model.height_default,
        steps if steps is not None and model.takes("steps") else model.steps_default,
        guidance if model.takes("guidance") else None,
        frozenset(name for name in (*SIZED, *OPTIONAL) if not model.takes(name)),
    )


def fixed(model: Model, name: str) -> int:
    """The one value of a size or of steps that is never sent."""
    values = {"width": model.width_default, "height": model.height_default, "steps": model.steps_default}
    return values[name]


def unsent(model: Model, given: Mapping[str, Any]) -> Iterator[Trouble]:
    """What is given and would be ignored: parameters that the model does not take, fixed values that are others."""
    for name in (*SIZED, *OPTIONAL):
        if name not in given or model.takes(name):
            continue
        if name in OPTIONAL:
            problem = f"{model.name} takes no {_SAID[name]}: it would be ignored, or the request refused"
            yield Trouble(name, problem, "leave it empty for this model")
        elif given[name] != fixed(model, name):
            only = fixed(model, name)
            problem = f"{name} is always {only} with {model.name}: {given[name]} would be ignored"
            yield Trouble(name, problem, f"write {only}, or leave it empty")


def unfit(model: Model, width: int, height: int, steps: int) -> Sequence[Trouble]:
    """What the model would refuse or silently change. Fixed values fit."""
    low, high, multiple = model.side_min, model.side_max, model.side_multiple
    if (
        low <= width <= high
        and low <= height <= high
        and width % multiple == height % multiple == 0
        and model.steps_min <= steps <= model.steps_max
    ):
        return ()
    sides = {"width": width, "height": height}
    troubles = [t for name, side in sides.items() if model.takes(name) for t in _unfit_side(name, side, model)]
    if model.takes("steps") and not model.steps_min <= steps <= model.steps_max:
        problem = f"{steps} steps are out of range for {model.name}"
        troubles.append(Trouble("steps", problem, f"take {model.steps_min} to {model.steps_max}"))
    return troubles


def _unfit_side(column: str, side: int, model: Model) -> Iterator[Trouble]:
    low, high, multiple = model.side_min, model.side_max, model.side_multiple
    if not low <= side <= high:
        steps_of = f", in multiples of {multiple}" if multiple > 1 else ""
        yield Trouble(column, f"{side} is out of range for {model.name}", f"take {low} to {high}{steps_of}")
    elif side % multiple:
        cut = side - side % multiple
        near = " or ".join(str(value) for value in (cut, cut + multiple) if low <= value <= high)
        problem = f"{side} is no multiple of {multiple}: {model.name} would cut it to {cut} and bill {side}"
        yield Trouble(column, problem, f"take {near}")


def unfit_guidance(model: Model, guidance: float) -> Iterator[Trouble]:
    """A number that is out of the published range."""
    low, high = model.guidance_min, model.guidance_max
    if (low is not None and guidance < low) or (high is not None and guidance > high):
        remedy = f"take {low:g} to {high:g}" if low is not None and high is not None else "see `fluxbatch models`"
        yield Trouble("guidance", f"guidance {guidance:g} is out of range for {model.name}", remedy)


def unfit_texts(model: Model, texts: Mapping[str, str | None]) -> Iterator[Trouble]:
    """Prompts that are longer than the model reads."""
    longest = model.prompt_characters_max
    for column, text in texts.items():
        if text is not None and len(text) > longest:
            problem = f"the {column.replace('_', ' ')} has {len(text)} characters; {model.name} takes {longest}"
            yield Trouble(column, problem, f"shorten it to {longest}")


def unfit_strength(strength: float, has_reference: bool) -> Iterator[Trouble]:
    """How far a picture may leave its reference: 0 to 1, and nothing without a reference."""
    if not 0 <= strength <= STRENGTH_MAX:
        yield Trouble("strength", f"strength {strength:g} is out of range", "take 0 to 1")
    if not has_reference:
        problem = "strength says how far to leave the reference, and there is none: it would be ignored"
        yield Trouble("strength", problem, "give a reference (input_image_0), or leave strength empty")


def unfit_seed(seed: int) -> Iterator[Trouble]:
    """A seed that no model takes."""
    if not 0 <= seed <= SEED_MAX:
        yield Trouble("seed", f"{seed} is out of range", "take 0 to 2**63 - 1")


def of_option(trouble: Trouble, given: Mapping[str, Any]) -> Trouble:
    """The same, saying where the value came from when the row itself is silent."""
    if trouble.column in given or trouble.column not in (*SIZED, "guidance"):
        return trouble
    return trouble._replace(problem=f"{trouble.problem} (the row is silent: --{trouble.column} stands for it)")
