"""A text file as lines: UTF-8, plain or gzipped, bounded, and exact about where a byte is wrong."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

from fluxbatch.errors import UsageError
from fluxbatch.manifest.values import Trouble

LINE_CHARACTERS_MAX = 1 << 24

_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")
_MARKS = (b"\xff\xfe", b"\xfe\xff")
_BINARY = {b"PAR1": "Parquet; call it .parquet", b"\x1f\x8b": "gzip; call it .gz", b"PK\x03\x04": "a zip or Excel file"}


class Lines:
    """The lines of a file, with their ends. `number` is the last line given, from 1.

    A line that is not UTF-8 or holds a NUL is still given (so that the rest of the file can be judged); `trouble`
    then says so, until it is taken. Lines end in LF, CRLF or CR.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        raw = _open(path)
        self._file = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="")
        self.number = 0
        self._trouble: Trouble | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        try:
            line = self._file.readline(LINE_CHARACTERS_MAX)
        except (OSError, EOFError, zlib.error) as error:
            raise UsageError(f"{self._path}: cannot be read after line {self.number} ({error}); check it") from None
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) >= LINE_CHARACTERS_MAX and not line.endswith(("\n", "\r")):
            raise UsageError(f"{self._path}:{self.number}: a line of over 16 million characters; this is no manifest")
        if not line.isascii() or "\0" in line:
            self._inspect(line)
        return line

    def take_trouble(self) -> Trouble | None:
        """What was wrong with the lines given since the last call."""
        trouble, self._trouble = self._trouble, None
        return trouble

    def _inspect(self, line: str) -> None:
        wrong = _ESCAPED_BYTE.search(line)
        if wrong is not None:
            at = len(line[: wrong.start()].encode()) + 1
            byte = ord(wrong.group()) & 0xFF
            problem = f"byte {at} of line {self.number} (0x{byte:02X}) is not UTF-8"
            self._trouble = Trouble(None, problem, "save the file as UTF-8")
        elif "\0" in line:
            self._trouble = Trouble(None, f"line {self.number} holds a NUL character", "remove it")


def check_is_text(path: Path) -> None:
    """UsageError if the file's first bytes say that it is something else."""
    try:
        with _open(path) as file:
            start = file.read(4)
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path}: cannot be read ({error}); check the file and its ending") from None
    if start[:2] in _MARKS or (len(start) > 1 and 0 in start[:2]):
        raise UsageError(f"{path}: the text is UTF-16, not UTF-8; save it as UTF-8")
    for mark, kind in _BINARY.items():
        if start.startswith(mark):
            raise UsageError(f"{path}: this is no text but {kind}")


def _open(path: Path) -> BinaryIO:
    if path.suffix.lower() == ".gz":
        return cast(BinaryIO, gzip.GzipFile(path, "rb"))
    return path.open("rb")


def readable(text: str) -> str:
    """Text without the stand-ins for bytes that were not UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
