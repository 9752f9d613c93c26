"""Columns that are added to a dataset later, and which of its parts they cover: `.fluxbatch/columns/NAME.parquet`.

A file says of itself for which parts (by their SHA-256) it has looked, and what has made it. So parts that came later
are the only ones that are looked at, what is left of a check that was stopped goes on, and a file that is behind its
dataset is known for it. A picture about which there is nothing to say has no row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fluxbatch.dataset import lock, place
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.header import Part
from fluxbatch.dataset.parts import METADATA_KEY, UNREADABLE, opened
from fluxbatch.dataset.place import Place
from fluxbatch.errors import DatasetInUse, StorageError
from fluxbatch.many import many
from fluxbatch.query.sidecars import KEY, sidecar_file

KEYS = pa.field(KEY, pa.string())
_SETTINGS = {"compression": "zstd", "write_page_checksum": True}


@dataclass(frozen=True, slots=True)
class Piece:
    """The rows of one part, which is known by its hash."""

    sha256: str
    rows: pa.Table


@dataclass(slots=True)
class Covered:
    """The columns `NAME` of a dataset, as far as they go: a piece for each part that was looked at, by its file.

    `made_by` says what has made them; what something else has made is no part of them.
    """

    name: str
    made_by: str
    fields: tuple[pa.Field, ...]
    pieces: dict[str, Piece] = field(default_factory=dict)

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([KEYS, *self.fields])

    def covers(self, part: Part) -> bool:
        piece = self.pieces.get(part.file)
        return piece is not None and piece.sha256 == part.sha256

    def missing(self, dataset: Dataset) -> list[Part]:
        """The parts that were not looked at yet."""
        return [part for part in dataset.parts if not self.covers(part)]

    def is_all_of(self, dataset: Dataset, new: Sequence[Part] = ()) -> bool:
        """Whether the file has nothing to be told: all parts, none that is gone, and none of the `new` ones."""
        return not new and set(self.pieces) == {part.file for part in dataset.parts} and not self.missing(dataset)

    def add(self, part: Part, rows: pa.Table) -> None:
        self.pieces[part.file] = Piece(part.sha256, rows)

    def write(self, dataset: Dataset) -> None:
        """Put the file, whole or not at all, with what it has of the parts that the dataset has. In their order."""
        found = {part.file: self.pieces[part.file] for part in dataset.parts if self.covers(part)}
        table = pa.concat_tables([self.schema.empty_table(), *(piece.rows for piece in found.values())])
        kept = first_of_each(table.column(KEY))  # a picture that was paid for twice stands in two parts
        ends = np.cumsum([0, *(len(piece.rows) for piece in found.values())])
        rows = np.diff(np.cumsum([0, *kept])[ends]).tolist()
        said = {
            "dataset": dataset.id,
            "made_by": self.made_by,
            "parts": [[file, piece.sha256, count] for (file, piece), count in zip(found.items(), rows, strict=True)],
        }
        table = table.filter(pa.array(kept)).replace_schema_metadata({METADATA_KEY: json.dumps(said)})
        path = sidecar_file(dataset, self.name)
        place.make_folders(path.parent)
        place.put_atomic(path, lambda file: pq.write_table(table, pa.PythonFile(file, mode="w"), **_SETTINGS))


def first_of_each(keys: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.bool_]:
    """Which rows are the first ones of their key."""
    first = np.ones(len(keys), bool)
    if pc.count_distinct(keys).as_py() < len(keys):
        seen: set[str] = set()
        for row, key in enumerate(keys.to_pylist()):
            first[row] = key not in seen
            seen.add(key)
    return first


def covered(dataset: Dataset, name: str, made_by: str, fields: Sequence[pa.Field]) -> Covered:
    """What there is of the columns `name`; nothing when they were made by something else, or cannot be read."""
    fresh = Covered(name, made_by, tuple(fields))
    found = _read(sidecar_file(dataset, name), dataset)
    if found is None or found.made_by != made_by or not found.schema.equals(fresh.schema):
        return fresh
    return found


def _read(path: Place, dataset: Dataset) -> Covered | None:
    if not path.exists():
        return None
    try:
        with opened(path) as file:
            table = file.read(use_threads=False)
            table.validate(full=True)
        said = json.loads((table.schema.metadata or {})[METADATA_KEY])
        table = table.replace_schema_metadata(None)
        pieces, start = {}, 0
        for name, sha256, rows in said["parts"]:
            pieces[str(name)] = Piece(str(sha256), table.slice(start, rows))
            start += rows
        is_whole = start == len(table) and said["dataset"] == dataset.id
        fields = tuple(table.schema.field(index) for index in range(1, len(table.schema)))
        made = Covered(path.name.removesuffix(".parquet"), str(said["made_by"]), fields, pieces)
    except (StorageError, *UNREADABLE, KeyError, TypeError, ValueError):
        return None
    return made if is_whole else None


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a file of columns has come: the parts of the dataset that it does not cover, and their pictures."""

    name: str
    parts_missing: int
    pictures_missing: int

    @property
    def is_stale(self) -> bool:
        return self.parts_missing > 0

    def __str__(self) -> str:
        if not self.is_stale:
            return f"{self.name}: covers the whole dataset"
        return (
            f"{self.name}: {many(self.pictures_missing, 'picture')} in {many(self.parts_missing, 'part')} came later, "
            "not covered; run `fluxbatch check` as before to bring it up to date"
        )


def standings(dataset: Dataset) -> list[Standing]:
    """Of every file of columns that a dataset has and that says so, by name."""
    files = sorted(_folder(dataset).glob("*.parquet"), key=place.name_of)
    found = []
    for path in files:
        made = _read(path, dataset)
        if made is not None:
            missing = made.missing(dataset)
            found.append(Standing(made.name, len(missing), sum(part.rows for part in missing)))
    return found


def _folder(dataset: Dataset) -> Place:
    return sidecar_file(dataset, "any").parent


@contextmanager
def checking(dataset: Dataset) -> Iterator[None]:
    """Keep other checks of this dataset out for the block, and tidy up after dead ones. A run goes on beside it: it
    touches none of these files. In a store, of two checks at once, the last to write has written."""
    folder = _folder(dataset)
    if not isinstance(folder, Path):
        yield
        return
    place.make_folders(folder)
    try:
        with lock.hold(folder / "lock", dataset.folder):
            for leftover in place.leftovers(folder):
                place.remove(leftover)
            yield
    except DatasetInUse as error:
        told = f"{dataset.folder}: {error.by} is checking this dataset; wait until it is done, then check again"
        raise DatasetInUse(told, error.by) from None
