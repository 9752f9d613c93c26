"""What a check of a dataset's pictures has found, as figures and at the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from fluxbatch.checks.covered import Standing
from fluxbatch.dataset.image import CHECKS
from fluxbatch.dataset.place import Place
from fluxbatch.exit_codes import EXIT_COMPLETE, EXIT_WRONG
from fluxbatch.many import many
from fluxbatch.tell import shown

KEYS_SHOWN = 10
GROUPS_SHOWN = 10
OK = "ok"
_MEANS = {
    "wrong_size": "another size than was asked",
    "blank": "a sheet of black, white or grey",
    "solid": "a sheet of one colour",
    "undecodable": "cannot be decoded",
}


@dataclass(frozen=True, slots=True)
class Group:
    """Near-duplicates: the key of the picture that stands for them, and those of the others, in the dataset's order."""

    key: str
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Looked:
    """What became of one file of columns: how many pictures were looked at now, and how many before; for each of its
    numeric columns the least, the mean and the most over all of them."""

    name: str
    now: int
    before: int
    ranges: Mapping[str, tuple[float, float, float]]


@dataclass(frozen=True, slots=True)
class Found:
    """What a check has found. `suspects` are, by what is the matter, the keys of the pictures that are not ok; `stale`
    are files of columns that are behind the dataset and were not asked for now."""

    folder: Place
    pictures: int
    parts: int
    suspects: Mapping[str, Sequence[str]]
    distance_max: int
    groups: Sequence[Group]
    looked: Sequence[Looked]
    stale: Sequence[Standing]

    @property
    def suspect_count(self) -> int:
        return sum(map(len, self.suspects.values()))

    @property
    def near_duplicates(self) -> int:
        """Those that could be spared: all of each group but one."""
        return sum(len(group.others) for group in self.groups)

    @property
    def exit_code(self) -> int:
        return EXIT_WRONG if self.suspect_count else EXIT_COMPLETE

    def to_dict(self) -> dict[str, Any]:
        return {
            "pictures": self.pictures,
            "parts": self.parts,
            "checks": {OK: self.pictures - self.suspect_count, **{k: len(v) for k, v in self.suspects.items()}},
            "suspects": {kind: list(keys) for kind, keys in self.suspects.items()},
            "distance": self.distance_max,
            "near_duplicates": self.near_duplicates,
            "duplicate_groups": {group.key: list(group.others) for group in self.groups},
            "columns": {
                one.name: {"looked_at": one.now, "known_before": one.before, "ranges": dict(one.ranges)}
                for one in self.looked
            },
            "stale": {one.name: one.pictures_missing for one in self.stale},
        }


def show_checked(console: Console, found: Found, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(found.to_dict()))  # noqa: T201
        return
    for line in _lines(found):
        console.print(shown(line, 2_000), highlight=False, soft_wrap=True)


def _lines(found: Found) -> Iterator[str]:
    yield f"{many(found.pictures, 'picture')} in {many(found.parts, 'part')} of {found.folder}"
    yield f"{OK:>12}  {found.pictures - found.suspect_count:,}"
    for kind in CHECKS:
        if keys := found.suspects.get(kind, ()):
            yield f"{kind:>12}  {len(keys):,}: {_MEANS[kind]}"
            yield from _some(keys, KEYS_SHOWN)
    yield from _of_groups(found)
    for one in found.looked:
        yield f"{one.name:>12}  {many(one.now, 'picture')} looked at now, {one.before:,} before"
        for column, (least, mean, most) in one.ranges.items():
            yield f"{'':>12}  {column}: {least:.4g} to {most:.4g}, {mean:.4g} in the mean"
    yield from (f"{'behind':>12}  {one}" for one in found.stale)


def _of_groups(found: Found) -> Iterator[str]:
    if not found.groups:
        yield f"{'near':>12}  no two pictures are within {many(found.distance_max, 'bit')} of each other"
        return
    yield (
        f"{'near':>12}  {many(len(found.groups), 'group')} of near-duplicates "
        f"(within {many(found.distance_max, 'bit')}): {many(found.near_duplicates, 'picture')} beside one of each"
    )
    largest = sorted(found.groups, key=lambda group: -len(group.others))[:GROUPS_SHOWN]
    for group in largest:
        yield f"{'':>12}  {group.key} and {len(group.others):,} more"
    if len(found.groups) > len(largest):
        yield f"{'':>12}  … and {len(found.groups) - len(largest):,} smaller groups"
    keep = "duplicate_group IS NULL OR duplicate_group = key"
    yield f'{"":>12}  one of each, and all others: --where "{keep}"'


def _some(keys: Sequence[str], limit: int) -> Iterator[str]:
    yield from (f"{'':>12}  {key}" for key in keys[:limit])
    if len(keys) > limit:
        yield f"{'':>12}  … and {len(keys) - limit:,} more (all with --json)"
