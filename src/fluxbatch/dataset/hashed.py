"""A file that pyarrow writes into: hashed and counted on the way, and kept where there is a file to keep it in."""

from __future__ import annotations

import hashlib
from typing import BinaryIO


class Hashed:
    """`sha256` (64 hex digits) and `size_bytes` are of all that was written so far."""

    def __init__(self, file: BinaryIO | None = None) -> None:
        self.size_bytes = 0
        self.closed = False  # pyarrow asks
        self._file = file
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def write(self, content: bytes) -> int:
        self._digest.update(content)
        self.size_bytes += len(content)
        return len(content) if self._file is None else self._file.write(content)

    def flush(self) -> None:
        """pyarrow asks for it; a file that is kept is flushed and synced by whoever keeps it."""

    def close(self) -> None:
        self.closed = True
