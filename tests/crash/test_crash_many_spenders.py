"""Eight processes spend from one budget, 32 tasks each, and are killed: over budget by 0 nano-dollars (Shows)."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.budget.budget_kit import BOUND, books, url_of
from tests.crash.case import seed_of
from tests.crash.remains import Books, read_books
from tests.crash.warm import Run, Warm
from tests.soak import soak

PROCESSES = 8
TASKS = 32
FITS = 1_000
"""So many bounds fit into the budget, and one nano-dollar less than one more."""


@pytest.fixture(scope="module")
def spenders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    with Warm(tmp_path_factory.mktemp("spenders"), "tests.crash.spender") as spenders:
        yield spenders


def _begin(spenders: Warm, folder: Path, name: str, together: int = 1) -> Run:
    arguments = (url_of(folder), str(folder / "bill"), name, str(TASKS), str(together))
    return spenders.start(arguments, folder, {})


def _open(folder: Path) -> None:
    with books(folder) as own:
        own.open((FITS + 1) * BOUND.nano_usd - 1)


def _billed(folder: Path) -> dict[str, int]:
    lines = [line.split() for line in (folder / "bill").read_text().splitlines()]
    assert len({key for key, _ in lines}) == len(lines), "sent twice"
    return {key: int(nano_usd) for key, nano_usd in lines}


def _check(folder: Path) -> Books:
    found, billed = read_books(folder / "ledger.sqlite3"), _billed(folder)
    cap, spent, reserved, unknown = found.stored
    assert spent + reserved + unknown <= cap
    assert (spent, reserved, unknown) == tuple(found.nano_usd(state) for state in ("posted", "sent", "unknown"))
    assert billed.keys() <= {key for key, _ in found.of("sent", "posted", "unknown")}, "sent without a reservation"
    assert sum(billed.values()) <= spent + reserved + unknown
    assert all(entry.actual is None or entry.actual[1] == billed[key] for (key, _), entry in found.attempts.items())
    return found


def test_eight_processes_use_one_budget_up_and_not_a_nano_dollar_more(spenders: Warm, tmp_path: Path) -> None:
    _open(tmp_path)
    runs = [_begin(spenders, tmp_path, f"p{number}", together=PROCESSES) for number in range(PROCESSES)]
    for run in runs:
        assert run.wait(120) == 0, run.err
    found = _check(tmp_path)
    cap, spent, reserved, unknown = found.stored
    assert reserved == 0
    assert 0 <= cap - spent - unknown < BOUND.nano_usd, "none was refused that had room"
    assert {key.split("-")[0] for key, _ in found.attempts} == {f"p{number}" for number in range(PROCESSES)}


@pytest.mark.parametrize("seed", range(soak(1, 40)))
def test_eight_processes_that_are_killed_and_started_again_never_pass_the_budget(
    seed: int, spenders: Warm, tmp_path: Path
) -> None:
    chance = random.Random(seed_of(seed))
    print(f"seed {seed_of(seed)}")
    _open(tmp_path)
    runs = {number: _begin(spenders, tmp_path, f"p{number}") for number in range(PROCESSES)}
    killed = 0
    for life in range(PROCESSES):
        threading.Event().wait(chance.uniform(0.02, 0.15))
        number = chance.randrange(PROCESSES)
        killed += runs[number].kill() == -9
        runs[number] = _begin(spenders, tmp_path, f"p{number}-life{life}")
    for run in runs.values():
        assert run.wait(120) == 0, run.err
    assert killed >= PROCESSES // 2
    before = _check(tmp_path)
    assert len(before.of("sent")) <= killed * TASKS, "no more is left open than was in flight"
    _assert_the_rest_can_be_spent(spenders, tmp_path, before)


def _assert_the_rest_can_be_spent(spenders: Warm, folder: Path, before: Books) -> None:
    """What the dead had reserved becomes unknown, not free; what is free after it is spent to the last bound."""
    with books(folder) as own:
        assert len(own.strand()) == len(before.of("sent"))
    assert _begin(spenders, folder, "last").wait(120) == 0
    cap, spent, reserved, unknown = _check(folder).stored
    assert reserved == 0
    assert 0 <= cap - spent - unknown < BOUND.nano_usd
