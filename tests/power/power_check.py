"""What has to hold when the power comes back: on the disk as it is, after the start, after the same run to its end."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fluxbatch.budget import ledger
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.parts import file_sha256
from fluxbatch.dataset.spool import Spooled, scan
from fluxbatch.dataset.verify import verify_dataset
from fluxbatch.prepare import Prepared, now_us
from fluxbatch.start import Recovery, recover_all
from fluxbatch.summary import Summary
from tests.power.disk import LOCK, State
from tests.power.power_kit import (
    BOUND_CENTINEURONS,
    CENTINEURONS,
    IN_FLIGHT,
    Home,
    Provider,
    SharedLedger,
    new_home,
    run,
    started,
)

Name = tuple[str, int]
_SEALED_AT = re.compile(rb'"sealed_at": "[^"]*"')


@dataclass
class Reached:
    """What the states were like and what the starts did with them: a check of something never met checks nothing."""

    states: int = 0
    ends: set[bytes] = field(default_factory=set)
    """What the starts led to: from an equal disk and equal books the same run comes to the same end."""
    counts: Counter[str] = field(default_factory=Counter)

    def is_new(self, marks: Sequence[str], standing: tuple[dict[str, bytes | None], Books]) -> bool:
        tree, books = standing
        told = {path: _SEALED_AT.sub(b"", content or b"") for path, content in tree.items()}
        digest = hashlib.sha256(repr((sorted(marks), sorted(told.items()), books)).encode()).digest()
        if digest in self.ends:
            return False
        self.ends.add(digest)
        return True

    @contextmanager
    def told(self, where: str, state: State) -> Iterator[None]:
        """A failure in the block says how to come there again."""
        self.note("torn", state.is_torn)
        try:
            yield
        except BaseException as error:
            error.add_note(f"{where}: cut after {state.at} operations; {sorted(state.tree)}")
            raise

    def all_of(self, *whats: str) -> None:
        for what in whats:
            assert self.counts[what] > 0, f"never met: {what} ({self.counts})"

    def note(self, what: str, is_so: object) -> None:
        self.counts[what] += bool(is_so)


@dataclass(frozen=True, slots=True)
class Books:
    """The ledger, read past the code under test's own start."""

    attempts: tuple[tuple[Any, ...], ...]

    @classmethod
    def read(cls, home: Home, dataset: str | None) -> Books:
        assert home.shared is not None
        found = home.shared.rows('SELECT key, number, state, "end", actual_centineurons, dataset FROM attempts')
        if dataset is not None:
            with home.shared.store.reading() as tx:
                assert ledger.audit(tx, dataset) == ledger.balance(tx, dataset)
        return cls(tuple(sorted(row[:5] for row in found if dataset is None or row[5] == dataset)))

    def names(self, state: str) -> set[Name]:
        return {(row[0], row[1]) for row in self.attempts if row[2] == state}


def recovers(state: State, folder: Path, shared: SharedLedger, prompts: Sequence[str], reached: Reached) -> None:
    """The whole check of one state, in a home that is made for it and taken away again."""
    home = new_home(folder, state, prompts, shared)
    before = _as_it_is(home, state, reached)
    with started(home) as ready:
        _after_the_start(home, ready.dataset, before, reached)
        assert ready.recovery.stranded <= IN_FLIGHT
        reached.note("stranded", ready.recovery.stranded)
        reached.note("adopted", ready.recovery.adopted)
        standing = _standing(home)
        is_new = reached.is_new(state.marks, standing)
        if is_new:
            again = _again(ready)
            assert (again.adopted, again.stranded) == (0, 0)
            assert _standing(home) == standing, "a second start changed something"
    reached.states += 1
    if is_new:
        provider = Provider(asked=Counter(state.marks))
        unknown = len(standing[1].names("unknown"))
        _at_the_end(home, run(home, provider), provider, prompts, unknown)
    shutil.rmtree(folder)


def _again(ready: Prepared) -> Recovery:
    """A second start, as a new life would begin it."""
    dataset = Dataset.open(ready.dataset.folder)
    budget = ready.job.budget_nano_usd
    return recover_all(ready.store, dataset, dataset.spool(), ready.job.account, budget, ready.run, now_us())


def _standing(home: Home) -> tuple[dict[str, bytes | None], Books]:
    return _contents(home.disk), Books.read(home, None)


def _as_it_is(home: Home, state: State, reached: Reached) -> Books:
    """Before anything is put in order: the dataset reads, or it is not there yet and nothing was spent."""
    books = Books.read(home, None)
    if not Dataset.exists(home.dataset):
        assert not books.attempts, "the dataset is gone, and something was paid for it"
        assert not state.marks
        reached.note("no dataset yet", True)
        return books
    dataset = Dataset.open(home.dataset)
    for part in dataset.parts:
        assert dataset.path(part).stat().st_size == part.size_bytes
        assert file_sha256(dataset.path(part)) == part.sha256
    kept = set(_pictures(dataset))
    if dataset.spool_folder.exists():
        kept |= {(one.key, one.attempt) for one in scan(dataset.spool_folder) if isinstance(one, Spooled)}
    unlisted = dataset.unlisted() if dataset.data_folder.exists() else []
    if not unlisted:
        assert books.names("posted") <= kept, "booked, and its picture is gone"
    reached.note("a part that is not listed", unlisted)
    reached.note("a temp file", list(home.dataset.rglob(".*.tmp")))
    reached.note("a spooled picture that is not booked", kept - books.names("posted"))
    return books


def _after_the_start(home: Home, dataset: Dataset, before: Books, reached: Reached) -> None:
    books = Books.read(home, dataset.id)
    pictures, spooled = _pictures(dataset), _spooled(dataset)
    assert not set(pictures) & spooled, "in the spool and in a part"
    assert books.names("posted") == set(pictures) | spooled
    assert before.names("posted") <= books.names("posted"), "something booked was lost"
    assert before.names("posted") | before.names("unknown") | before.names("sent") >= set(pictures) | spooled
    assert not books.names("sent")
    assert not list(home.dataset.rglob(".*.tmp"))
    reached.note("in the quarantine", dataset.quarantine.exists() and any(dataset.quarantine.iterdir()))


def _at_the_end(home: Home, summary: Summary, provider: Provider, prompts: Sequence[str], unknown: int) -> None:
    dataset = Dataset.open(home.dataset)
    books, pictures = Books.read(home, dataset.id), _pictures(dataset)
    wanted = [prompt for prompt in prompts if not prompt.startswith(("refused", "failed"))]
    assert verify_dataset(dataset) == []
    assert summary.stopped_by is None, summary.reason
    assert (summary.left, len(_spooled(dataset))) == (0, 0)
    assert books.names("posted") == set(pictures)
    assert len(pictures) == len(set(pictures))
    for prompt in prompts:
        most = 2 if prompt.startswith("failed") else 1
        assert provider.asked[prompt] <= most, f"{prompt} was sent {provider.asked[prompt]} times"
    lost = len(wanted) - len(pictures)
    assert 0 <= lost <= unknown
    assert summary.spent.centineurons == len(pictures) * CENTINEURONS == dataset.spent.centineurons
    assert summary.unknown_charges.centineurons == len(books.names("unknown")) * BOUND_CENTINEURONS
    table = dataset.to_pandas(["prompt", "check", "mood"])
    assert set(table["check"]) <= {"ok"}
    assert all(mood == f"mood of {prompt}" for prompt, mood in zip(table["prompt"], table["mood"], strict=True))
    failed = home.dataset / "failures.parquet"
    assert failed.exists() == (len(pictures) < len(prompts))


def _pictures(dataset: Dataset) -> list[Name]:
    return [(key, attempt) for part in dataset.parts for key, attempt, _ in dataset.keys(part)]


def _spooled(dataset: Dataset) -> set[Name]:
    found = list(scan(dataset.spool_folder))
    assert all(isinstance(one, Spooled) for one in found)
    return {(one.key, one.attempt) for one in found if isinstance(one, Spooled)}


def _contents(folder: Path) -> dict[str, bytes | None]:
    """All files below, but what the lock says."""
    paths = [path for path in sorted(folder.rglob("*")) if path.name != LOCK]
    return {path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None for path in paths}
