"""The only place that syncs and renames: a file is there whole or not at all, and stays after power loss.

The order is the one SQLite, LevelDB and PostgreSQL agree on: temp file in the same folder, write, sync, rename, sync
of the folder. A failed sync is final and never retried: Linux marks the pages clean, so a second sync would lie.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from fluxbatch.errors import StorageError

_WRITER = f"{os.getpid()}-{secrets.token_hex(4)}"  # tells the temp files of this life from those of dead ones
_lost: dict[Path, str] = {}  # folders whose sync has failed, and what was said of it
_syncing = threading.Lock()
_TEMP_NAME = re.compile(r"\..+\.[0-9]+-[0-9a-f]+-[0-9]+\.tmp")  # a user's own .x.tmp in the folder is not ours
_number = itertools.count()  # next() on it is atomic, so threads never share a name

_SYNCS = 16

_FULL = "free some space there, then run the same command again: it goes on from what is kept"
_REMEDIES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: "the file system is read-only; make it writable, then run the same command again",
    errno.EACCES: "give yourself the right to write there, then run the same command again",
    errno.EIO: "the disk reports an error; look at its health before you run again",
}


def storage_error(path: Path, error: OSError, what: str = "could not be written") -> StorageError:
    """The error for a user: which path, what the system said, and what to do."""
    remedy = _REMEDIES.get(error.errno or 0, "look at the disk, then run the same command again")
    return StorageError(f"{path}: {what}: {error.strerror or error}; {remedy}")


class Draft:
    """A file that is not there yet: write to `file`, then `keep` it under its name or `drop` it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._temp = path.parent / f".{path.name}.{_WRITER}-{next(_number)}.tmp"
        try:
            self.file: BinaryIO = self._temp.open("xb")
        except OSError as error:
            raise storage_error(path, error) from error

    def keep(self) -> None:
        """Sync, rename, sync of the folder. StorageError when the disk would not; then nothing has the name."""
        try:
            self.file.flush()
            _sync(self.file.fileno())
            self.file.close()
            self._temp.replace(self.path)
        except OSError as error:
            self.drop()
            raise storage_error(self.path, error) from error
        sync_folder(self.path.parent)

    def drop(self) -> None:
        """Forget what was written. Never raises for the disk: it is called while another error is on its way."""
        for step in (self.file.close, self._temp.unlink):
            try:
                step()
            except OSError:
                continue  # left behind, it is a leftover that the next start removes


def put_atomic(path: Path, content: bytes | Callable[[BinaryIO], None]) -> None:
    """Write `path` whole or not at all, durably. StorageError names the path, the reason and what to do."""
    draft = Draft(path)
    with ExitStack() as undo:
        undo.callback(draft.drop)
        with told(path):
            if callable(content):
                content(draft.file)
            else:
                draft.file.write(content)
        undo.pop_all()
    draft.keep()


@contextmanager
def told(path: Path) -> Iterator[None]:
    """What the system refuses in the block becomes a StorageError about `path`."""
    try:
        yield
    except OSError as error:
        raise storage_error(path, error) from error


def move(source: Path, target: Path) -> None:
    """Rename within one file system, durably; `target` must not exist, so that nothing is ever overwritten.

    The folder it goes to is synced first: until then the old name must not be gone for good.
    """
    if target.exists():
        raise StorageError(f"{target} is there already; {source} was not moved over it")
    try:
        source.replace(target)
    except OSError as error:
        raise storage_error(target, error) from error
    sync_folder(target.parent)
    if source.parent != target.parent:
        sync_folder(source.parent)


def remove(path: Path) -> None:
    """Remove a file, if it is there. Not synced: whoever removes many syncs the folder once."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(path, error, "could not be removed") from error


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable. EINVAL (a file system that cannot) is let pass, as PostgreSQL does.

    A folder whose sync has failed is not synced again until `trust`: the second one would say that all is well. One at
    a time, so that a thread that waits while a sync fails hears of it.
    """
    with _syncing:
        if (said := _lost.get(path.absolute())) is not None:
            raise StorageError(said)
        try:
            _sync_names(path)
        except StorageError as failed:
            _lost[path.absolute()] = str(failed)
            raise


def _sync_names(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise storage_error(path, error, "could not be opened") from error
    try:
        _sync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF):
            raise storage_error(path, error, "could not be synced") from error
    finally:
        os.close(descriptor)


def trust(folder: Path) -> None:
    """A new run in this folder builds on what is there: an earlier one's failed syncs are not held against it."""
    whole = folder.absolute()
    for lost in [lost for lost in _lost if lost.is_relative_to(whole) or whole.is_relative_to(lost)]:
        _lost.pop(lost, None)


def _sync(descriptor: int) -> None:
    os.fsync(descriptor)  # noqa: TID251 - this is the place


def make_folders(path: Path) -> None:
    """Make a folder and its parents, durably.

    The last one that is there may have been made by a run that was killed before it could sync the name; what is put
    into it would be lost with it. So its name is synced as well: always one more sync than folders are made.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
    found = missing[-1].parent if missing else path
    if os.access(found.parent, os.R_OK):  # no folder of ours was made where we may not read: it is older than the run
        sync_folder(found.parent)
    for folder in reversed(missing):
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise storage_error(folder, error, "could not be made") from error
        sync_folder(folder.parent)


def write_new(path: Path, content: bytes) -> None:
    """Write a file that nobody looks for yet, in a folder that is made if need be. It lasts after `sync_many`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise storage_error(path, error) from error


def sync_many(paths: Sequence[Path]) -> None:
    """Make written files and their names durable: some at a time, because a disk takes many syncs as one."""
    with ThreadPoolExecutor(_SYNCS, thread_name_prefix="sync") as pool:
        for _ in pool.map(_sync_file, paths):
            pass
    for folder in sorted({path.parent for path in paths}):
        sync_folder(folder)


def _sync_file(path: Path) -> None:
    try:
        with path.open("rb") as file:
            _sync(file.fileno())
    except OSError as error:
        raise storage_error(path, error, "could not be synced") from error


def remove_tree(folder: Path) -> None:
    """Remove a folder and all that is in it."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_error(folder, error, "could not be removed") from error


def leftovers(folder: Path) -> Iterator[Path]:
    """Temp files in `folder` that this process did not make. Only under the lock are their writers surely dead."""
    for path in sorted(folder.glob(".*.tmp")):
        if _TEMP_NAME.fullmatch(path.name) and f".{_WRITER}-" not in path.name:
            yield path
