"""Where a reference comes from: a file, an address, or a picture of an earlier dataset. One opener for each.

What lies outside of the manifest's folder is reached through what is handed in from above (`Places`): the manifest
knows no network and no dataset. By default nothing is handed in, and such a reference is a complaint.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from fluxbatch.manifest.values import Unusable, shown

BYTES_MAX = 50_000_000
"""No original is larger."""

ENDINGS = (".jpeg", ".jpg", ".png", ".webp")
"""Of the files in a folder, these are its pictures."""

DATASET = "dataset:"
FOLDER = "folder:"


class Fetch(Protocol):
    """Gets what an http or https address has."""

    def __call__(self, address: str) -> bytes:
        """The whole body, at most BYTES_MAX. Unusable says what is wrong and what to do. Called from any thread, and
        once for each address: what comes back is kept. It need not look whether the bytes are a picture."""
        ...


class Earlier(Protocol):
    """Gets a picture of an earlier dataset."""

    def __call__(self, folder: Path, wanted: str) -> tuple[bytes, str]:
        """The picture's bytes, verified by their hash, and its whole key. `wanted` is a key (or eight or more of its
        first digits) or `id=…`. Unusable says what is wrong and what to do."""
        ...


class Kept(Protocol):
    """Originals that were fetched once, by what they were fetched from."""

    def find(self, source: str) -> Path | None:
        """Where the original of this source lies, if it was kept and is still what it was."""
        ...

    def keep(self, source: str, content: bytes, sha256: str) -> Path | None:
        """Keep an original durably and say where; None when nothing is kept."""
        ...


class NothingKept:
    """No place to keep originals in: they stay in memory."""

    def find(self, source: str) -> Path | None:
        return None

    def keep(self, source: str, content: bytes, sha256: str) -> Path | None:
        return None


def no_address(address: str) -> bytes:
    """Addresses are off."""
    raise Unusable(f"{shown(address)} is an address", "download the picture and give its path")


def no_dataset(folder: Path, wanted: str) -> tuple[bytes, str]:
    """No datasets are within reach."""
    raise Unusable("pictures of datasets cannot be read here", "give the picture's path or bytes")


@dataclass(frozen=True, slots=True)
class Places:
    """What a manifest may reach beside its own files."""

    fetch: Fetch = no_address
    earlier: Earlier = no_dataset
    kept: Kept = field(default_factory=NothingKept)


FILES_ONLY = Places()


class Found(NamedTuple):
    """An original: its path or bytes, what the dataset calls its source, and the name to keep the bytes under."""

    place: Path | bytes
    source: str | None
    keep_as: str | None = None


def find_original(source: str | bytes, folder: Path, places: Places) -> Found:
    """The original that a cell names; `folder` is the manifest's. Unusable says why it cannot be had."""
    if isinstance(source, bytes):
        return Found(source, None)
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", source)
    if scheme is None:
        return Found(located(source, folder), source)
    return _OPENERS.get(scheme.group().lower(), _unknown)(source, folder, places)


def _address(source: str, folder: Path, places: Places) -> Found:
    kept = places.kept.find(source)
    return Found(places.fetch(source), source, keep_as=source) if kept is None else Found(kept, source)


def _of_dataset(source: str, folder: Path, places: Places) -> Found:
    """From the dataset itself while it is there: it may have been made anew. What was kept stands in for it."""
    path, _, wanted = source[len(DATASET) :].partition("#")
    if not path or not wanted:
        raise Unusable(f"{shown(source)} names no picture", "write dataset:PATH#KEY, or dataset:PATH#id=ID")
    keep_as = f"{DATASET}{os.path.normpath(folder / path)}#{wanted}"
    try:
        content, key = places.earlier(Path(os.path.normpath(folder / path)), wanted)
    except Unusable:
        if (kept := places.kept.find(keep_as)) is None:
            raise
        return Found(kept, source)
    return Found(content, f"{DATASET}{path}#{key}", keep_as)


def in_folder(path: str, folder: Path) -> tuple[str, ...]:
    """The paths of the pictures in a folder, in the order of their names; what is none by its name is left out."""
    inside = path.removeprefix(FOLDER)
    try:
        found = sorted(one.name for one in located(inside, folder).iterdir() if _is_picture(one))
    except FileNotFoundError:
        raise Unusable(f"{shown(inside)} does not exist", "correct the path (it is relative to the manifest)") from None
    except NotADirectoryError:
        raise Unusable(f"{shown(inside)} is no folder", "give single pictures in input_image_0, …") from None
    except OSError as error:
        raise Unusable(f"{shown(inside)} cannot be read ({error.strerror or error})", "check the folder") from None
    if not found:
        raise Unusable(
            f"{shown(inside)} has no picture", f"put pictures there ({', '.join(ENDINGS)}), or leave it empty"
        )
    return tuple(os.path.join(inside, name) for name in found)  # noqa: PTH118 - it stays as it was written


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS and not path.name.startswith(".") and path.is_file()


def _folder(source: str, folder: Path, places: Places) -> Found:
    raise Unusable(f"{shown(source)} is a folder", "give a folder in the column input_images")


def _unknown(source: str, folder: Path, places: Places) -> Found:
    raise Unusable(f"{shown(source)} is an address", "download the picture and give its path")


_OPENERS: Mapping[str, Callable[[str, Path, Places], Found]] = {
    "http:": _address,
    "https:": _address,
    DATASET: _of_dataset,
    FOLDER: _folder,
}


def located(path: str, folder: Path) -> Path:
    """Where a reference's path leads: from the manifest's folder, and not out of it; or anywhere, if absolute."""
    if os.path.isabs(path):  # noqa: PTH117 - what the text says, not what a Path makes of it
        return Path(path)
    inside = os.path.normpath(path)
    if inside == ".." or inside.startswith(("../", "..\\")):
        remedy = "move the picture beside the manifest, or give an absolute path"
        raise Unusable(f"{shown(path)} leads out of the manifest's folder", remedy)
    return folder / inside
