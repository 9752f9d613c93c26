"""The bill: what the simulated platform charged, kept apart from the client. Tests compare it with the ledger."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from fluxbatch.errors import StorageError


@dataclass(frozen=True, slots=True)
class Charge:
    """One entry. `when` is in seconds since 1970 (UTC); sides in pixels as asked, which is how they are billed."""

    when: float
    request_id: str
    model: str
    prompt: str
    centineurons: int
    width: int
    height: int
    steps: int
    references: int
    total_centineurons: int
    """The running total, this charge included."""


class Bill:
    """Charges in memory, and in a file when a path is given; an existing file is continued.

    Each line is handed to the kernel at once: it survives a kill of this process, not a loss of power.
    """

    def __init__(self, path: str | None = None) -> None:
        self._path = path
        self.charges: list[Charge] = read_bill(path) if path else []
        self.total_centineurons = sum(charge.centineurons for charge in self.charges)
        self._file = self._open(path) if path else None

    def add(self, **charge: Any) -> Charge:
        """Charge it: the fields of `Charge` except the running total."""
        total = self.total_centineurons + charge["centineurons"]
        entry = Charge(**charge, total_centineurons=total)
        self.total_centineurons = total
        self.charges.append(entry)
        if self._file is not None:
            self._file.write(json.dumps(asdict(entry)).encode() + b"\n")
        return entry

    def clear(self) -> None:
        """Start over, in the file too."""
        self.charges.clear()
        self.total_centineurons = 0
        if self._file is not None:
            self._file.truncate(0)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    @staticmethod
    def _open(path: str) -> IO[bytes]:
        try:
            file = Path(path).open("ab", buffering=0)  # noqa: SIM115 - closed by close()
            file.truncate(Path(path).read_bytes().rfind(b"\n") + 1)  # a line that a kill cut off
        except OSError as error:
            raise StorageError(f"the simulator's bill {path} cannot be written ({error}); choose another") from error
        return file


def read_bill(path: str | Path) -> list[Charge]:
    """The charges of a bill file; none if there is no file yet. A last line that was cut off is left out."""
    file = Path(path)
    return list(_charges(file.read_bytes().split(b"\n")[:-1])) if file.exists() else []


def _charges(lines: Iterable[bytes]) -> Iterable[Charge]:
    for line in lines:
        yield Charge(**json.loads(line))
