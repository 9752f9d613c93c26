"""The dataset as it lies there now: opened once, and again when something came to it while it is looked at."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from fluxbatch.dataset import place
from fluxbatch.dataset.catalogue import CATALOGUE, INNER, Dataset
from fluxbatch.dataset.columns import row_groups
from fluxbatch.dataset.lines import ENTRIES
from fluxbatch.dataset.pictures import Contents, Group
from fluxbatch.dataset.place import Place
from fluxbatch.errors import StorageError
from fluxbatch.query import Rows
from fluxbatch.query.sidecars import FOLDER as SIDECARS
from fluxbatch.view.answers import Answers
from fluxbatch.view.seen import PartSeen, Seen, candidates, see, together, unreadable

STORE_EACH_S = 5.0
"""In a store a look at what is new is three requests: pages that follow quickly on each other share one."""

Row = dict[str, Any]


class Viewed:
    """A dataset as it was opened: its rows, and what is kept of them in memory. For any thread."""

    def __init__(self, dataset: Dataset, before: Viewed | None) -> None:
        """Reads the parts that `before` has not seen. What is wrong with one stands in `complaints`."""
        self.dataset = dataset
        self.rows = Rows(dataset)
        self.complaints: list[str] = []
        self.parts: list[PartSeen] = list(self._look(before))
        self.seen: Seen = together(self.parts)
        self.answers = Answers(self.rows, self.seen)
        self._firsts = list(accumulate((part.rows for part in dataset.parts), initial=0))
        self._groups: dict[int, Sequence[range]] = {}

    @property
    def name(self) -> str:
        return self.dataset.folder.resolve().name

    def _look(self, before: Viewed | None) -> Iterator[PartSeen]:
        columns = candidates(self.rows)
        known = {}
        if before is not None and before.rows.schema.equals(self.rows.schema) and not self.rows.late_columns:
            known = {one.part: one for one in before.parts if one.keys is not None}
        first = 0
        for part in self.dataset.parts:
            try:
                yield known.get(part) or see(self.rows, part, first, columns)
            except StorageError as error:
                self.complaints.append(str(error))
                yield unreadable(part)
            first += part.rows

    def row(self, number: int, columns: Sequence[str] | None = None) -> Row:
        [row] = self.at([number], columns)
        return row

    def at(self, numbers: Sequence[int], columns: Sequence[str] | None = None) -> Iterator[Row]:
        """Rows by their numbers, in the order given. Damaged and StorageError as for `Rows`."""
        for batch in self.rows.at(numbers, columns):
            yield from batch.to_pylist()

    def name_of(self, number: int) -> tuple[str, int]:
        """What nothing but this picture's bytes has: its part's hash, and its row there."""
        index = bisect_right(self._firsts, number) - 1
        return self.dataset.parts[index].sha256, number - self._firsts[index]

    def place(self, number: int) -> tuple[Group, int]:
        """The row group that a row stands in, and its number in the part, as the group counts."""
        index = bisect_right(self._firsts, number) - 1
        path, row = self.dataset.path(self.dataset.parts[index]), number - self._firsts[index]
        if index not in self._groups:
            self._groups[index] = row_groups(path, self.dataset.schema)
        at, rows = next((at, rows) for at, rows in enumerate(self._groups[index]) if row in rows)
        return Group(path, at, rows.start), row


class Viewer:
    """Opens the dataset, and opens it again when it is asked for and has changed. For any thread."""

    def __init__(self, folder: Place, clock: Callable[[], float] = time.monotonic) -> None:
        """DatasetError when there is no dataset."""
        self.folder = folder
        self.contents = Contents()
        self._clock = clock
        self._lock = threading.Lock()
        self._signature: object = None
        self._looked_at_s = clock()
        self._viewed = self._open(None)

    def last(self) -> Viewed:
        """As it was last opened: for the pictures of a page, which was just made of it."""
        return self._viewed

    def now(self) -> Viewed:
        """With all that is sealed by now. DatasetError or StorageError when it is there no longer."""
        with self._lock:
            if not isinstance(self.folder, Path) and self._clock() - self._looked_at_s < STORE_EACH_S:
                return self._viewed
            self._looked_at_s = self._clock()
            if self._signature is None or self._signature != _signature(self.folder):
                before = self._viewed
                self._viewed = self._open(before)
                if not set(before.dataset.parts) <= set(self._viewed.dataset.parts):
                    self.contents = Contents()  # a part was mended: its pictures may lie elsewhere in it
            return self._viewed

    def _open(self, before: Viewed | None) -> Viewed:
        signature, self._signature = _signature(self.folder), None  # if it fails, the next one tries again
        viewed = Viewed(Dataset.open(self.folder), before)
        self._signature = signature
        return viewed


def _signature(folder: Place) -> object:
    """Another one when something was listed, removed or added."""
    with place.told(folder):
        catalogue = _stat(folder / CATALOGUE)
        entries = sorted(path.name for path in (folder / ENTRIES).glob("*.json"))
        late = sorted((path.name, _stat(path)) for path in (folder / INNER / SIDECARS).glob("*.parquet"))
    return catalogue, entries, late


def _stat(path: Place) -> tuple[int, float, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime, getattr(found, "st_ino", 0)
