"""Eight runs at once, 32 in flight each, on one ledger and one account, each with its own dataset and budget."""

from __future__ import annotations

import bisect
import random
import threading
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from fluxbatch.budget.caps import set_cap
from fluxbatch.budget.entries import Period
from fluxbatch.budget.store import Store
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dispatch.rate import HEADROOM, WINDOW_S
from fluxbatch.simulator import Simulator, read_bill
from tests.crash.case import keys_of, seed_of
from tests.crash.remains import Books, Pictures, check, read_books
from tests.crash.warm import Run, Warm
from tests.e2e.e2e_kit import SMALL_CENTINEURONS, Desk, nano_usd, rows, until
from tests.soak import soak

RUNS = 8
IN_FLIGHT = 32
RATE = 3_000
"""A minute, for all of them together."""
PICTURES = 40
BUDGET_USD = "0.014"
BOUND_NANO_USD = nano_usd("0.00165")
NANO_USD_PER_CENTINEURON = 110
ACTUAL_NANO_USD = SMALL_CENTINEURONS * NANO_USD_PER_CENTINEURON
FITS = (nano_usd(BUDGET_USD) - BOUND_NANO_USD) // ACTUAL_NANO_USD + 1
"""So many pictures can be made: for the last one the bound has to be free."""


@dataclass
class Buyer:
    """One of the eight, with a folder of its own in a shared one."""

    desk: Desk
    manifest: Path
    warm: Warm
    kills: int = 0

    def start(self, budget: str = BUDGET_USD) -> Run:
        whole = ("run", str(self.manifest), "--out", str(self.desk.out), "--budget", budget, "--json")
        flight = ("--max-in-flight", str(IN_FLIGHT), "--rows-per-shard", "10")
        return self.warm.start((*whole, *flight), self.desk.folder, self.desk.variables())

    def look(self) -> Books:
        """What holds for its own part of the books, whoever else is spending."""
        keys = keys_of(self.manifest)
        assert self.desk.simulator.settings.bill_file is not None
        bill = [one for one in read_bill(self.desk.simulator.settings.bill_file) if one.prompt in keys]
        books = read_books(self.desk.folder.parent / "ledger.sqlite3", Dataset.open(self.desk.out).id)
        check(books, Pictures(self.desk.out).found(), bill, keys)
        assert sum(one.centineurons for one in bill) * NANO_USD_PER_CENTINEURON <= books.stored[0]
        return books


@pytest.fixture
def buyers(tmp_path: Path, warm: Warm, platform: Simulator) -> list[Buyer]:
    until(lambda: platform.stats()["making"] == 0)
    platform.change(latency_s=0.15, latency_spread=0.5)
    platform.reset()
    shared = {"FLUXBATCH_LEDGER": f"sqlite:///{tmp_path / 'ledger.sqlite3'}", "FLUXBATCH_RATE": str(RATE)}
    found = []
    for number in range(RUNS):
        folder = tmp_path / f"buyer-{number}"
        folder.mkdir()
        desk = Desk(folder, platform, dict(shared))
        found.append(Buyer(desk, desk.manifest(rows(PICTURES, prompt=f"a fox of {number}")), warm))
    return found


def test_eight_runs_share_an_account_and_none_passes_its_month_or_its_pace(buyers: list[Buyer], tmp_path: Path) -> None:
    """One budget for all: the account's month. Each dataset's own would pay for all of its pictures."""
    month_nano_usd = RUNS * FITS * ACTUAL_NANO_USD // 2
    with closing(Store(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")) as store, store.transaction() as tx:
        set_cap(tx, buyers[0].desk.simulator.account, Period.MONTH, month_nano_usd)
    runs = [buyer.start(budget="1") for buyer in buyers]
    ends = [run.wait(120) for run in runs]
    assert set(ends) <= {0, 3}, [run.err for run in runs]  # who came first may have had all of its pictures
    last = buyers[ends.index(3)].start(budget="1")  # a run that had nothing out did not wait for what came back
    assert last.wait(120) == 3, last.err
    found = [buyer.look() for buyer in buyers]
    spent = sum(books.stored[1] for books in found)
    assert all(books.stored[2:] == (0, 0) for books in found)
    assert 0 <= month_nano_usd - spent < BOUND_NANO_USD, "not over it, and none was refused that had room"
    assert buyers[0].desk.billed * NANO_USD_PER_CENTINEURON == spent
    _assert_paced(buyers[0].desk.simulator, RUNS * PICTURES)


@pytest.mark.parametrize("seed", range(soak(1, 40)))
def test_eight_runs_that_are_killed_and_started_again_stay_within_budget_and_pace(
    seed: int, buyers: list[Buyer]
) -> None:
    chance = random.Random(seed_of(seed))
    print(f"seed {seed_of(seed)}")
    runs = [buyer.start() for buyer in buyers]
    for _ in range(RUNS):
        threading.Event().wait(chance.uniform(0.05, 0.4))
        number = chance.randrange(RUNS)
        buyers[number].kills += runs[number].kill() == -9
        runs[number] = buyers[number].start()
    for buyer, run in zip(buyers, runs, strict=True):
        assert run.wait(120) == 3, run.err
        books = buyer.look()
        cap, spent, reserved, unknown = books.stored
        assert reserved == 0
        assert 0 <= cap - spent - unknown < BOUND_NANO_USD
        assert len(books.of("unknown")) <= buyer.kills * IN_FLIGHT
    assert sum(buyer.kills for buyer in buyers) >= RUNS // 2
    _assert_paced(buyers[0].desk.simulator, sum(len(buyer.look().attempts) for buyer in buyers))


def _assert_paced(simulator: Simulator, sends_max: int) -> None:
    """In any window of W seconds at most what the grid has moments for, and those a lateness away: for W of a minute
    that is the rate. A request may leave late by half of the headroom, and the network has the other half (`pace.py`),
    so windows begin that much earlier."""
    arrivals = simulator.stats()["arrivals_s"]
    assert 0 < len(arrivals) <= sends_max
    assert simulator.stats()["answers"].keys() == {"200"}
    per_second = RATE / 60 / (1 + HEADROOM)
    for first, at in enumerate(arrivals):
        for last in range(first, len(arrivals)):
            assert last - first + 1 <= (arrivals[last] - at + HEADROOM * WINDOW_S) * per_second + 1
    busiest = max(bisect.bisect(arrivals, at + 1.0) - number for number, at in enumerate(arrivals))
    print(
        f"{len(arrivals)} arrivals in {arrivals[-1] - arrivals[0]:.1f} s, at most {busiest} in a second of {RATE / 60}"
    )
