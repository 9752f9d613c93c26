"""One dataset in a store that is run, killed by the store itself at one of its requests, and run again to the end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.objects import ObjectPath
from fluxbatch.dataset.parts import file_sha256, opened
from fluxbatch.dataset.place import source
from fluxbatch.dataset.spool import Spooled, scan
from fluxbatch.simulator import Charge, read_bill
from tests.crash.crash_kit import Onlooker
from tests.crash.remains import Books, Name, _verified, check, read_books
from tests.crash.warm import Run, Warm
from tests.e2e.e2e_kit import Desk
from tests.store.store_kit import Bucket, Strike, Which


class StoreReader(Onlooker):
    """Polls the catalogue, as who waits for parts does, and reads each one that is listed, once, as soon as it is."""

    def __init__(self, home: ObjectPath, every_s: float = 0.2) -> None:
        super().__init__(every_s=every_s)
        self.home = home
        self._seen: set[str] = set()

    def is_there(self) -> bool:
        return Dataset.exists(self.home)

    def read(self) -> int:
        dataset = Dataset.open(self.home)
        for part in dataset.parts:
            if part.file not in self._seen:
                with opened(dataset.path(part)) as file:
                    whole = (file.metadata.num_rows, file_sha256(dataset.path(part))) == (part.rows, part.sha256)
                if not whole:
                    self.troubles.append(f"{part.file} is not what is listed")
                self._seen.add(part.file)
        return sum(part.rows for part in dataset.parts)


@dataclass
class StoreCase:
    """`keys` gives the key of each prompt; `kills` how often it was killed."""

    desk: Desk
    warm: Warm
    bucket: Bucket
    manifest: Path
    keys: Mapping[str, str]
    in_flight: int
    options: tuple[str, ...]
    reader: StoreReader
    kills: int = 0
    before: Books = field(default_factory=Books)

    @property
    def home(self) -> ObjectPath:
        return self.bucket.at("cats")

    def start(self) -> Run:
        own = ("--json", "--max-in-flight", str(self.in_flight), *self.options)
        arguments = ("run", str(self.manifest), "--out", str(self.home), "--budget", "50", *own)
        return self.warm.start(arguments, self.desk.folder, self.desk.variables())

    def die(self, which: Which, passing: int, *, is_done_first: bool) -> Books:
        """Run until the store kills it at this request, before or after it has done what it was asked."""
        strike = Strike(which, passing, is_done_first)
        self.bucket.server.strikes.append(strike)
        run = self.start()
        strike.aim(run.pid)
        code = run.wait()
        self.bucket.server.strikes.remove(strike)
        assert (code, strike.has_struck) == (-9, True), f"not reached\n{run.out}{run.err}"
        self.kills += 1
        books = self.look()
        assert self.before.of("posted") <= books.of("posted"), "what was booked is not booked any more"
        fresh = self._lost(books) - self._lost(self.before)
        assert len(fresh) <= self.in_flight, f"one kill lost {len(fresh)} answers"
        self.before = books
        return books

    def finish(self) -> Books:
        """Run to the end: all is made that was not lost; it is sealed, booked and whole."""
        run = self.start()
        assert run.wait() in (0, 4), run.err
        told = json.loads(run.out.splitlines()[-1])
        books = self.look()
        assert books.of("sent") == set()
        assert books.of("posted") == self.listed().keys()
        assert told["made"] + told["already"] == len(books.of("posted"))
        assert {key for key, _ in books.attempts} == set(self.keys.values()), "every picture was tried"
        assert len(books.lost_by_kills) <= self.kills * self.in_flight
        left = [name for name in self.bucket.objects("cats") if "/.fluxbatch/" in name and "/probe/" not in name]
        assert left == [], "something stayed in the spool or the quarantine"
        self.desk.command("verify", str(self.home)).ended(0)
        return books

    def finish_again(self) -> None:
        """All is made: nothing is sent."""
        sent = self.desk.requests
        again = self.start()
        assert again.wait() in (0, 4), again.err
        assert self.desk.requests == sent, "all was made, and something was sent"

    def look(self) -> Books:
        """What holds at every moment: what is booked is in the store, once, and the bill is in the books."""
        books, found = read_books(self.desk.ledger), self.found()
        check(books, found, [one for one in self.bill if one.prompt in self.keys], self.keys)
        assert self.reader.troubles == []
        return books

    @property
    def bill(self) -> list[Charge]:
        assert self.desk.simulator.settings.bill_file is not None
        return read_bill(Path(self.desk.simulator.settings.bill_file))

    def listed(self) -> dict[Name, int]:
        """Every verified picture of the listed parts, with its charge in hundredths of a neuron."""
        pictures: dict[Name, int] = {}
        dataset = Dataset.open(self.home)
        for part in dataset.parts:
            rows = self._part(dataset.path(part))
            assert not rows.keys() & pictures.keys(), f"{part.file} holds rows of another part"
            pictures |= rows
        return pictures

    def found(self) -> dict[Name, int]:
        """In parts, listed or not, and in the spool."""
        pictures: dict[Name, int] = {}
        for path in (self.home / "data").glob("*.parquet"):
            pictures |= self._part(path)
        for one in scan(self.home / ".fluxbatch" / "spool"):
            assert isinstance(one, Spooled), "a kill leaves no torn object"
            pictures[one.key, one.attempt] = one.actual.centineurons
        return pictures

    def _part(self, path: ObjectPath) -> dict[Name, int]:
        return _verified(pq.read_table(source(path), partitioning=None, page_checksum_verification=True))

    def _lost(self, books: Books) -> set[Name]:
        return books.lost_by_kills - self.found().keys()
