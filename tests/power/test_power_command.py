"""The command line on a disk that fails under it: real threads, a real ledger, the simulator's own bill."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.spool import Spooled, scan
from fluxbatch.simulator import Simulator
from tests.e2e.e2e_kit import Desk, assert_adds_up, calm, rows, table
from tests.power.power_kit import empty_ledger
from tests.power.tap import Touch, tap

PICTURES = 60
IN_FLIGHT = 8
PAGES_MORE = 3
"""So much an empty ledger may grow: it is full when some of the pictures are booked."""
OPTIONS = ("--max-in-flight", str(IN_FLIGHT), "--rows-per-shard", "20")
Name = tuple[str, int]


@pytest.fixture
def desk(memory: Path) -> Iterator[Desk]:
    with Simulator(calm(latency_s=0.05, latency_spread=0.5), in_thread=True) as simulator:
        (memory / "desk").mkdir()
        yield Desk(memory / "desk", simulator)


class Failing:
    """The disk fails at the `number`-th touch of a kind whose path has this in it, and from then on."""

    def __init__(self, kind: str, inside: str, number: int, code: int) -> None:
        self.kind, self.inside, self.number, self.code = kind, inside, number, code
        self.seen = 0
        self.failed: list[str] = []
        self.requests_at_fault = 0
        self.requests = lambda: 0

    def __call__(self, touch: Touch) -> None:
        if touch.kind == self.kind and self.inside in touch.path:
            self.seen += 1
            if self.seen >= self.number:
                self.requests_at_fault = self.requests_at_fault or self.requests()
                self.failed.append(touch.path)
                raise OSError(self.code, os.strerror(self.code))


@pytest.mark.parametrize(
    ("kind", "inside", "number", "code"),
    [
        ("sync", "spool/", 12, errno.EIO),
        ("sync_folder", "spool", 14, errno.EIO),
        ("write", "spool/", 12, errno.ENOSPC),
        ("sync", "data/", 1, errno.EIO),
        ("write", "data/", 1, errno.EDQUOT),
        ("rename", "catalogue.jsonl", 2, errno.EROFS),
        ("write", "report.md", 1, errno.ENOSPC),
    ],
)
def test_a_run_whose_disk_fails_ends_with_5_and_the_next_completes_it(
    desk: Desk, kind: str, inside: str, number: int, code: int
) -> None:
    manifest = desk.manifest(rows(PICTURES))
    fault = Failing(kind, inside, number, code)
    fault.requests = lambda: desk.requests
    with tap(desk.folder / "out" if desk.out.exists() else _made(desk.out), fault):
        said = desk.run(manifest, *OPTIONS).ended(5)
    assert fault.failed
    assert said.json["stopped_by"] == "platform"
    assert os.strerror(code) in said.json["reason"]
    assert str(desk.out) in said.json["reason"]
    assert "Traceback" not in said.all
    assert_adds_up(said.json)
    assert desk.requests - fault.requests_at_fault <= IN_FLIGHT
    assert len(set(fault.failed)) == len(fault.failed) or kind != "sync", "a failed sync was tried again"
    if kind == "sync_folder":
        assert len(fault.failed) == 1, "a failed sync was tried again"
    assert _posted(desk) <= _kept(desk)
    _completes(desk, manifest)


@pytest.mark.parametrize("kind", ["open", "write", "sync", "rename"])
@pytest.mark.parametrize("count", [3, 3_000])
def test_rejected_rows_on_a_full_disk_are_said_and_nothing_is_sent(desk: Desk, kind: str, count: int) -> None:
    bad = [{"id": f"bad-{number}", "prompt": "x" * 300, "width": "-1"} for number in range(count)]
    manifest = desk.manifest([*rows(3), *bad])
    fault = Failing(kind, "rejected.parquet", 1, errno.ENOSPC)
    with tap(_made(desk.out), fault):
        said = desk.run(manifest, "--skip-invalid").ended(5)
    assert fault.failed
    assert "rejected.parquet: could not be written: No space left" in said.err.replace("\n", " ")
    assert "Traceback" not in said.all
    assert desk.requests == 0
    assert desk.run(manifest, "--skip-invalid").ended(0).json["made"] == 3


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_a_ledger_on_a_full_disk_ends_the_run_and_what_came_back_is_adopted(desk: Desk) -> None:
    manifest = desk.manifest(rows(PICTURES))
    with full_after(len(empty_ledger()) // 4096 + PAGES_MORE):
        said = desk.run(manifest, *OPTIONS).ended(5)
    assert said.json["stopped_by"] == "platform"
    assert "database or disk is full" in said.json["reason"]
    assert str(desk.ledger) in said.json["reason"]
    assert 0 < desk.requests < PICTURES
    posted, kept = _posted(desk), _kept(desk)
    assert posted <= kept
    assert len(kept) > len(posted), "pictures came back that could not be booked"
    _completes(desk, manifest)
    # One that was reserved, and never sent because the ledger had failed, cannot be taken back there: it stays unknown.
    assert len({charge.prompt for charge in desk.simulator.bill()}) == table(desk.out, ["key"]).num_rows


@contextmanager
def full_after(pages: int) -> Iterator[None]:
    """The database may have so many pages, and not more."""

    def limit(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}")

    sa.event.listen(sa.pool.Pool, "connect", limit)
    try:
        yield
    finally:
        sa.event.remove(sa.pool.Pool, "connect", limit)


def _completes(desk: Desk, manifest: Path) -> None:
    """The same command on a sound disk: all is there, and no prompt was ever sent twice."""
    said = desk.run(manifest, *OPTIONS)
    assert said.code in (0, 4), said.all
    told = said.json
    assert told["left"] == 0
    assert told["unknown"] <= IN_FLIGHT
    made = table(desk.out, ["key", "check"])
    assert made.num_rows == len(set(made["key"].to_pylist())) == PICTURES - told["unknown"]
    assert max(desk.simulator.stats()["prompts"].values()) == 1
    prompts = Counter(charge.prompt for charge in desk.simulator.bill())
    assert max(prompts.values()) == 1
    desk.command("verify", str(desk.out)).ended(0)


def _posted(desk: Desk) -> set[Name]:
    connection = sqlite3.connect(desk.ledger)
    try:
        return set(connection.execute("SELECT key, number FROM attempts WHERE state = 'posted'").fetchall())
    finally:
        connection.close()


def _kept(desk: Desk) -> set[Name]:
    dataset = Dataset.open(desk.out)
    in_parts = {(key, attempt) for part in dataset.parts for key, attempt, _ in dataset.keys(part)}
    return in_parts | {(one.key, one.attempt) for one in scan(dataset.spool_folder) if isinstance(one, Spooled)}
