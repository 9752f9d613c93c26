"""Where a dataset lies, and what is done there: a folder of a disk (files.py), or a prefix of a store (objects.py).

| | on a disk | in a store |
|---|---|---|
| put | temp file, sync, rename, sync of the folder | one put |
| a part is published by | the catalogue, rewritten whole | a catalogue entry, an object of its own |
| one run at a time | a lock in the folder | a lock on this machine, the ledger's lease between machines |
| made once | the same lock | claims, of which one may stand (claim.py) |
| set aside | renamed | copied, then removed |

What is no part of the promise stays on this machine: drafts (failures.parquet until it is put), and the originals of
references that were fetched (`kept.py`).
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias, TypeVar

from fluxbatch.dataset import files
from fluxbatch.dataset.objects import ObjectPath, Source, Upload
from fluxbatch.dataset.stores import SCHEMES, store_error
from fluxbatch.errors import StorageError, UsageError

T = TypeVar("T")
U = TypeVar("U")

Place: TypeAlias = Path | ObjectPath
"""A file or a folder of a dataset."""

ROUND_TRIPS = 32
"""So many requests to a store at once: each takes tens of milliseconds, and nearly no CPU."""

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/{1,2}(.*)", re.DOTALL)
_KEY = re.compile(r"[^/?#@:\s]+(/[^/?#]+)*")


def place_of(given: str | Place) -> Place:
    """What the user wrote, as a place: `s3://bucket/prefix` (gs://, az://) or a folder.

    A Path that was made of an address has lost a slash ("s3:/bucket"): it is given back. UsageError for an address
    that cannot be one; it does not repeat it, because people write keys into addresses.
    """
    if isinstance(given, ObjectPath):
        return given
    match = _ADDRESS.fullmatch(str(given))
    if match is None or (match[1].lower() not in SCHEMES and "://" not in str(given)):
        return Path(given)
    scheme, key = match[1].lower(), match[2].rstrip("/")
    if scheme not in SCHEMES:
        raise UsageError(f"{scheme}:// is no place for a dataset; give a folder, or s3://, gs:// or az://BUCKET/PREFIX")
    if not _KEY.fullmatch(key) or {".", ".."} & set(key.split("/")):
        raise UsageError(
            f"the address that begins with {scheme}:// is not one of a dataset; write {scheme}://BUCKET/PREFIX. "
            "Keys and endpoints come from the environment, never from an address"
        )
    return ObjectPath(scheme, key)


def storage_error(path: Place, error: OSError, what: str = "could not be written") -> StorageError:
    return (
        store_error(str(path), error, what) if isinstance(path, ObjectPath) else files.storage_error(path, error, what)
    )


@contextmanager
def told(path: Place) -> Iterator[None]:
    """What the system refuses in the block becomes a StorageError about `path`."""
    with path.told("could not be written") if isinstance(path, ObjectPath) else files.told(path):
        yield


def draft(path: Place) -> files.Draft | Upload:
    """A file that is not there yet: write to its `file`, then `keep` or `drop` it."""
    return Upload(path) if isinstance(path, ObjectPath) else files.Draft(path)


def put_atomic(path: Place, content: bytes | Callable[[BinaryIO], None]) -> None:
    """Write `path` whole or not at all, durably. StorageError says what to do."""
    if not isinstance(path, ObjectPath):
        files.put_atomic(path, content)
    elif not callable(content):
        path.put(io.BytesIO(content), len(content))
    else:
        upload = Upload(path)
        with ExitStack() as undo:
            undo.callback(upload.drop)
            with told(path):
                content(upload.file)
            upload.keep()


def move(source: Place, target: Place) -> None:
    """Give a file another name; `target` must not exist. In a store it is there twice for a moment, never nowhere."""
    if isinstance(source, Path) and isinstance(target, Path):
        files.move(source, target)
        return
    assert isinstance(source, ObjectPath) and isinstance(target, ObjectPath)  # noqa: PT018 - both are one dataset's
    if target.exists():
        raise StorageError(f"{target} is there already; {source} was not moved over it")
    source.move_to(target)


def remove(path: Place) -> None:
    """Remove a file, if it is there."""
    if isinstance(path, ObjectPath):
        path.remove()
    else:
        files.remove(path)


def sync_folder(path: Place) -> None:
    """Make the names in a folder durable. In a store they are."""
    if isinstance(path, Path):
        files.sync_folder(path)


def make_folders(path: Place) -> None:
    """Make a folder and its parents, durably. A store has none."""
    if isinstance(path, Path):
        files.make_folders(path)


def leftovers(folder: Place) -> Iterator[Path]:
    """Temp files of the dead. In a store there are none: a put that dies leaves nothing to be seen."""
    return files.leftovers(folder) if isinstance(folder, Path) else iter(())


def trust(folder: Place) -> None:
    """A new run builds on what is there, whatever an earlier one's syncs said."""
    if isinstance(folder, Path):
        files.trust(folder)


def name_of(path: Place) -> str:
    """For sorting the files of one folder."""
    return path.name


def below(folder: Place, path: Place) -> str:
    """The path from the dataset's folder on, with slashes, as the catalogue names it."""
    if isinstance(folder, Path) and isinstance(path, Path):
        return path.relative_to(folder).as_posix()
    assert isinstance(folder, ObjectPath) and isinstance(path, ObjectPath)  # noqa: PT018 - both are one dataset's
    return path.relative_to(folder).as_posix()


def source(path: Place) -> Path | Source:
    """What pyarrow reads a Parquet file from."""
    return path.source() if isinstance(path, ObjectPath) else path


def each(where: Place, function: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
    """The results in order: one after the other on a disk, side by side in a store."""
    if isinstance(where, Path):
        yield from map(function, items)
        return
    with ThreadPoolExecutor(ROUND_TRIPS, thread_name_prefix="store") as pool:
        yield from pool.map(function, items)
