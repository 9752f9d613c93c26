"""One picture of a dataset by its key or its row's id, without reading the part that it stands in.

The keys of all parts are read once. A row group is read once, a few rows at a time, when its first picture is asked
for: where each picture's bytes lie in the file is kept (they lie there plain and whole), so that every later one is a
seek and a read. What is handed out has the hash that stands beside it.
"""

from __future__ import annotations

import hashlib
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyarrow.parquet as pq

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.parts import UNREADABLE, opened
from fluxbatch.dataset.place import Place, place_of
from fluxbatch.dataset.quarantine import Damaged
from fluxbatch.dataset.shards import PICTURES
from fluxbatch.errors import StorageError, UsageError
from fluxbatch.manifest.values import Unusable, shown

DIGITS_MIN = 8
KEYS_SHOWN = 4
ID = "id="

_ROWS_PICTURES = 32
_GAP_BYTES = 64 * 1024
"""Between two pictures stand a length and, at times, the head of a page: far less than this."""


class Group(NamedTuple):
    """A row group: its part's file, its number in that, and the number of its first row, as whoever asks counts."""

    path: Place
    number: int
    first: int


class _Spot(NamedTuple):
    """Where a picture's bytes lie in its part, and their hash. `start` is None where they were not found there."""

    start: int | None
    size: int
    sha256: str


class Contents:
    """The bytes of pictures by where they stand. A row group is looked through once, when its first one is asked for.
    For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spots: dict[Group, Sequence[_Spot]] = {}

    def get(self, group: Group, row: int) -> bytes:
        """The picture of a row (by the same count as the group's first one), as its hash says that it was written.
        Damaged and StorageError are the disk's."""
        with self._lock:
            if group not in self._spots:
                self._spots[group] = _spots_of(group)
            spot = self._spots[group][row - group.first]
        content = _read(group.path, spot) if spot.start is not None else _read_row(group, row - group.first)
        if hashlib.sha256(content).hexdigest() != spot.sha256:
            raise Damaged(f"{group.path}: a picture is not what was written; `fluxbatch verify --repair` mends it")
        return content


class Pictures:
    """The sealed pictures of one dataset, opened for reading. For any thread.

    Needs some 150 bytes of memory for each picture that the dataset has.
    """

    def __init__(self, folder: Place) -> None:
        self._dataset = Dataset.open(folder)
        self._lock = threading.Lock()
        self._groups: list[Group] = []
        self._contents = Contents()
        self._by_id: dict[str, list[int]] | None = None
        keys: list[str] = []
        for group, found in self._columns("key"):
            self._groups.append(group)
            keys.extend(found)
        self._rows = sorted(range(len(keys)), key=keys.__getitem__)
        self._keys = [keys[row] for row in self._rows]

    def get(self, wanted: str) -> tuple[bytes, str]:
        """The picture and its whole key. `wanted` is a key, at least 8 of its first digits, or `id=ID`. Unusable says
        why there is no such picture; StorageError and Damaged are the disk's."""
        place = self._place(wanted)
        row = self._rows[place]
        number = bisect_right(self._groups, row, key=lambda group: group.first) - 1
        return self._contents.get(self._groups[number], row), self._keys[place]

    def _place(self, wanted: str) -> int:
        """The one picture that is wanted, as its place among the sorted keys."""
        found = self._named(wanted.removeprefix(ID)) if wanted.startswith(ID) else self._keyed(wanted.lower())
        if len(found) == 1:
            return found[0]
        if not found:
            raise self._missing(wanted)
        keys = ", ".join(self._keys[place][:16] for place in found[:KEYS_SHOWN])
        more = ", …" if len(found) > KEYS_SHOWN else ""
        problem = f"{self._dataset.folder} has {len(found)} pictures for {shown(wanted)}"
        raise Unusable(problem, f"name one by its key: {keys}{more}")

    def _keyed(self, start: str) -> Sequence[int]:
        if not DIGITS_MIN <= len(start) <= 64 or set(start) - set("0123456789abcdef"):
            remedy = f"give its 64 hex digits, or {DIGITS_MIN} or more of the first ones, or id=ID"
            raise Unusable(f"{shown(start)} is no key", remedy)
        return range(bisect_left(self._keys, start), bisect_right(self._keys, start, key=lambda key: key[: len(start)]))

    def _named(self, name: str) -> Sequence[int]:
        with self._lock:
            if self._by_id is None:
                self._by_id = {}
                places = {row: place for place, row in enumerate(self._rows)}
                for group, names in self._columns("id"):
                    for row, one in enumerate(names, group.first):
                        self._by_id.setdefault(one, []).append(places[row])
            return self._by_id.get(name, ())

    def _missing(self, wanted: str) -> Unusable:
        folder = self._dataset.folder
        status = f"see `fluxbatch status {folder}`"
        if not wanted.startswith(ID) and any(self._dataset.spool_folder.glob(f"{wanted.lower()}*.row")):
            return Unusable(
                f"{shown(wanted)} of {folder} is in no part yet", f"let its run end, or run it again; {status}"
            )
        return Unusable(f"{folder} has no picture {shown(wanted)}", f"take a key from its parts; {status}")

    def _columns(self, name: str) -> Iterator[tuple[Group, list[str]]]:
        """A column of texts, row group by row group."""
        first = 0
        for part in self._dataset.parts:
            path = self._dataset.path(part)
            with opened(path) as file:
                for number in range(file.num_row_groups):
                    values = _values(path, file, number, name)
                    yield Group(path, number, first), values
                    first += len(values)


def contents_of(path: Place, rows: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """Some of a part's pictures, by their row in it (in order, each once): a few in memory at a time. Row groups that
    have none of them are not read. Damaged when the part cannot be read."""
    with opened(path) as file:
        first = 0
        for number in range(file.num_row_groups):
            behind = first + file.metadata.row_group(number).num_rows
            wanted = set(rows[bisect_left(rows, first) : bisect_left(rows, behind)])
            if wanted:
                contents = _contents(Group(path, number, first), file)
                yield from ((row, content) for row, content in enumerate(contents, first) if row in wanted)
            first = behind


class Earlier:
    """Reads pictures out of earlier datasets; each is opened once. For any thread."""

    def __init__(self) -> None:
        self._opened: dict[Place, Pictures] = {}
        self._lock = threading.Lock()

    def __call__(self, folder: Path | str, wanted: str) -> tuple[bytes, str]:
        """The picture's bytes and its whole key. Unusable says what is wrong, and what to do."""
        try:
            where = place_of(folder)
            with self._lock:
                if where not in self._opened:
                    self._opened[where] = Pictures(where)
            return self._opened[where].get(wanted)
        except Unusable:  # says it all
            raise
        except (UsageError, StorageError) as error:
            problem = f"the picture {shown(wanted)} cannot be read: {error}"
            raise Unusable(problem, f"see `fluxbatch status {folder}`") from None


def _spots_of(group: Group) -> Sequence[_Spot]:
    """Where the pictures of a row group lie: each is looked for behind the one before."""
    spots = []
    with opened(group.path) as file, group.path.open("rb") as raw:
        hashes = _values(group.path, file, group.number, "sha256")
        at, end = _chunk(file, group.number)
        for content, sha256 in zip(_contents(group, file), hashes, strict=True):
            start = _found(raw, content, at, end)
            at = at if start is None else start + len(content)
            spots.append(_Spot(start, len(content), sha256))
    return spots


def _contents(group: Group, file: pq.ParquetFile) -> Iterator[bytes]:
    try:
        for batch in file.iter_batches(
            _ROWS_PICTURES, row_groups=[group.number], columns=[PICTURES], use_threads=False
        ):
            for content in batch.column("image").field("bytes"):
                yield content.as_py() or b""
    except UNREADABLE as error:
        raise Damaged(f"{group.path}: {error}") from error


def _chunk(file: pq.ParquetFile, number: int) -> tuple[int, int]:
    """Where the pages of a row group's pictures begin and end."""
    group = file.metadata.row_group(number)
    columns = (group.column(index) for index in range(group.num_columns))
    chunk = next(column for column in columns if column.path_in_schema == PICTURES)
    return chunk.data_page_offset, chunk.data_page_offset + chunk.total_compressed_size


def _found(raw: BinaryIO, content: bytes, at: int, end: int) -> int | None:
    raw.seek(at)
    index = raw.read(min(end - at, len(content) + _GAP_BYTES)).find(content)
    return None if index < 0 else at + index


def _read(path: Place, spot: _Spot) -> bytes:
    assert spot.start is not None
    try:
        with path.open("rb") as file:
            file.seek(spot.start)
            return file.read(spot.size)
    except OSError as error:
        raise Damaged(f"{path}: {error}") from error


def _read_row(group: Group, row: int) -> bytes:
    """By reading its row group: for a part that was written again in another way."""
    with opened(group.path) as file:
        for number, content in enumerate(_contents(group, file)):
            if number == row:
                return content
    raise Damaged(f"{group.path}: row {row} of row group {group.number} cannot be read")


def _values(path: Place, file: pq.ParquetFile, number: int, name: str) -> list[str]:
    try:
        values: list[str] = file.read_row_group(number, columns=[name]).column(name).to_pylist()
    except UNREADABLE as error:
        raise Damaged(f"{path}: {error}") from error
    return values
