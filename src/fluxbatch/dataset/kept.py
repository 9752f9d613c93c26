"""Originals of references that were fetched once, in the dataset that uses them: a run needs their sources no more.

references/{sha256}             an original, by its content
references/sources/{sha256}     what was fetched from where: {"source": …, "sha256": …}, by the hash of the source

They are there whole or not at all. What is not what it was is set aside, and fetched anew.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from pathlib import Path

import platformdirs

from fluxbatch.dataset import files
from fluxbatch.dataset.place import Place
from fluxbatch.dataset.quarantine import set_aside
from fluxbatch.manifest.values import Unusable

REFERENCES = "references"
BYTES_MAX = 50_000_000_000
"""Beyond this nothing more is kept: 50 GB are some hundred thousand pictures."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


def home(dataset: Place) -> Path:
    """Where a dataset's originals are kept: in it, or for one in a store on this machine. They are no part of what is
    promised: another machine fetches them again."""
    if isinstance(dataset, Path):
        return dataset
    return Path(platformdirs.user_cache_dir("fluxbatch")) / hashlib.sha256(str(dataset).encode()).hexdigest()[:32]


def folders(dataset: Path) -> tuple[Path, Path]:
    """The folders of a dataset that kept originals lie in."""
    return dataset / REFERENCES, dataset / REFERENCES / "sources"


class KeptReferences:
    """The kept originals of the dataset in `folder`, which need not be there yet. For any thread."""

    def __init__(self, folder: Path, bytes_max: int = BYTES_MAX) -> None:
        self.folder, self._sources = folders(folder)
        self._quarantine = folder / ".fluxbatch" / "quarantine"
        self._bytes_max = bytes_max
        self._size_bytes: int | None = None
        self._counting = threading.Lock()

    def find(self, source: str) -> Path | None:
        """Where the original of a source lies; None when it was not kept, or is no longer what it was."""
        sha256 = self._noted(source)
        if sha256 is None:
            return None
        path = self.folder / sha256
        return path if self._is_whole(path, sha256) else None

    def keep(self, source: str, content: bytes, sha256: str) -> Path:
        """Keep an original durably. Unusable when there is no more room, StorageError when the disk would not."""
        path = self.folder / sha256
        if not self._is_whole(path, sha256):
            self._make_room(len(content))
            files.make_folders(self._sources)
            files.put_atomic(path, content)
        if self._noted(source) != sha256:
            note = json.dumps({"source": source, "sha256": sha256}).encode()
            files.put_atomic(self._note(source), note)
        return path

    def _note(self, source: str) -> Path:
        return self._sources / hashlib.sha256(source.encode()).hexdigest()

    def _noted(self, source: str) -> str | None:
        try:
            note = json.loads(self._note(source).read_bytes())
            sha256 = note["sha256"] if note["source"] == source else ""
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return sha256 if isinstance(sha256, str) and _SHA256.fullmatch(sha256) else None

    def _is_whole(self, path: Path, sha256: str) -> bool:
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise files.storage_error(path, error, "could not be read") from error
        if found != sha256:
            set_aside(path, self._quarantine, f"its SHA-256 is {found}, not its name")
        return found == sha256

    def _make_room(self, size_bytes: int) -> None:
        with self._counting:
            if self._size_bytes is None:
                kept = self.folder.iterdir() if self.folder.is_dir() else ()
                self._size_bytes = sum(path.stat().st_size for path in kept if path.is_file())
            if self._size_bytes + size_bytes > self._bytes_max:
                problem = f"{self.folder} would grow beyond {self._bytes_max / 1e9:g} GB"
                raise Unusable(problem, "split the manifest over several datasets")
            self._size_bytes += size_bytes
