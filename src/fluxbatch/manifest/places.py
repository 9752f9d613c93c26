"""Where a reference comes from: a file, an address, or a picture of an earlier dataset. One opener for each.

What lies outside of the manifest's folder is reached through what is handed in from above (`Places`): the manifest
knows no network and no dataset. By default nothing is handed in, and such a reference is a complaint.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from fluxbatch.manifest.address import HOSTS_TOLD_MAX, Allowed, Refusal, is_address, judge, public, refused
from fluxbatch.manifest.values import Unusable, shown

BYTES_MAX = 50_000_000
"""No original is larger."""

ENDINGS = (".jpeg", ".jpg", ".png", ".webp")
"""Of the files in a folder, these are its pictures."""

DATASET = "dataset:"
FOLDER = "folder:"


class Addresses(Protocol):
    """Gets what addresses have."""

    @property
    def hosts_refused(self) -> tuple[str, ...]:
        """The hosts that were asked for and are not allowed."""
        ...

    def original(self, text: str) -> Path | bytes:
        """The picture at an address: where it is kept, or its bytes, at most BYTES_MAX. Unusable says what is wrong and
        what to do, and the address without its query."""
        ...

    def ahead(self, texts: Iterable[str]) -> None:
        """Begin to fetch what will be asked for."""
        ...


class Earlier(Protocol):
    """Gets a picture of an earlier dataset."""

    def __call__(self, folder: Path | str, wanted: str) -> tuple[bytes, str]:
        """The picture's bytes, verified by their hash, and its whole key. `wanted` is a key (or eight or more of its
        first digits) or `id=…`; the folder may be an address of a store. Unusable says what is wrong and what to do."""
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


class NoAddresses:
    """Addresses are off: each is refused, with what would allow it."""

    def __init__(self) -> None:
        self._refused: dict[str, None] = {}

    @property
    def hosts_refused(self) -> tuple[str, ...]:
        return tuple(self._refused)

    def original(self, text: str) -> Path | bytes:
        judged = judge(text, Allowed())
        assert isinstance(judged, Refusal), "no host is allowed"
        if judged.host is not None and len(self._refused) < HOSTS_TOLD_MAX:
            self._refused[judged.host] = None
        raise refused(text, judged)

    def ahead(self, texts: Iterable[str]) -> None:
        return


def no_dataset(folder: Path | str, wanted: str) -> tuple[bytes, str]:
    """No datasets are within reach."""
    raise Unusable("pictures of datasets cannot be read here", "give the picture's path or bytes")


@dataclass(frozen=True, slots=True)
class Places:
    """What a manifest may reach beside its own files."""

    addresses: Addresses = field(default_factory=NoAddresses)
    earlier: Earlier = no_dataset
    kept: Kept = field(default_factory=NothingKept)


class Found(NamedTuple):
    """An original: its path or bytes, what the dataset calls its source, and the name to keep the bytes under."""

    place: Path | bytes
    source: str | None
    keep_as: str | None = None


def find_original(source: str | bytes, folder: Path, places: Places) -> Found:
    """The original that a cell names; `folder` is the manifest's. Unusable says why it cannot be had."""
    if isinstance(source, bytes):
        return Found(source, None)
    if not is_address(source):
        return Found(located(source, folder), source)
    scheme = source.partition(":")[0].lower()
    return _OPENERS.get(f"{scheme}:", _address)(source, folder, places)


def _address(source: str, folder: Path, places: Places) -> Found:
    return Found(places.addresses.original(source), public(source))


def _of_dataset(source: str, folder: Path, places: Places) -> Found:
    """From the dataset itself while it is there: it may have been made anew. What was kept stands in for it."""
    path, _, wanted = source[len(DATASET) :].partition("#")
    if not path or not wanted:
        raise Unusable(f"{shown(source)} names no picture", "write dataset:PATH#KEY, or dataset:PATH#id=ID")
    where = path if is_address(path) else Path(os.path.normpath(folder / path))
    keep_as = f"{DATASET}{where}#{wanted}"
    try:
        content, key = places.earlier(where, wanted)
    except Unusable:
        if (kept := places.kept.find(keep_as)) is None:
            raise
        return Found(kept, source)
    return Found(content, f"{DATASET}{path}#{key}", keep_as)


def in_folder(path: str, folder: Path) -> tuple[str, ...]:
    """The paths of the pictures in a folder, in the order of their names; what is none by its name is left out."""
    inside = path.removeprefix(FOLDER)
    if is_address(inside):
        raise Unusable(f"{public(inside)!r} is an address and no folder", "give single pictures in input_image_0, …")
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


_OPENERS: Mapping[str, Callable[[str, Path, Places], Found]] = {
    DATASET: _of_dataset,
    FOLDER: _folder,
}


def public_cell(value: object) -> object:
    """A cell of a reference column as it may be kept: an address in it (also as a struct's path) without its query."""
    if isinstance(value, str) and is_address(value) and not value.lower().startswith((DATASET, FOLDER)):
        return public(value)
    if isinstance(value, Mapping):
        return {name: public_cell(part) for name, part in value.items()}
    if isinstance(value, list):
        return [public_cell(part) for part in value]
    return value


def located(path: str, folder: Path) -> Path:
    """Where a reference's path leads: from the manifest's folder, and not out of it; or anywhere, if absolute."""
    if os.path.isabs(path):  # noqa: PTH117 - what the text says, not what a Path makes of it
        return Path(path)
    inside = os.path.normpath(path)
    if inside == ".." or inside.startswith(("../", "..\\")):
        remedy = "move the picture beside the manifest, or give an absolute path"
        raise Unusable(f"{shown(path)} leads out of the manifest's folder", remedy)
    return folder / inside
