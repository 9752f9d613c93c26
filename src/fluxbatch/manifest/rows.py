"""One row's cells -> what is asked, or all that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from fluxbatch.manifest import fit, values
from fluxbatch.manifest.address import is_address
from fluxbatch.manifest.columns import ALL_REFERENCE_COLUMNS, IMAGES_COLUMN, REFERENCE_COLUMNS
from fluxbatch.manifest.fit import Silent
from fluxbatch.manifest.frame import Fit, Frame
from fluxbatch.manifest.mentions import absent
from fluxbatch.manifest.places import Places, in_folder
from fluxbatch.manifest.references import open_reference
from fluxbatch.manifest.request import Reference
from fluxbatch.manifest.values import Trouble, Unusable
from fluxbatch.models.catalogue import CATALOGUE, DEFAULT_MODEL, Catalogue, Model

SAMPLES_MAX = 10_000
SAMPLE_NUMBER_MAX = 1_000_000_000


class Content(NamedTuple):
    """What is sent, in the order of `request.content_digest`."""

    model: Model
    prompt: str
    width: int
    height: int
    steps: int
    guidance: float | None
    seed: int | None
    references: tuple[Reference, ...]
    negative_prompt: str | None
    strength: float | None


_READ: Mapping[str, Callable[[object], Any]] = {
    "prompt": values.prompt,
    "id": values.identifier,
    "negative_prompt": values.negative_prompt,
    **dict.fromkeys(("width", "height", "steps", "seed", "samples", "sample"), values.whole_number),
    **dict.fromkeys(("guidance", "strength"), values.number),
    **dict.fromkeys(REFERENCE_COLUMNS, values.image_source),
    IMAGES_COLUMN: values.image_sources,
}


@dataclass(frozen=True, slots=True)
class Defaults:
    """What is sent for rows that are silent, and the models that rows can name. Sides in pixels.

    None is the model's own: its default, or the one value that it has. What is given holds for rows whose model takes
    it.
    """

    model: Model = DEFAULT_MODEL
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    guidance: float | None = None
    catalogue: Catalogue = CATALOGUE
    not_kept: frozenset[str] = frozenset()
    """Parameters that the dataset, being older, has no column for: a row that gives one is refused."""
    fit: Fit = Fit.CONTAIN
    """How references are framed."""

    def of(self, model: Model) -> Silent:
        """What a silent row of this model gets."""
        return fit.silent(model, self.width, self.height, self.steps, self.guidance)

    @property
    def given(self) -> Mapping[str, float]:
        """The options that were given, by parameter."""
        options = {"width": self.width, "height": self.height, "steps": self.steps, "guidance": self.guidance}
        return {name: value for name, value in options.items() if value is not None}

    def not_sent(self, pictures: Mapping[Model, int]) -> Iterator[str]:
        """Which options are not sent to how many pictures of which models, as sentences: nothing is dropped unsaid."""
        for name, value in self.given.items():
            for model, count in pictures.items():
                if not model.takes(name):
                    instead = f"always {fit.fixed(model, name)}" if name in fit.SIZED else "which takes none"
                    noun = "picture" if count == 1 else "pictures"
                    said = f"{value:g}" if isinstance(value, float) else value
                    yield f"--{name} {said} to {count:,} {noun} of {model.name} ({instead})"

    def troubles(self) -> Iterator[Trouble]:
        """What is wrong with the options for the model of rows that name none."""
        yield from fit.unsent(self.model, self.given)
        yield from fit.unfit(self.model, *self.of(self.model)[:3])
        if self.guidance is not None and self.model.takes("guidance"):
            yield from fit.unfit_guidance(self.model, self.guidance)


class Asked(NamedTuple):
    """A row that can be sent: its content, its own name, and how many pictures (or which sample) are wanted."""

    content: Content
    id: str | None
    samples: int
    sample: int | None


class RowReader:
    """Reads rows whose cells stand for the given parameters, in that order."""

    def __init__(self, parameters: Sequence[str], defaults: Defaults, folder: Path, places: Places) -> None:
        model = partial(values.model, catalogue=defaults.catalogue)
        read: Mapping[str, Callable[[object], Any]] = {**_READ, "model": model}
        self._readers = tuple((name, read[name]) for name in parameters)
        self._has_references = any(name in ALL_REFERENCE_COLUMNS for name in parameters)
        self._defaults = defaults
        self._silent: dict[str, Silent] = {}
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
        if self._defaults.not_kept:
            troubles += _not_kept(self._defaults.not_kept & given.keys())
        model = given.get("model", self._defaults.model)
        own = self._silent.get(model.id) or self._silent.setdefault(model.id, self._defaults.of(model))
        wanted = _wanted(model, given, own)
        troubles += _misfits(wanted, given, own.not_taken)
        samples, sample = given.get("samples", 1), given.get("sample")
        if samples != 1 or sample is not None:
            troubles.extend(_miscounted(samples, sample))
        if self._has_references:
            wanted = wanted._replace(references=self._references(given, wanted, troubles))
        if wanted.strength is not None and model.takes("strength"):
            has_reference = any(name in given for name in (*REFERENCE_COLUMNS, IMAGES_COLUMN))
            troubles.extend(fit.unfit_strength(wanted.strength, has_reference))
        if troubles:
            return tuple(troubles)
        return Asked(wanted, given.get("id"), samples, sample)

    def look_ahead(self, columns: Sequence[Sequence[object]]) -> None:
        """Begin to fetch the addresses of a chunk's cells (by column, as `parameters`), before its rows are read."""
        if self._has_references:
            for (name, read), cells in zip(self._readers, columns, strict=True):
                if name in ALL_REFERENCE_COLUMNS:
                    self._places.addresses.ahead(_addresses(cells, read))

    def _references(self, given: Mapping[str, Any], content: Content, troubles: list[Trouble]) -> tuple[Reference, ...]:
        """The row's references in order; what is wrong with them is added to `troubles`."""
        model = content.model
        try:
            sources = self._sources(given, troubles)
        except Unusable as error:
            troubles.append(error.trouble(IMAGES_COLUMN))
            return ()
        if sources and not model.references_max:
            troubles.append(Trouble(sources[0][0], f"{model.name} takes no references", "leave them empty"))
            return ()
        if len(sources) > model.references_max:
            problem = f"{len(sources)} references are given; {model.name} takes {model.references_max}"
            troubles.append(Trouble(sources[model.references_max][0], problem, "remove the others"))
        frame = Frame(self._defaults.fit, content.width, content.height)
        found = []
        for name, source in sources[: model.references_max]:
            try:
                found.append(open_reference(source, self._folder, self._places, model, frame))
            except Unusable as error:
                troubles.append(error.trouble(name))
        if sources and model.references_max > 1 and not troubles:  # one alone is started from, and not spoken of
            troubles.extend(_spoken_of(content.prompt, len(sources)))
        return tuple(found)

    def _sources(self, given: Mapping[str, Any], troubles: list[Trouble]) -> list[tuple[str, str | bytes]]:
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


def _wanted(model: Model, given: Mapping[str, Any], own: Silent) -> Content:
    """The row's own values, and what stands for those that it does not give; without its references."""
    get = given.get
    return Content(
        model,
        get("prompt", ""),
        get("width", own.width),
        get("height", own.height),
        get("steps", own.steps),
        get("guidance", own.guidance),
        get("seed"),
        (),
        get("negative_prompt"),
        get("strength"),
    )


def _spoken_of(prompt: str, references: int) -> Iterator[Trouble]:
    """Pictures that the prompt surely speaks of, and the row has not."""
    for number in absent(prompt, references).surely:
        count = "1 reference" if references == 1 else f"{references} references"
        problem = f'the prompt speaks of "image {number}", and the row has {count}'
        remedy = 'count them from 0 (the first is "image 0"), give it, or call it otherwise ("picture 2")'
        yield Trouble("prompt", problem, remedy)


def _addresses(cells: Sequence[object], read: Callable[[object], Any]) -> Iterator[str]:
    for cell in cells:
        with suppress(Unusable):  # told when the row is read
            found = read(cell)
            sources = found if isinstance(found, tuple) else (found,)
            yield from (source for source in sources if isinstance(source, str) and is_address(source))


def _misfits(wanted: Content, given: Mapping[str, Any], not_taken: frozenset[str]) -> list[Trouble]:
    """What the row's model does not take, or not so."""
    model, found = wanted.model, list[Trouble]()
    if not not_taken.isdisjoint(given):
        found += fit.unsent(model, given)
    found += fit.unfit(model, wanted.width, wanted.height, wanted.steps)
    if wanted.guidance is not None and "guidance" not in not_taken:
        found += fit.unfit_guidance(model, wanted.guidance)
    if wanted.seed is not None and not 0 <= wanted.seed <= fit.SEED_MAX:
        found += fit.unfit_seed(wanted.seed)
    if len(wanted.prompt) > model.prompt_characters_max or wanted.negative_prompt is not None:
        found += fit.unfit_texts(model, {"prompt": wanted.prompt, "negative_prompt": wanted.negative_prompt})
    return [fit.of_option(trouble, given) for trouble in found] if found else found


def _not_kept(names: Collection[str]) -> Iterator[Trouble]:
    for name in sorted(names):
        problem = f"this dataset was made before {name} could be asked, and has no column for it"
        yield Trouble(name, problem, "give another --out for a dataset of its own, or leave it empty")


def _miscounted(samples: int, sample: int | None) -> Iterator[Trouble]:
    if not 1 <= samples <= SAMPLES_MAX:
        yield Trouble("samples", f"{samples} samples are out of range", f"take 1 to {SAMPLES_MAX}")
    if sample is None:
        return
    if not 0 <= sample <= SAMPLE_NUMBER_MAX:
        yield Trouble("sample", f"sample {sample} is out of range", f"take 0 to {SAMPLE_NUMBER_MAX}")
    if samples != 1:
        yield Trouble("sample", f"sample {sample} is one picture, but samples asks for {samples}", "leave one empty")


def read_parameter(name: str, value: object, catalogue: Catalogue = CATALOGUE) -> Any:
    """One parameter's value, canonical, or None where nothing is given. Unusable says what is wrong with it."""
    return values.model(value, catalogue) if name == "model" else _READ[name](value)
