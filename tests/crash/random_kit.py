"""Kills at moments that chance draws, weighed so that starts, recoveries and sealing are met as well as sending."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from tests.crash.case import BUDGET_USD, Case, OpenCase, seed_of
from tests.crash.remains import Books
from tests.crash.warm import Run
from tests.e2e.e2e_kit import part_files, rows, until
from tests.soak import soak

KILLS = 12
"""In one test. Three files of tests run (at 1, 16 and 64 in flight), so 108 kills in CI and 3,024 in a soak."""
TESTS = soak(3, 84)
DATASETS_MAX = 3 * KILLS
MOMENTS = {"start": 3, "sending": 3, "sealing": 3, "recovery": 4}
PICTURES = {1: 60, 16: 180, 64: 320}
ROWS_PER_SHARD = {1: 4, 16: 12, 64: 40}
LATENCY_S = {1: 0.01, 16: 0.05, 64: 0.15}


@dataclass
class Met:
    """What the kills of a file's tests met: moments, and what they left."""

    kills: int = 0
    seen: Counter[str] = field(default_factory=Counter)

    def note(self, case: Case, run: Run, books: Books, before: Books) -> None:
        self.kills += 1
        hidden, data = case.desk.out / ".fluxbatch", case.desk.out / "data"
        lock = hidden / "lock"
        listed = set(part_files(case.desk.out)) if (case.desk.out / "catalogue.jsonl").exists() else set()
        held = lock.exists() and f'"pid": {run.pid},' in lock.read_text()
        left = {
            "before the dataset was held": not held,
            "held, before the run began": held and books.runs == before.runs,
            "while it ran": books.runs > before.runs,
            "an answer out": bool(books.of("sent")),
            "a picture in the spool": any(hidden.glob("spool/*.row")),
            "a spool file half done": any(hidden.glob("spool/.*.tmp")),
            "a part half done": any(data.glob(".*.tmp")),
            "a part not listed": bool(set(data.glob("*.parquet")) - listed),
        }
        self.seen.update(name for name, is_so in left.items() if is_so)

    def assert_all_was_met(self) -> None:
        """Chance draws the moments and the machine their exact place; over a whole file each kind has to be there."""
        print(f"{self.kills} kills: {dict(self.seen)}")
        for name in ("before the dataset was held", "held, before the run began", "while it ran", "an answer out"):
            assert self.seen[name] >= self.kills // 36, f"hardly met: {name}"
        assert self.seen["a picture in the spool"] >= self.kills // 4
        assert self.seen["a part half done"] + self.seen["a part not listed"] > 0


@pytest.fixture(scope="module")
def met() -> Iterator[Met]:
    met = Met()
    yield met
    if met.kills >= KILLS * TESTS:  # not when a single test was chosen
        met.assert_all_was_met()


@dataclass(frozen=True)
class Kind:
    """What is special about a test's runs: pictures that meet a fault, options, a budget that is too small, a manifest
    whose rows have another order at each start."""

    faults: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    budget: str = BUDGET_USD
    shuffled: bool = False


PLAIN = Kind()


def kill_at_random(open_case: OpenCase, met: Met, seed: int, in_flight: int, kind: Kind = PLAIN) -> None:
    """So many kills, in as many datasets as it takes, each of them run to its end. Says its seed when it fails."""
    chance, most = random.Random(seed_of(seed)), met.kills + KILLS
    print(f"seed {seed_of(seed)}, {in_flight} in flight: set FLUXBATCH_SEED={seed_of(seed) - seed} to meet it again")
    for number in range(DATASETS_MAX):
        if met.kills < most:
            _kill_one_dataset(open_case, chance, met, most, in_flight, number, kind)
    assert met.kills == most, "runs end before they are killed"


def _kill_one_dataset(
    open_case: OpenCase, chance: random.Random, met: Met, most: int, in_flight: int, number: int, kind: Kind
) -> None:
    case = _case(open_case, chance, in_flight, number, kind)
    while met.kills < most:
        if kind.shuffled:
            head, *lines = case.manifest.read_text().splitlines(keepends=True)
            case.manifest.write_text("".join([head, *chance.sample(lines, len(lines))]))
        moment = chance.choices(list(MOMENTS), list(MOMENTS.values()))[0]
        run = case.start()
        AWAIT[moment](case, run, chance)
        code = run.kill()
        if code != -9:  # it was through before
            assert code in (0, 3, 4), run.err
            break
        before = case.before
        met.note(case, run, case.died(), before)
    case.finish()


def _case(open_case: OpenCase, chance: random.Random, in_flight: int, number: int, kind: Kind) -> Case:
    asked = rows(PICTURES[in_flight], prompt=f"a fox {number} at {in_flight}")
    for row, fault in zip(chance.sample(asked, len(kind.faults)), kind.faults, strict=True):
        row["prompt"] = f"{row['prompt']} [[fault:{fault}]]"
    options = ("--rows-per-shard", str(ROWS_PER_SHARD[in_flight]), *kind.options)
    case = open_case(asked, *options, in_flight=in_flight, latency_s=LATENCY_S[in_flight])
    case.budget = kind.budget
    return case


def _a_start(case: Case, run: Run, chance: random.Random) -> None:
    _pass(0.25 * chance.random() ** 2)  # often early: a quick machine holds its dataset within a tenth of a second


def _a_picture_billed(case: Case, run: Run, chance: random.Random) -> None:
    aim = case.billed() + chance.randrange(1, 2 * case.in_flight + 8)
    until(lambda: case.billed() >= aim or run.poll() is not None, seconds=60)
    _pass(chance.uniform(0.0, 0.02))


def _a_part_begun(case: Case, run: Run, chance: random.Random) -> None:
    folder = case.desk.out / "data"
    before = set(folder.glob("*.parquet")) if folder.exists() else set()
    spin = threading.Event()
    while not (folder.exists() and set(folder.glob(chance.choice((".*.tmp", "*.parquet")))) - before):
        if run.poll() is not None:
            return
        spin.wait(0.001)
    _pass(chance.uniform(0.0, 0.015))


def _the_dataset_held(case: Case, run: Run, chance: random.Random) -> None:
    lock = case.desk.out / ".fluxbatch" / "lock"
    until(lambda: run.poll() is not None or (lock.exists() and str(run.pid) in lock.read_text()), seconds=60)
    _pass(chance.uniform(0.0, 0.06))


def _pass(seconds: float) -> None:
    threading.Event().wait(seconds)


AWAIT: dict[str, Callable[[Case, Run, random.Random], None]] = {
    "start": _a_start,
    "sending": _a_picture_billed,
    "sealing": _a_part_begun,
    "recovery": _the_dataset_held,
}
