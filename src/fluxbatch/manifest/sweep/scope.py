"""Levels -> what is bound where: a block has from the levels around it all that it does not say itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from fluxbatch.manifest.sweep.columns import Column, Indexes, Stored, names_of
from fluxbatch.manifest.sweep.load import SIZE, Loader
from fluxbatch.manifest.sweep.nodes import Complaints
from fluxbatch.manifest.sweep.spec import Draw, Level, Listed, Prompt

SIDES = ("width", "height")


@dataclass(frozen=True, slots=True)
class Group:
    """One axis: the names that move together along it. `repeated` values were left out: each counts once."""

    name: str
    columns: Mapping[str, Column]
    size: int
    line: int
    repeated: int = 0


@dataclass(frozen=True, slots=True)
class Scope:
    """What holds at a level: constants by name (columns of one value), axes, prompts, and what is left out."""

    line: int
    name: str | None = None
    prompts: tuple[Prompt, ...] = ()
    alternatives: Draw | None = None
    constants: Mapping[str, Column] = field(default_factory=dict)
    groups: tuple[Group, ...] = ()

    def names(self) -> set[str]:
        """Every name that has a value here."""
        return {*self.constants, *(name for group in self.groups for name in group.columns)}


def widened(names: Iterable[str]) -> set[str]:
    """The names, where a size is width and height."""
    return {side for name in names for side in (SIDES if name == SIZE else (name,))}


def enter(outer: Scope, level: Level, loader: Loader, complaints: Complaints) -> Scope:
    """The scope of a level inside of `outer`: what it says itself goes before what it has from outside."""
    _check_twice(level, complaints)
    constants = _constants(level.defaults, loader)
    groups = [group for group in _groups(level, loader, complaints) if group is not None]
    own = widened({*level.defaults, *level.axes, *(name for zipped in level.zips for name in zipped)})
    kept = [group for group in outer.groups if not _is_replaced(group, own, level, complaints)]
    return Scope(
        level.line,
        level.name,
        level.prompts or outer.prompts,
        level.alternatives or outer.alternatives,
        {**outer.constants, **constants},
        tuple(sorted((*kept, *groups), key=lambda group: group.name)),
    )


def _constants(defaults: Mapping[str, Listed], loader: Loader) -> dict[str, Column]:
    found: dict[str, Column] = {}
    for name, listed in defaults.items():
        found.update(loader.load(name, listed) or {})
    return found


def _is_replaced(group: Group, own: set[str], level: Level, complaints: Complaints) -> bool:
    """Whether the level says all of this axis anew. Half of it cannot be said."""
    again = sorted(own & set(group.columns))
    if again and len(again) < len(group.columns):
        rest = ", ".join(sorted(set(group.columns) - own))
        problem = f"{', '.join(again)} moves together with {rest} outside of this block (line {group.line})"
        complaints.add(level.line, problem, "say all of them in the block, or none")
    return bool(again)


def _check_twice(level: Level, complaints: Complaints) -> None:
    places = [("axes", level.axes), *(("zip", zipped) for zipped in level.zips)]
    first: dict[str, int] = {}
    for where, names in places:
        for name, listed in names.items():
            for one in sorted(widened((name,))):
                if one in first:
                    problem = f"{one} has values already (line {first[one]}), and again in {where}"
                    complaints.add(listed.line, problem, "remove one of them", name)
                else:
                    first[one] = listed.line
    if SIZE in level.defaults:
        for side in SIDES:
            if side in level.defaults:
                complaints.add(level.defaults[side].line, f"{side} is given beside size", "remove one of them", side)


def _groups(level: Level, loader: Loader, complaints: Complaints) -> Iterator[Group | None]:
    for name, listed in level.axes.items():
        columns = loader.load(name, listed)
        if columns:
            yield distinct(Group(name, columns, len(next(iter(columns.values()))), listed.line))
    for zipped in level.zips:
        yield _zipped(zipped, loader, complaints)


def _zipped(zipped: Mapping[str, Listed], loader: Loader, complaints: Complaints) -> Group | None:
    columns: dict[str, Column] = {}
    lengths: dict[str, int] = {}
    for name, listed in zipped.items():
        found = loader.load(name, listed)
        if found:
            columns.update(found)
            lengths[name] = len(next(iter(found.values())))
    if len(lengths) < len(zipped) or not lengths:
        return None
    line = min(listed.line for listed in zipped.values())
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name} has {length:,}" for name, length in lengths.items())
        complaints.add(line, f"zipped names have different numbers of values: {counts}", "give each the same number")
        return None
    return Group("+".join(sorted(zipped)), columns, next(iter(lengths.values())), line)


def distinct(group: Group) -> Group:
    """The axis with each value once, at its first place."""
    if group.size < 2 or not all(isinstance(column, Stored) for column in group.columns.values()):
        return group
    names = np.zeros(group.size, np.uint64)
    for salt, column in enumerate(group.columns.values(), 1):
        assert isinstance(column, Stored)
        names = names + names_of(column.values, salt)
    _, first = np.unique(names, return_index=True)
    if len(first) == group.size:
        return group
    kept: Indexes = np.sort(first).astype(np.int64)
    columns = {name: column.chosen(kept) for name, column in group.columns.items() if isinstance(column, Stored)}
    return Group(group.name, columns, len(kept), group.line, group.size - len(kept))
