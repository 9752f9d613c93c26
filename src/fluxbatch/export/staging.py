"""Where an export grows until it is whole: `TARGET.unfinished`, beside the folder that it will be.

Nobody finds half an export under the name that was asked for: the folder gets it when all is written and synced. What
dies before goes on where it was, because the journal says how many units are done, and each is made from the dataset
alone. A finished export keeps a file that says what it is: so that it is known again, and replaced only when it is one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fluxbatch.dataset import files, lock
from fluxbatch.dataset.place import Place
from fluxbatch.errors import DatasetInUse, UsageError

RECORD = ".fluxbatch-export.json"
"""In a finished export: what it was made of, and how."""
ROOM = ".fluxbatch-export"
"""In an unfinished one: journal, lock, and pieces of files that are put together at the end."""
JOURNAL = "journal.json"
UNFINISHED = ".unfinished"
REPLACED = ".replaced"
_OTHER = "give another folder, or --force to put this export in its place"


@dataclass(frozen=True, slots=True)
class Record:
    """What stands in a finished export: what its bytes follow from, and what is in it."""

    facts: Mapping[str, Any]
    pictures: int
    size_bytes: int
    files: int
    unmarked: int


def record_of(folder: Path) -> Record | None:
    """That of a finished export; None: there is none."""
    found = _read(folder / RECORD)
    try:
        return None if found is None else Record(**found)
    except TypeError:
        return None


def is_finished(folder: Path, facts: Mapping[str, Any]) -> bool:
    """Whether the very export that is asked for is there already."""
    record = record_of(folder)
    return record is not None and record.facts == facts


def check_folder(target: Path, dataset: Place) -> None:
    """UsageError when an export may not be there, whatever is there now."""
    if isinstance(dataset, Path):
        ours, theirs = target.resolve(), dataset.resolve()
        if ours == theirs or ours in theirs.parents or theirs in ours.parents:
            raise UsageError(f"{target} lies in the dataset or around it; give a folder beside it")
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target} is a file; give a folder that is not there yet")


def check_target(target: Path, *, force: bool) -> None:
    """UsageError when something is there: nothing is ever replaced but an export, and that only by `force`."""
    for folder, what in ((target, _OTHER), (_beside(target, UNFINISHED), "move it away"),
                         (_beside(target, REPLACED), "move it away")):  # fmt: skip
        if not _is_ours(folder):
            raise UsageError(f"{folder} has files, and is no export of fluxbatch: {what.partition(', or')[0]}")
    if target.is_dir() and _read(target / RECORD) is not None and not force:
        raise UsageError(f"{target} has another export, or one of the dataset as it was; {_OTHER}")


def _is_ours(folder: Path) -> bool:
    """Whether there is nothing to lose: no folder, an empty one, or one that an export has written."""
    if not folder.is_dir():
        return True
    names = {path.name for path in folder.iterdir()}
    return not names or RECORD in names or ROOM in names


class Staging:
    """An export on its way. `units` are done, and are not made again."""

    def __init__(self, target: Path, facts: Mapping[str, Any]) -> None:
        self.target = target
        self.folder = _beside(target, UNFINISHED)
        self.units = 0
        self.unmarked = 0
        """Pictures of these units that could not be marked."""
        self.is_whole = False
        """Whether all is written, and it only has to be given its name."""
        self._facts = dict(facts)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Go on with what is there, or begin anew when it was of something else. UsageError when another is at it."""
        files.trust(self.folder)
        files.make_folders(self.folder / ROOM)
        try:
            with lock.hold(self.folder / ROOM / "lock", self.target):
                self._take_up()
                yield
        except DatasetInUse as error:
            raise UsageError(f"{self.target}: {error.by} is exporting to it; wait until it is done") from None

    def _take_up(self) -> None:
        self.is_whole = is_finished(self.folder, self._facts)
        if self.is_whole:
            return
        found = _read(self.folder / ROOM / JOURNAL)
        if found is not None and found.get("facts") == self._facts:
            self.units, self.unmarked = int(found["units"]), int(found["unmarked"])
            for path in (path for folder in self._folders() for path in files.leftovers(folder)):
                files.remove(path)
            return
        for path in self.folder.iterdir():
            if path.name != ROOM:
                files.remove_tree(path) if path.is_dir() else files.remove(path)
        for path in (self.folder / ROOM).iterdir():
            if path.name != "lock":
                files.remove(path)
        self.commit(0, 0)

    def _folders(self) -> list[Path]:
        return [self.folder, *(path for path in self.folder.iterdir() if path.is_dir())]

    def _files(self) -> Iterator[Path]:
        for path in self.folder.rglob("*"):
            if path.is_file() and ROOM not in path.parts and path.name != RECORD:
                yield path

    def path(self, name: str) -> Path:
        """A file of the export."""
        return self.folder / name

    def piece(self, unit: int) -> Path:
        """What a unit leaves for a file that is put together at the end."""
        return self.folder / ROOM / f"piece-{unit:06}"

    def commit(self, units: int, unmarked: int) -> None:
        """So many units are whole and synced, with so many pictures in them that could not be marked."""
        text = json.dumps({"facts": self._facts, "units": units, "unmarked": unmarked})
        files.put_atomic(self.folder / ROOM / JOURNAL, text.encode())
        self.units, self.unmarked = units, unmarked

    def publish(self, pictures: int) -> None:
        """Give the folder its name. An export that it replaces is gone only when this one is in its place."""
        sizes = [path.stat().st_size for path in self._files()]
        record = Record(self._facts, pictures, sum(sizes), len(sizes), self.unmarked)
        files.put_atomic(self.folder / RECORD, json.dumps(asdict(record), indent=1).encode())
        for path in (self.folder / ROOM).iterdir():
            files.remove(path)
        try:
            (self.folder / ROOM).rmdir()
        except OSError as error:
            raise files.storage_error(self.folder, error) from error
        settle(self.target)


def settle(target: Path) -> None:
    """Put what is whole in its place; also what somebody who died on the way has left."""
    unfinished, replaced = _beside(target, UNFINISHED), _beside(target, REPLACED)
    if unfinished.is_dir() and (unfinished / RECORD).is_file() and not (unfinished / ROOM).exists():
        if target.is_dir():
            files.remove_tree(replaced)
            files.move(target, replaced)
        files.move(unfinished, target)
    if replaced.is_dir() and target.is_dir():
        files.remove_tree(replaced)


def _beside(target: Path, ending: str) -> Path:
    return target.with_name(f"{target.name}{ending}")


def _read(path: Path) -> dict[str, Any] | None:
    """A JSON object of ours; None: there is none that can be read."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        return None
    except OSError as error:
        raise files.storage_error(path, error, "could not be read") from error
    return found if isinstance(found, dict) else None
