"""One dataset that is run, killed and run again until all is made, and looked at after each death."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fluxbatch.dataset.record import RESERVED
from fluxbatch.manifest.reader import Defaults, Rejected, open_manifest
from fluxbatch.models.catalogue import DEFAULT_MODEL
from fluxbatch.simulator import Charge, read_bill
from tests.crash.crash_kit import Reader
from tests.crash.remains import Books, Pictures, check, read_books
from tests.crash.warm import Run, Warm
from tests.e2e.e2e_kit import Desk

BUDGET_USD = "50"
OpenCase = Callable[..., "Case"]


@dataclass
class Case:
    """`keys` gives the key of each prompt; `told` is what the last run to the end said of itself."""

    desk: Desk
    warm: Warm
    manifest: Path
    in_flight: int
    options: tuple[str, ...]
    keys: Mapping[str, str]
    reader: Reader
    pictures: Pictures
    before: Books = field(default_factory=Books)
    kills: int = 0
    is_flow: bool = False
    """Its runs are the flow's, which takes its options from the environment and tells what it made in its report."""
    is_ledger_lost: bool = False
    """A ledger that is gone has forgotten what the parts still say was paid, until the next start is through."""
    told: dict[str, Any] = field(default_factory=dict)

    def start(self, die: tuple[str, int] | None = None, manifest: Path | None = None) -> Run:
        """The command line in a process of its own; `die` names a point at whose so-many-th passing it kills itself."""
        whole = (str(manifest or self.manifest), "--out", str(self.desk.out), "--budget", BUDGET_USD)
        own = ("--json", "--max-in-flight", str(self.in_flight), *self.options)
        arguments = whole if self.is_flow else ("run", *whole, *own)
        return self.warm.start(arguments, self.desk.folder, self.desk.variables(), die)

    @property
    def bill(self) -> list[Charge]:
        """The platform's own, for this case's prompts."""
        return [charge for charge in read_bill(_bill_file(self.desk)) if charge.prompt in self.keys]

    def billed(self) -> int:
        """How many charges there are, all told: quick, to be asked again and again."""
        return _bill_file(self.desk).read_bytes().count(b"\n")

    def died(self) -> Books:
        """Look at what is there after a kill: what holds at every moment, and what one kill may do."""
        self.kills += 1
        books = self.look()
        fresh = self._lost(books) - self._lost(self.before)
        assert len(fresh) <= self.in_flight, f"one kill lost {len(fresh)} answers"
        assert self.before.of("posted") <= books.of("posted"), "what was booked is not booked any more"
        assert self.before.attempts.keys() <= books.attempts.keys(), "an attempt is forgotten"
        self.before = books
        return books

    def _lost(self, books: Books) -> set[tuple[str, int]]:
        return books.lost_by_kills - self.pictures.found().keys()

    def look(self) -> Books:
        books = read_books(self.desk.ledger)
        pictures = self.pictures.found()
        forgotten = {key for key, _ in pictures.keys() - books.attempts.keys()} if self.is_ledger_lost else set()
        check(books, pictures, [one for one in self.bill if self.keys[one.prompt] not in forgotten], self.keys)
        asked = self.desk.simulator.stats()["prompts"]
        sent = {self.keys[prompt]: times for prompt, times in asked.items() if prompt in self.keys}
        numbers: dict[str, int] = {}
        for key, _ in books.attempts:
            numbers[key] = numbers.get(key, 0) + 1
        unreserved = [key for key, times in sent.items() if times > numbers.get(key, 0) and key not in forgotten]
        assert unreserved == [], "sent without a reservation"
        assert self.reader.troubles == []
        return books

    def finish(self) -> Books:
        """Run to the end, and nothing is left open: all is made that was not lost, sealed, booked and whole."""
        run = self.start()
        assert run.wait() in (0, 4), run.err
        self.told = {} if self.is_flow else json.loads(run.out.splitlines()[-1])
        self.is_ledger_lost = False
        books = self.look()
        self._assert_closed(books)
        self.desk.command("verify", str(self.desk.out)).ended(0)
        sent = self.desk.requests
        again = self.start()
        assert again.wait() == run.returncode, again.err
        assert self.desk.requests == sent, "all was made, and something was sent"
        assert read_books(self.desk.ledger).stored == books.stored
        return books

    def _assert_closed(self, books: Books) -> None:
        self.reader.look()
        assert self.reader.troubles == []
        assert books.of("sent") == set()
        assert books.of("posted") == self.pictures.listed().keys()
        assert self.pictures.spooled() == []
        assert list(self.desk.out.rglob(".*.tmp")) == [], "a temp file stayed"
        made = {key for key, _ in books.of("posted")}
        lost = {key for key, _ in books.lost_by_kills}
        assert self.is_flow or self.told["made"] + self.told["already"] == len(made)
        assert len(lost) <= self.kills * self.in_flight
        ended = {key for key, _ in books.attempts}
        assert ended == set(self.keys.values()), "every picture was tried"


def _bill_file(desk: Desk) -> Path:
    assert desk.simulator.settings.bill_file is not None
    return Path(desk.simulator.settings.bill_file)


def keys_of(manifest: Path) -> dict[str, str]:
    """The key of each prompt; every prompt stands once."""
    found: dict[str, str] = {}
    for row in open_manifest(manifest, Defaults(DEFAULT_MODEL, 1024, 1024, 25, None), {}, frozenset(), RESERVED).rows():
        if not isinstance(row, Rejected):
            assert row.prompt not in found
            found[row.prompt] = row.key
    return found


def seed_of(given: int) -> int:
    """The seed of a test; FLUXBATCH_SEED adds to it, so that a hunt goes where no run was before."""
    return given + int(os.environ.get("FLUXBATCH_SEED", "0"))
