"""Bytes that were paid for are never deleted because they look wrong: they are set aside, with the reason beside."""

from __future__ import annotations

from dataclasses import dataclass

from fluxbatch.dataset import place
from fluxbatch.dataset.place import Place
from fluxbatch.errors import StorageError

REASON = ".reason"
"""How the file beside is called that says why."""


class Damaged(StorageError):
    """What is on the disk is not what was written."""


@dataclass(frozen=True, slots=True)
class SetAside:
    """A file that was moved to the quarantine: where it lies now, and why."""

    path: Place
    reason: str


def set_aside(path: Place, quarantine: Place, reason: str) -> SetAside:
    """Move a file into `quarantine` under a free name; the reason stands in a text file beside it.

    The reason is written first, so that no file lies there unexplained, whatever dies when.
    """
    place.make_folders(quarantine)
    target = _free_name(quarantine, path.name)
    place.put_atomic(target.with_name(f"{target.name}{REASON}"), f"{path}\n{reason}\n".encode())
    place.move(path, target)
    return SetAside(target, reason)


def _free_name(quarantine: Place, name: str) -> Place:
    target, number = quarantine / name, 1
    while target.exists():
        number += 1
        target = quarantine / f"{name}.{number}"
    return target
