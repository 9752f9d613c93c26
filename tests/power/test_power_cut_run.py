"""The power goes while a run is under way, also one that was killed and started again: every legal disk recovers."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from tests.power.disk import cuts
from tests.power.power_check import Reached, recovers
from tests.power.power_kit import PICTURES, Provider, SharedLedger, new_home, recorded, run, tapped
from tests.soak import soak

FRESH = soak((3, 160), (30, 450))
"""So many runs from nothing, each cut in so many ways."""
KILLED = soak((1, 14, 12), (8, 40, 30))
"""Seeds; ways to cut after a kill before each sync of a folder; kills anywhere, each with as many ways."""
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


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")  # it died before
def test_a_run_that_was_killed_and_started_again_may_lose_power_as_well(memory: Path, shared: SharedLedger) -> None:
    """What the dead had renamed and not synced looks durable to the next life, and is not."""
    seeds, ways, anywhere = KILLED
    reached = Reached()
    for seed in range(seeds):
        touches = _touches(memory, shared, seed)
        syncs = [number for number, kind in enumerate(touches, start=1) if kind == "sync_folder"]
        assert len(syncs) >= 30
        chance = random.Random(seed)
        for kill in [*syncs, *chance.sample(range(1, len(touches)), anywhere)]:
            history = recorded(new_home(memory / "run", None, PROMPTS, shared), Provider(seed), (kill,))
            for number, state in enumerate(cuts(history, seed, ways, since=max(0, kill - 10))):
                with reached.told(f"seed {seed}, killed at touch {kill}, state {number}", state):
                    recovers(state, memory / "cut", shared, PROMPTS, reached)
            shutil.rmtree(memory / "run")
    assert reached.states > 0.8 * seeds * ways * (30 + anywhere)  # the last kills leave little to lose
    reached.all_of("no dataset yet", "a temp file", "a part that is not listed", "adopted", "stranded", "torn")


def _touches(memory: Path, shared: SharedLedger, seed: int) -> list[str]:
    """What a run does to its disk and its ledger, in order."""
    home, kinds = new_home(memory / "run", None, PROMPTS, shared), list[str]()
    with tapped(home, lambda touch: kinds.append(touch.kind)):
        run(home, Provider(seed))
    shutil.rmtree(memory / "run")
    return kinds
