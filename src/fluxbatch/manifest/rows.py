"""One row's cells -> what is asked, or all that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fluxbatch.manifest import values
from fluxbatch.manifest.columns import IMAGES_COLUMN, REFERENCE_COLUMNS
from fluxbatch.manifest.frame import Fit, Frame, Size
from fluxbatch.manifest.mentions import absent
from fluxbatch.manifest.places import Places, in_folder
from fluxbatch.manifest.references import open_reference
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
    IMAGES_COLUMN: values.image_sources,
}


@dataclass(frozen=True, slots=True)
class Defaults:
    """What is sent for rows that are silent. Sides in pixels."""

    model: Model = DEFAULT_MODEL
    width: int = 1024
    height: int = 1024
    steps: int = 25
    guidance: float | None = None
    fit: Fit = Fit.CONTAIN


class Asked(NamedTuple):
    """A row that can be sent: its content, its own name, and how many pictures (or which sample) are wanted."""

    content: Content
    id: str | None
    samples: int
    sample: int | None


class RowReader:
    """Reads rows whose cells stand for the given parameters, in that order."""

    def __init__(self, parameters: Sequence[str], defaults: Defaults, folder: Path, places: Places) -> None:
        self._readers = tuple((name, _READ[name]) for name in parameters)
        self._has_references = any(name in (*REFERENCE_COLUMNS, IMAGES_COLUMN) for name in parameters)
        self._defaults = defaults
        self._folder = folder
        self._places = places

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
        references = self._references(given, model, size, troubles) if self._has_references else ()
        if troubles:
            return tuple(troubles)
        guidance = get("guidance", defaults.guidance)
        return Asked((model, given["prompt"], *size, steps, guidance, seed, references), get("id"), samples, sample)

    def _references(
        self, given: Mapping[str, Any], model: Model, size: Size, troubles: list[Trouble]
    ) -> tuple[Reference, ...]:
        """The row's references in order; what is wrong with them is added to `troubles`."""
        try:
            wanted = self._wanted(given, troubles)
        except Unusable as error:
            troubles.append(error.trouble(IMAGES_COLUMN))
            return ()
        if len(wanted) > model.references_max:
            problem = f"{len(wanted)} references are given; {model.name} takes {model.references_max}"
            troubles.append(Trouble(wanted[model.references_max][0], problem, "remove the others"))
            wanted = wanted[: model.references_max]
        frame = Frame(self._defaults.fit, *size)
        found = []
        for name, source in wanted:
            try:
                found.append(open_reference(source, self._folder, self._places, model, frame))
            except Unusable as error:
                troubles.append(error.trouble(name))
        if wanted and not troubles:
            troubles.extend(_spoken_of(given["prompt"], len(wanted)))
        return tuple(found)

    def _wanted(self, given: Mapping[str, Any], troubles: list[Trouble]) -> list[tuple[str, str | bytes]]:
        """The sources in order, each with the column that it is from."""
        wanted = [(name, given[name]) for name in REFERENCE_COLUMNS if name in given]
        together = given.get(IMAGES_COLUMN)
        if together is not None:
            if wanted:
                problem = f"the row has {wanted[0][0]} and {IMAGES_COLUMN}"
                troubles.append(Trouble(IMAGES_COLUMN, problem, "give its references in one of the two ways"))
            sources = in_folder(together, self._folder) if isinstance(together, str) else together
            return [(IMAGES_COLUMN, source) for source in sources]
        bad = {trouble.column for trouble in troubles}
        gap = next((i for i, (name, _) in enumerate(wanted) if name != REFERENCE_COLUMNS[i]), None)
        if gap is not None and REFERENCE_COLUMNS[gap] not in bad:
            problem = f"there is no image {gap}, but {wanted[gap][0]} is given"
            remedy = 'fill them from 0 without a gap: prompts call them "image 0", "image 1", …'
            troubles.append(Trouble(REFERENCE_COLUMNS[gap], problem, remedy))
        return wanted


def _spoken_of(prompt: str, references: int) -> Iterator[Trouble]:
    """Pictures that the prompt surely speaks of, and the row has not."""
    for number in absent(prompt, references).surely:
        count = "1 reference" if references == 1 else f"{references} references"
        problem = f'the prompt speaks of "image {number}", and the row has {count}'
        remedy = 'count them from 0 (the first is "image 0"), give it, or call it otherwise ("picture 2")'
        yield Trouble("prompt", problem, remedy)


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
