"""What a run that died has left: ledger and dataset read as they lie there, changing nothing, and what must hold.

The ledger is read from a copy and in plain SQL, so that neither our own code nor SQLite's recovery of its log mends
what the next start has to mend.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fluxbatch.dataset.spool import Spooled, scan
from fluxbatch.simulator import Charge
from tests.e2e.e2e_kit import part_files

Name = tuple[str, int]
"""Key and number of an attempt."""

LOST_BY_A_KILL = "the run ended before the answer was in"


@dataclass(frozen=True, slots=True)
class Entry:
    """An attempt; amounts in hundredths of a neuron and nano-dollars."""

    state: str
    bound: tuple[int, int]
    actual: tuple[int, int] | None
    message: str | None


@dataclass(frozen=True, slots=True)
class Books:
    """The ledger's rows about one dataset. `stored` is (cap, spent, reserved, unknown) in nano-dollars."""

    attempts: Mapping[Name, Entry] = field(default_factory=dict)
    stored: tuple[int, int, int, int] = (0, 0, 0, 0)
    runs: int = 0

    def of(self, *states: str) -> set[Name]:
        return {name for name, entry in self.attempts.items() if entry.state in states}

    @property
    def lost_by_kills(self) -> set[Name]:
        """Sent and not resolved, or counted by a start as lost by a run that ended."""
        return {
            name
            for name, entry in self.attempts.items()
            if entry.state == "sent" or (entry.state == "unknown" and entry.message == LOST_BY_A_KILL)
        }

    def centineurons(self, key: str, *states: str) -> int:
        """What the attempts of one key in these states come to."""
        found = [entry for (of, _), entry in self.attempts.items() if of == key and entry.state in states]
        return sum((entry.actual or entry.bound)[0] for entry in found)

    def nano_usd(self, state: str) -> int:
        return sum((entry.actual or entry.bound)[1] for entry in self.attempts.values() if entry.state == state)


def read_books(ledger: Path, dataset: str | None = None) -> Books:
    """The ledger as it would be opened after a crash, about one dataset (None: its only one); empty without one."""
    if not ledger.exists():
        return Books()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / ledger.name
        for ending in ("", "-wal"):
            if (source := ledger.with_name(ledger.name + ending)).exists():
                shutil.copyfile(source, copy.with_name(copy.name + ending))
        with closing(sqlite3.connect(copy)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            return _books(connection, dataset)


def _books(connection: sqlite3.Connection, dataset: str | None) -> Books:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if not {"attempts", "datasets", "runs"} <= tables:
        return Books()
    known = [name for (name,) in connection.execute("SELECT dataset FROM datasets")]
    assert dataset is not None or len(known) <= 1, "say which"
    one = (dataset or (known[0] if known else ""),)
    attempts = {}
    for key, number, state, message, *amounts in connection.execute(f"SELECT {_COLUMNS} FROM attempts {_OF}", one):
        actual = None if amounts[2] is None else (amounts[2], amounts[3])
        attempts[key, number] = Entry(state, (amounts[0], amounts[1]), actual, message)
    stored = connection.execute(f"SELECT {_BALANCE} FROM datasets {_OF}", one).fetchone()
    (runs,) = connection.execute(f"SELECT count(*) FROM runs {_OF}", one).fetchone()
    return Books(attempts, stored or (0, 0, 0, 0), runs)


_OF = "WHERE dataset = ?"
_COLUMNS = "key, number, state, message, bound_centineurons, bound_nano_usd, actual_centineurons, actual_nano_usd"
_BALANCE = "cap_nano_usd, spent_nano_usd, reserved_nano_usd, unknown_nano_usd"


@dataclass
class Pictures:
    """Every verified picture of a dataset by key and attempt, with its charge in hundredths of a neuron.

    A part is read once: it never changes, and a changed one would have another time or size.
    """

    dataset: Path
    damaged: set[Path] = field(default_factory=set)
    """Spool files that a test has put there."""
    _parts: dict[tuple[str, int, int], dict[Name, int]] = field(default_factory=dict)

    def found(self) -> dict[Name, int]:
        """In parts, listed or not, and in the spool."""
        pictures = self.listed()
        for path in sorted(self.dataset.glob("data/*.parquet")):
            try:
                pictures |= self._part(path)
            except (OSError, ValueError):
                assert path not in part_files(self.dataset), f"{path} is listed and cannot be read"
        return pictures | {(one.key, one.attempt): one.actual.centineurons for one in self.spooled()}

    def listed(self) -> dict[Name, int]:
        pictures: dict[Name, int] = {}
        for path in part_files(self.dataset) if (self.dataset / "catalogue.jsonl").exists() else []:
            rows = self._part(path)
            assert not rows.keys() & pictures.keys(), f"{path} holds rows of another part"
            pictures |= rows
        return pictures

    def spooled(self) -> list[Spooled]:
        found = list(scan(self.dataset / ".fluxbatch" / "spool"))
        damaged = [one for one in found if not isinstance(one, Spooled) and one[0] not in self.damaged]
        assert damaged == [], "a kill leaves no damaged file under its name"
        return [one for one in found if isinstance(one, Spooled)]

    def _part(self, path: Path) -> dict[Name, int]:
        known = path.stat()
        name = (path.name, known.st_size, known.st_mtime_ns)
        if name not in self._parts:
            self._parts[name] = _verified(pq.read_table(path, partitioning=None, page_checksum_verification=True))
        return self._parts[name]


def _verified(part: pa.Table) -> dict[Name, int]:
    columns = ("key", "attempts", "image", "sha256", "neurons")
    found: dict[Name, int] = {}
    for row in part.select(columns).to_pylist():
        assert hashlib.sha256(row["image"]["bytes"]).hexdigest() == row["sha256"]
        assert (row["key"], row["attempts"]) not in found, "a picture stands twice in a part"
        found[row["key"], row["attempts"]] = int(row["neurons"] * 100)
    return found


def check(books: Books, pictures: Mapping[Name, int], bill: Sequence[Charge], keys: Mapping[str, str]) -> None:
    """What holds at every moment, whatever has died. `keys` gives the key of a prompt."""
    _check_balance(books)
    posted = books.of("posted")
    assert posted <= pictures.keys(), f"booked without a verified picture: {posted - pictures.keys()}"
    for name in posted:
        entry = books.attempts[name]
        assert entry.actual is not None
        assert entry.actual[0] == pictures[name]
        assert (name[0], name[1] + 1) not in books.attempts, "bought again after it was booked"
    _check_bill(books, bill, keys)


def _check_balance(books: Books) -> None:
    cap, spent, reserved, unknown = books.stored
    folded = (books.nano_usd("posted"), books.nano_usd("sent"), books.nano_usd("unknown"))
    assert (spent, reserved, unknown) == folded, "the attempts do not add up to the balance"
    assert spent + reserved + unknown <= cap


def _check_bill(books: Books, bill: Sequence[Charge], keys: Mapping[str, str]) -> None:
    """Nothing is billed that is not counted; what is booked and has nothing unknown beside it was billed exactly so."""
    times = Counter(keys[charge.prompt] for charge in bill)
    assert times <= Counter(key for key, _ in books.of("posted", "sent", "unknown")), "more was billed than reserved"
    booked = Counter({key: books.centineurons(key, "posted") for key, _ in books.of("posted")})
    not_known = {key for key, _ in books.of("sent", "unknown")}
    billed: Counter[str] = Counter()
    for charge in bill:
        billed[keys[charge.prompt]] += charge.centineurons
    for key, amount in billed.items():
        most = booked[key] + books.centineurons(key, "sent", "unknown")
        assert amount == booked[key] or (key in not_known and amount <= most), f"{amount} billed, {booked[key]} booked"
    assert all(billed[key] == amount or key in not_known for key, amount in booked.items()), "booked, and not billed"
