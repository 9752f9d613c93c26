"""One run at a time holds a dataset: an flock, which the kernel releases when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from fluxbatch.dataset.files import storage_error
from fluxbatch.errors import DatasetInUse


@contextmanager
def hold(path: Path, of: object | None = None) -> Iterator[None]:
    """Hold the lock file `of` a dataset (None: the one whose folder it lies in) for the block. DatasetInUse names the
    process and the host that hold it."""
    try:
        file = path.open("a+b", buffering=0)  # a buffer would be written again, and fail again, when it is closed
    except OSError as error:
        raise storage_error(path, error, "could not be opened") from error
    with file:
        _lock(file, path, of or path.parent.parent)
        _sign(file, path)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # who held it is of interest only while it is held
                file.truncate(0)


def _sign(file: IO[bytes], path: Path) -> None:
    try:
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "host": platform.node()}).encode())
    except OSError as error:
        raise storage_error(path, error) from error


def held_by(path: Path) -> str | None:
    """The process that holds the lock file now; None: there is none. One that was given back is empty, and is not
    touched."""
    try:
        with path.open("rb", buffering=0) as file:
            return _holder(file) if file.read(1) and _is_locked(file) else None
    except OSError:  # never held, or not ours to look at
        return None


def _is_locked(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _lock(file: IO[bytes], path: Path, of: object) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise in_use(of, _holder(file)) from None
    except OSError as error:
        raise storage_error(path, error, "could not be locked") from error


def in_use(folder: object, by: str) -> DatasetInUse:
    """What is said to who would hold a dataset that another holds."""
    return DatasetInUse(
        f"{folder}: {by} is working on this dataset; wait until it is done, or stop it (Ctrl-C), then run the same "
        "command again (or let it wait by itself: --if-running wait)",
        by,
    )


def _holder(file: IO[bytes]) -> str:
    file.seek(0)
    try:
        told = json.loads(file.read())
        return f"process {told['pid']} on {told['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
