"""Groups of near-duplicates over a whole dataset, kept as columns: `duplicates.parquet`.

    duplicate_group         the key of the picture that stands for the group: the first one in the dataset's order
    duplicate_distance      bits between the picture's perceptual hash and that one's, 0 for itself

Only pictures that share a group have a row. An undecodable picture has no hash; and that of a blank or a solid one says
nothing but that nothing is on it, so a black sheet would be near a red one: these are in no group.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fluxbatch.checks import similar
from fluxbatch.checks.checked import OK, Group
from fluxbatch.checks.covered import Covered, covered, first_of_each
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.columns import column_rows
from fluxbatch.dataset.header import Part
from fluxbatch.dataset.quarantine import Damaged
from fluxbatch.query.sidecars import KEY

DUPLICATES = "duplicates"
GROUP, DISTANCE = "duplicate_group", "duplicate_distance"
FIELDS = (pa.field(GROUP, pa.string()), pa.field(DISTANCE, pa.int32()))
_EMPTY = ("blank", "solid")
_COLUMNS = (KEY, "phash", "check")


@dataclass(frozen=True, slots=True)
class PartFacts:
    """Of each picture of a part: key, hash, and whether that one says what is on it; and the keys that are not ok, by
    why."""

    keys: pa.Array
    hashes: similar.Hashes
    is_telling: pa.Array
    suspects: dict[str, list[str]]


@dataclass(slots=True)
class Facts:
    """What all parts say, in the dataset's order."""

    parts: list[tuple[Part, PartFacts]] = field(default_factory=list)
    suspects: dict[str, list[str]] = field(default_factory=dict)
    pictures: int = 0

    def add(self, part: Part, facts: PartFacts) -> None:
        self.parts.append((part, facts))
        self.pictures += len(facts.keys)
        for kind, keys in facts.suspects.items():
            self.suspects.setdefault(kind, []).extend(keys)


def facts_of(dataset: Dataset, part: Part) -> PartFacts:
    """Read them. Damaged when the part cannot be read to its end."""
    path = dataset.path(part)
    batches = [batch for _, batch in column_rows(path, dataset.schema, _COLUMNS)]
    table = pa.Table.from_batches(batches, pa.schema([pa.field(name, pa.string()) for name in _COLUMNS]))
    keys, texts, checks = (table.column(name).combine_chunks() for name in _COLUMNS)
    has_hash = texts.is_valid()
    hashes = np.zeros(len(texts), np.uint64)
    try:
        found = np.frombuffer(bytes.fromhex("".join(texts.drop_null().to_pylist())), ">u8")
        hashes[has_hash.to_numpy(zero_copy_only=False)] = found
    except ValueError as error:
        raise Damaged(f"{path}: has perceptual hashes that are none") from error
    is_telling = pc.and_(has_hash, pc.invert(pc.is_in(checks, pa.array(_EMPTY))))
    odd = pc.fill_null(pc.not_equal(checks, OK), True)
    suspects: dict[str, list[str]] = {}
    for key, check in zip(keys.filter(odd).to_pylist(), checks.filter(odd).to_pylist(), strict=True):
        suspects.setdefault(str(check), []).append(key)
    return PartFacts(keys, hashes, is_telling, suspects)


def near_duplicates(dataset: Dataset, facts: Facts, distance_max: int) -> list[Group]:
    """Group them, and put the columns down, unless that was done with these very parts. In the order of their
    representatives."""
    made = covered(dataset, DUPLICATES, f"phash within {distance_max} bits of a representative", FIELDS)
    if not made.is_all_of(dataset):
        made.pieces.clear()
        _fill(made, facts, distance_max)
        made.write(dataset)
    members: dict[str, list[str]] = {}
    for part in dataset.parts:
        if made.covers(part):
            rows = made.pieces[part.file].rows
            for key, of in zip(rows.column(KEY).to_pylist(), rows.column(GROUP).to_pylist(), strict=True):
                members.setdefault(of, []).append(key)
    return [Group(of, tuple(key for key in keys if key != of)) for of, keys in members.items()]


def _fill(made: Covered, facts: Facts, distance_max: int) -> None:
    """A piece for each part."""
    if not facts.parts:
        return
    keys = pa.concat_arrays([one.keys for _, one in facts.parts])
    is_telling = pa.concat_arrays([one.is_telling for _, one in facts.parts]).to_numpy(False)
    hashed = np.flatnonzero(first_of_each(keys) & is_telling)  # none is a duplicate of itself
    groups = similar.group(np.concatenate([one.hashes for _, one in facts.parts])[hashed], distance_max)
    shared = np.flatnonzero(groups.is_shared)
    rows = hashed[shared]
    table = pa.table(
        [keys.take(rows), keys.take(hashed[groups.representative[shared]]), groups.distance[shared].astype(np.int32)],
        schema=made.schema,
    )
    start = 0
    for part, one in facts.parts:
        first, last = np.searchsorted(rows, [start, start + len(one.keys)]).tolist()
        made.add(part, table.slice(first, last - first))
        start += len(one.keys)
