"""A sweep as it is written -> its blocks, each a product of axes; and all that does not fit together."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fluxbatch.manifest.columns import PARAMETERS, lay_out
from fluxbatch.manifest.prompts import PromptTemplate, PromptTemplateError, Wildcards, compile_prompt, open_wildcards
from fluxbatch.manifest.sweep.exclude import exclude
from fluxbatch.manifest.sweep.load import SIZE, Loader
from fluxbatch.manifest.sweep.nodes import Complaints, did_you_mean
from fluxbatch.manifest.sweep.scope import Group, Scope, distinct, enter
from fluxbatch.manifest.sweep.segment import Segment
from fluxbatch.manifest.sweep.spec import Entry, Level, Prompt, Spec
from fluxbatch.manifest.sweep.texts import Prompts
from fluxbatch.models.catalogue import Catalogue

WILDCARDS = "wildcards"


@dataclass(slots=True)
class Binder:
    """Walks the levels of one sweep file; what is wrong goes to `complaints`."""

    folder: Path
    complaints: Complaints
    loader: Loader
    wildcards: Wildcards
    segments: list[Segment] = field(default_factory=list)
    _bound: list[set[str]] = field(default_factory=list)
    _compiled: dict[int, PromptTemplate | None] = field(default_factory=dict)

    def walk(self, level: Level, outer: Scope) -> None:
        """The segments of a level and of the blocks in it, in the order of the file."""
        scope = enter(outer, level, self.loader, self.complaints)
        first, first_bound = len(self.segments), len(self._bound)
        for block in level.blocks:
            self.walk(block, scope)
        is_include_alone = bool(level.include) and not (scope.groups or level.blocks)
        if not level.blocks and not is_include_alone:
            self._bound.append(scope.names())
            self._add(scope, scope.groups, scope.line, is_included=False)
        multiplied = [segment for segment in self.segments[first:] if not segment.is_included]
        known = set[str]().union(*self._bound[first_bound:])
        for entry in level.exclude:
            exclude(entry, multiplied, known, self.loader, self.complaints)
        for entry in level.include:
            self._include(scope, entry)

    def _include(self, scope: Scope, entry: Entry) -> None:
        if (templates := self._templates(scope, entry.line)) is None:
            return
        variables = frozenset[str]().union(*(template.variables for template in templates))
        known = sorted({*scope.names(), *variables})
        groups = []
        for name, listed in entry.names.items():
            if name not in known and name not in PARAMETERS and name != SIZE:
                problem = f"include names {name}, which is no axis, no variable and no parameter"
                self.complaints.add(entry.line, problem, did_you_mean(name, [*known, *PARAMETERS]), name)
            elif columns := self.loader.load(name, listed):
                groups.append(distinct(Group(name, columns, len(next(iter(columns.values()))), entry.line)))
        self._add(scope, tuple(groups), entry.line, is_included=True)

    def _add(self, scope: Scope, groups: tuple[Group, ...], line: int, is_included: bool) -> None:
        templates = self._templates(scope, line)
        if templates is None:
            return
        ordered = sorted(groups, key=lambda group: group.name)
        bound = {
            name: (number, column) for number, group in enumerate(ordered) for name, column in group.columns.items()
        }
        constants = {name: column for name, column in scope.constants.items() if name not in bound}
        sources = [prompt.template for prompt in scope.prompts]
        if self._is_complete(scope, templates, {*bound, *constants}, line):
            prompts = Prompts(sources, templates, scope.alternatives, bound, constants)
            self.segments.append(Segment(ordered, constants, prompts, line, scope.name, is_included))
            if not is_included:
                self._check_used(ordered, prompts.variables)

    def _is_complete(
        self, scope: Scope, templates: Collection[PromptTemplate], names: Collection[str], line: int
    ) -> bool:
        complete = True
        for prompt, template in zip(scope.prompts, templates, strict=True):
            for missing in sorted(template.variables - set(names)):
                complete = False
                where = f" for the entry in line {line}" if line != scope.line else ""
                problem = f"the prompt uses {missing}, which has no value{where}"
                remedy = f"add it to axes: or defaults:; {did_you_mean(missing, sorted(names))}"
                self.complaints.add(prompt.line, problem, remedy, missing)
        return complete

    def _check_used(self, groups: Collection[Group], variables: frozenset[str]) -> None:
        for group in groups:
            if not (set(group.columns) & (variables | set(PARAMETERS))) and group.size > 1:
                problem = "this axis is in no prompt and is no parameter: it would only ask for the same again"
                remedy = f"use {{{{ {group.name} }}}} in the prompt, zip it with an axis that is used, or use samples"
                self.complaints.add(group.line, problem, remedy, group.name)

    def _templates(self, scope: Scope, line: int) -> list[PromptTemplate] | None:
        if not scope.prompts:
            self.complaints.add(line, "there is no prompt", 'write prompt: "a {{ animal }} in the snow"')
            return None
        found = [self._compile(prompt) for prompt in scope.prompts]
        return None if None in found else [template for template in found if template is not None]

    def _compile(self, prompt: Prompt) -> PromptTemplate | None:
        if id(prompt) not in self._compiled:
            self._compiled[id(prompt)] = self._compiled_anew(prompt)
        return self._compiled[id(prompt)]

    def _compiled_anew(self, prompt: Prompt) -> PromptTemplate | None:
        try:
            return compile_prompt(prompt.template, self.wildcards)
        except PromptTemplateError as error:
            for trouble in error.troubles:
                place = f"{trouble.place}: " if trouble.place else ""
                spot = "" if trouble.line is None else f" (line {trouble.line}, column {trouble.column} of the text)"
                self.complaints.add(prompt.line, f"{place}{trouble.problem}{spot}", trouble.remedy, "prompt")
            return None


def bind(
    spec: Spec,
    folder: Path,
    complaints: Complaints,
    catalogue: Catalogue,
    own: Collection[str],
    reserved: Collection[str],
) -> list[Segment]:
    """The blocks of the sweep and the entries that it includes, in the order of the file."""
    for level in _levels(spec.top):
        _check_names(level, complaints, own, reserved)
    wildcards = folder / (spec.wildcards or WILDCARDS)
    if spec.wildcards is not None and not wildcards.is_dir():
        complaints.add(None, f"there is no folder {spec.wildcards}", "correct wildcards: (relative to the sweep)")
    opened = open_wildcards(wildcards) if wildcards.is_dir() else Wildcards()
    binder = Binder(folder, complaints, Loader(folder, complaints, catalogue), opened)
    binder.walk(spec.top, Scope(spec.top.line))
    return binder.segments


def _levels(level: Level) -> Iterator[Level]:
    yield level
    for block in level.blocks:
        yield from _levels(block)


def _check_names(level: Level, complaints: Complaints, own: Collection[str], reserved: Collection[str]) -> None:
    """A variable that looks like a parameter is a misspelt one, as in any manifest."""
    named: list[Mapping[str, object]] = [level.defaults, level.axes, *level.zips]
    for names in named:
        for name, listed in names.items():
            if name in PARAMETERS or name == SIZE:
                continue
            kept = [name] if name in own else []
            for trouble in lay_out(("prompt", name), {}, kept, reserved).troubles:
                line = getattr(listed, "line", level.line)
                remedy = "rename the variable" if name in reserved else f"correct it, or keep it: --own {name}"
                complaints.add(line, trouble.problem, remedy, name)
