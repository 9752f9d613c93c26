"""May a run do in a store what it will have to do? Tried with one small object, before money is spent."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TypeVar

from fluxbatch.dataset import place
from fluxbatch.dataset.objects import ObjectPath
from fluxbatch.errors import StorageError

T = TypeVar("T")
PROBE = ".fluxbatch/probe"
_CONTENT = b"fluxbatch tries whether it may put, read, list and delete here; this may be deleted\n"


def try_rights(folder: ObjectPath) -> str:
    """Put, list, read back and delete one object below the address. What was tried, in words.

    StorageError says which of these could not be done and why, or what the store does not keep to. An exclusive put
    (only if absent) is not tried: nothing needs one.
    """
    probe = folder / PROBE / secrets.token_hex(8)
    _tried("put", lambda: place.put_atomic(probe, _CONTENT))
    names = _tried("list", lambda: [one.name for one in (folder / PROBE).glob("*")])
    content = _tried("get", probe.read_bytes)
    _tried("delete", probe.remove)
    left = _tried("list", lambda: [one.name for one in (folder / PROBE).glob("*")])
    if probe.name not in names or content != _CONTENT or probe.name in left:
        raise StorageError(
            f"{folder}: what was put there is not listed and read back at once, or is still listed when it is deleted; "
            "take a store that is strongly consistent (S3, R2, GCS, Azure Blob Storage, MinIO)"
        )
    return f"{folder} lets these keys put, list, get and delete"


def _tried(right: str, step: Callable[[], T]) -> T:
    try:
        return step()
    except FileNotFoundError as error:
        raise StorageError(f"{error}; what was put is not there") from None
    except StorageError as error:
        raise StorageError(f"cannot {right} there: {error}") from None
