"""`exclude`: which cells of which blocks an entry means. An entry that means none is a complaint: it is misspelt."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fluxbatch.manifest.sweep.columns import Column
from fluxbatch.manifest.sweep.load import SIZE, Loader
from fluxbatch.manifest.sweep.nodes import Complaints, did_you_mean
from fluxbatch.manifest.sweep.scope import SIDES
from fluxbatch.manifest.sweep.segment import Exclusion, Mask, Segment
from fluxbatch.manifest.sweep.spec import Entry
from fluxbatch.manifest.values import shown

VALUES_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Meant:
    """One name of an entry with the values it may have. Sizes are two columns that have to match together."""

    name: str
    columns: dict[str, Column]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))


def exclude(
    entry: Entry, segments: Sequence[Segment], known: Collection[str], loader: Loader, complaints: Complaints
) -> None:
    """Take what the entry means out of these segments (those that it stands over); `known` are all names there."""
    meant = []
    for name, listed in entry.names.items():
        columns = loader.load(name, listed)
        if columns is None:
            return
        if len(next(iter(columns.values()))) > VALUES_MAX:
            complaints.add(entry.line, f"over {VALUES_MAX:,} values in one exclude", "make it shorter", name)
            return
        meant.append(Meant(name, columns))
    if unknown := [name for one in meant for name in one.columns if name not in known]:
        for name in unknown:
            problem = f"exclude names {name}, which has no values here"
            complaints.add(entry.line, problem, did_you_mean(name, sorted(known)), name)
        return
    concerned = [segment for segment in segments if _names_all(segment, meant)]
    if not concerned:
        if not complaints.count:
            complaints.add(entry.line, "no block has all of the names of this exclude", "split the entry")
        return
    matched = False
    for segment in concerned:
        for exclusion in _exclusions(segment, meant, entry.line):
            segment.exclusions += (exclusion,)
            matched = True
    missing = list(_missing(meant, concerned))
    for name, text, known in missing:
        complaints.add(entry.line, f"exclude: {name} never is {text}", did_you_mean(text.strip("'"), known), name)
    if not matched and not missing:
        complaints.add(entry.line, "exclude means a combination that there is not", "correct it, or remove the entry")


def _names_all(segment: Segment, meant: Sequence[Meant]) -> bool:
    return all(segment.column(name) is not None for one in meant for name in one.columns)


def _exclusions(segment: Segment, meant: Sequence[Meant], line: int) -> Iterator[Exclusion]:
    """The entry for one block: one exclusion, or one for each size where width and height are axes of their own."""
    sized = next((one for one in meant if one.name == SIZE), None)
    rest = [one for one in meant if one is not sized]
    for index in range(len(sized) if sized is not None else 1):
        masks: dict[int, Mask] = {}
        possible = True
        pairs = [] if sized is None else [(side, sized.columns[side], [index]) for side in SIDES]
        pairs += [(one.name, one.columns[one.name], list(range(len(one)))) for one in rest]
        for name, values, indexes in pairs:
            possible &= _narrow(segment, name, values, indexes, masks)
        if possible and all(mask.any() for mask in masks.values()):
            yield Exclusion(masks, line)


def _narrow(segment: Segment, name: str, values: Column, indexes: list[int], masks: dict[int, Mask]) -> bool:
    """Keep of an axis' places those with one of the values. False if a constant has none of them."""
    found = segment.column(name)
    assert found is not None
    number, column = found
    mask: Mask = np.zeros(len(column), bool)
    for index in indexes:
        mask[column.find(values.value(index))] = True
    if number is None:
        return bool(mask[0])
    masks[number] = masks.get(number, np.ones(len(mask), bool)) & mask
    return True


def _missing(meant: Sequence[Meant], segments: Sequence[Segment]) -> Iterator[tuple[str, str, list[str]]]:
    """Values of the entry that no block has: the name, the value as text, and some that there are."""
    for one in meant:
        for name, values in one.columns.items():
            columns = [found[1] for segment in segments if (found := segment.column(name)) is not None]
            for index in range(len(values)):
                value = values.value(index)
                if not any(len(column.find(value)) for column in columns):
                    known = [str(column.value(at)) for column in columns for at in range(min(len(column), 1000))]
                    yield name, shown(value), list(dict.fromkeys(known))
