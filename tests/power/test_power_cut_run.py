"""The power goes while a run is under way, also one that was killed and started again: every legal disk recovers."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from tests.power.disk import cuts
from tests.power.power_check import Reached, recovers
from tests.power.power_kit import PICTURES, Provider, SharedLedger, new_home, recorded
from tests.soak import soak

FRESH = soak((3, 150), (30, 400))
"""So many runs from nothing, each cut in so many ways."""
KILLED = soak((28, 20), (400, 32))
TOUCHES = 130
"""A run touches its disk and its ledger about so often; it is killed at one of these."""
PROMPTS = tuple(f"picture {number}" for number in range(PICTURES))


def test_a_run_that_loses_power_loses_nothing_that_it_has_booked(memory: Path, shared: SharedLedger) -> None:
    runs, ways = FRESH
    reached = Reached()
    for seed in range(runs):
        history = recorded(new_home(memory / "run", None, PROMPTS, shared), Provider(seed))
        for number, state in enumerate(cuts(history, seed, ways)):
            with reached.told(f"seed {seed}, state {number}", state):
                recovers(state, memory / "cut", shared, PROMPTS, reached)
        shutil.rmtree(memory / "run")
    assert reached.states == runs * ways
    reached.all_of("no dataset yet", "a temp file", "a part that is not listed", "adopted", "stranded", "torn")


def test_a_run_that_was_killed_and_started_again_may_lose_power_as_well(memory: Path, shared: SharedLedger) -> None:
    """What the dead had renamed and not synced looks durable to the next life, and is not."""
    runs, ways = KILLED
    reached = Reached()
    for seed in range(runs):
        chance = random.Random(seed)
        kill = 1 + (seed * TOUCHES // runs + chance.randrange(TOUCHES // runs + 1)) % TOUCHES
        history = recorded(new_home(memory / "run", None, PROMPTS, shared), Provider(seed), (kill,))
        for number, state in enumerate(cuts(history, seed, ways, since=max(0, kill - 10))):
            with reached.told(f"seed {seed}, killed after {kill} touches, state {number}", state):
                recovers(state, memory / "cut", shared, PROMPTS, reached)
        shutil.rmtree(memory / "run")
    assert reached.states > 0.9 * runs * ways
    reached.all_of("a temp file", "a part that is not listed", "adopted", "stranded", "torn")
