"""One row's cells -> what is asked, or all that is wrong with it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fluxbatch.manifest import values
from fluxbatch.manifest.columns import REFERENCE_COLUMNS
from fluxbatch.manifest.references import read_reference
from fluxbatch.manifest.request import Reference
from fluxbatch.manifest.values import Trouble, Unusable
from fluxbatch.models.catalogue import DEFAULT_MODEL, Model

SAMPLES_MAX = 10_000
SAMPLE_NUMBER_MAX = 1_000_000_000
SEED_MAX = 2**63 - 1

Content = tuple[Model, str, int, int, int, float | None, int | None, tuple[Reference, ...]]
"""What is sent, in the order of `request.content_digest`."""

_READ: Mapping[str, Callable[[object], Any]] = {
    "prompt": values.prompt,
    "id": values.identifier,
    "model": values.model,
    **dict.fromkeys(("width", "height", "steps", "seed", "samples", "sample"), values.whole_number),
    "guidance": values.number,
    **dict.fromkeys(REFERENCE_COLUMNS, values.image_source),
}


@dataclass(frozen=True, slots=True)
class Defaults:
    """What is sent for rows that are silent. Sides in pixels."""

    model: Model = DEFAULT_MODEL
    width: int = 1024
    height: int = 1024
    steps: int = 25
    guidance: float | None = None


class Asked(NamedTuple):
    """A row that can be sent: its content, its own name, and how many pictures (or which sample) are wanted."""

    content: Content
    id: str | None
    samples: int
    sample: int | None


class RowReader:
    """Reads rows whose cells stand for the given parameters, in that order."""

    def __init__(self, parameters: Sequence[str], defaults: Defaults, folder: Path) -> None:
        self._readers = tuple((name, _READ[name]) for name in parameters)
        self._has_references = any(name in REFERENCE_COLUMNS for name in parameters)
        self._defaults = defaults
        self._folder = folder

    def read(self, cells: Sequence[object]) -> Asked | tuple[Trouble, ...]:
        """What the row asks for, or every trouble with it. Opens reference images."""
        given: dict[str, Any] = {}
        troubles: list[Trouble] = []
        for (name, read), cell in zip(self._readers, cells, strict=True):
            try:
                value = read(cell)
            except Unusable as error:
                troubles.append(error.trouble(name))
            else:
                if value is not None:
                    given[name] = value
        get, defaults = given.get, self._defaults
        model, seed = get("model", defaults.model), get("seed")
        size = (get("width", defaults.width), get("height", defaults.height))
        steps = get("steps", defaults.steps)
        samples, sample = get("samples", 1), get("sample")
        troubles.extend(unfit(model, *size, steps))
        if seed is not None and not 0 <= seed <= SEED_MAX:
            troubles.append(Trouble("seed", f"{seed} is out of range", "take 0 to 2**63 - 1"))
        if samples != 1 or sample is not None:
            troubles.extend(_miscounted(samples, sample))
        references = self._references(given, model, troubles) if self._has_references else ()
        if troubles:
            return tuple(troubles)
        guidance = get("guidance", defaults.guidance)
        return Asked((model, given["prompt"], *size, steps, guidance, seed, references), get("id"), samples, sample)

    def _references(self, given: Mapping[str, Any], model: Model, troubles: list[Trouble]) -> tuple[Reference, ...]:
        """The row's references in order; what is wrong with them is added to `troubles`."""
        wanted = [(name, given[name]) for name in REFERENCE_COLUMNS if name in given]
        bad = {trouble.column for trouble in troubles}
        gap = next((i for i, (name, _) in enumerate(wanted) if name != REFERENCE_COLUMNS[i]), None)
        if gap is not None and REFERENCE_COLUMNS[gap] not in bad:
            problem = f"there is no image {gap}, but {wanted[gap][0]} is given"
            remedy = 'fill them from 0 without a gap: prompts call them "image 0", "image 1", …'
            troubles.append(Trouble(REFERENCE_COLUMNS[gap], problem, remedy))
        if len(wanted) > model.references_max:
            problem = f"{len(wanted)} references are given; {model.name} takes {model.references_max}"
            troubles.append(Trouble(wanted[model.references_max][0], problem, "remove the others"))
        found = []
        for name, source in wanted:
            try:
                place = source if isinstance(source, bytes) else _located(source, self._folder)
                found.append(read_reference(place, model))
            except Unusable as error:
                troubles.append(error.trouble(name))
        return tuple(found)


def unfit(model: Model, width: int, height: int, steps: int) -> Sequence[Trouble]:
    """What the model would refuse or silently change."""
    low, high, multiple = model.side_min, model.side_max, model.side_multiple
    if (
        low <= width <= high
        and low <= height <= high
        and width % multiple == height % multiple == 0
        and model.steps_min <= steps <= model.steps_max
    ):
        return ()
    troubles = [*_unfit_side("width", width, model), *_unfit_side("height", height, model)]
    if not model.steps_min <= steps <= model.steps_max:
        problem = f"{steps} steps are out of range for {model.name}"
        troubles.append(Trouble("steps", problem, f"take {model.steps_min} to {model.steps_max}"))
    return troubles


def _unfit_side(column: str, side: int, model: Model) -> Iterator[Trouble]:
    low, high, multiple = model.side_min, model.side_max, model.side_multiple
    if not low <= side <= high:
        remedy = f"take {low} to {high}, in multiples of {multiple}"
        yield Trouble(column, f"{side} is out of range for {model.name}", remedy)
    elif side % multiple:
        cut = side - side % multiple
        near = " or ".join(str(value) for value in (cut, cut + multiple) if low <= value <= high)
        problem = f"{side} is no multiple of {multiple}: {model.name} would cut it to {cut} and bill {side}"
        yield Trouble(column, problem, f"take {near}")


def _miscounted(samples: int, sample: int | None) -> Iterator[Trouble]:
    if not 1 <= samples <= SAMPLES_MAX:
        yield Trouble("samples", f"{samples} samples are out of range", f"take 1 to {SAMPLES_MAX}")
    if sample is None:
        return
    if not 0 <= sample <= SAMPLE_NUMBER_MAX:
        yield Trouble("sample", f"sample {sample} is out of range", f"take 0 to {SAMPLE_NUMBER_MAX}")
    if samples != 1:
        yield Trouble("sample", f"sample {sample} is one picture, but samples asks for {samples}", "leave one empty")


def _located(path: str, folder: Path) -> Path:
    """Where a reference's path leads: from the manifest's folder, and not out of it; or anywhere, if absolute."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", path):
        raise Unusable(f"{values.shown(path)} is an address", "download the picture and give its path")
    if os.path.isabs(path):  # noqa: PTH117 - what the text says, not what a Path makes of it
        return Path(path)
    inside = os.path.normpath(path)
    if inside == ".." or inside.startswith(("../", "..\\")):
        remedy = "move the picture beside the manifest, or give an absolute path"
        raise Unusable(f"{values.shown(path)} leads out of the manifest's folder", remedy)
    return folder / inside


def read_parameter(name: str, value: object) -> Any:
    """One parameter's value, canonical, or None where nothing is given. Unusable says what is wrong with it."""
    return _READ[name](value)
