"""The power goes again while a start puts things in order, while a dataset is made, while failures are written."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from fluxbatch.dataset.catalogue import CATALOGUE, Dataset
from fluxbatch.dataset.quarantine import set_aside
from tests.dataset.dataset_kit import NO_COLUMNS
from tests.power.disk import COMBINATIONS_MAX, History, Rename, cut, cuts
from tests.power.power_check import Reached, recovers
from tests.power.power_kit import PICTURES, Provider, SharedLedger, new_home, recorded
from tests.power.tap import tap
from tests.soak import soak

AGAIN = soak((22, 21), (400, 40))
MAKING = soak(120, 400)
FAILING = soak((3, 125), (30, 290))
PROMPTS = tuple(f"picture {number}" for number in range(PICTURES))
SOME_FAIL = ("picture 0", "refused 1", "picture 2", "failed 3", "failed 4", "picture 5")


def test_a_start_that_loses_power_is_put_in_order_by_the_next(memory: Path, shared: SharedLedger) -> None:
    """Twice: a cut in the run, another in the start after it or in the rest of the run."""
    runs, ways = AGAIN
    reached = Reached()
    for seed in range(runs):
        chance = random.Random(seed)
        first = recorded(new_home(memory / "run", None, PROMPTS, shared), Provider(seed))
        at = (seed * len(first.operations)) // runs + 1
        state = cut(first, at, chance)
        provider = Provider(seed + 1, asked=Counter(state.marks))
        second = recorded(new_home(memory / "again", state, PROMPTS, shared), provider)
        for number, again in enumerate(cuts(second, seed, ways)):
            with reached.told(f"seed {seed}, first cut at {at}, state {number}", again):
                recovers(again, memory / "cut", shared, PROMPTS, reached)
        shutil.rmtree(memory / "run")
        shutil.rmtree(memory / "again")
    assert reached.states > 0.9 * runs * ways
    reached.all_of("a temp file", "a part that is not listed", "adopted", "stranded", "torn")


def test_a_dataset_is_made_whole_or_made_anew(memory: Path, shared: SharedLedger) -> None:
    history = recorded(new_home(memory / "run", None, PROMPTS, shared), Provider())
    end = _at_rename_of(history, CATALOGUE)
    making = History(history.base, history.operations[: end + 2], history.ledger)
    reached = Reached()
    for number, state in enumerate(cuts(making, 1, MAKING)):
        with reached.told(f"state {number}", state):
            recovers(state, memory / "cut", shared, PROMPTS, reached)
    assert reached.states > COMBINATIONS_MAX
    reached.all_of("no dataset yet", "a temp file", "torn")


def test_failures_and_report_are_the_old_or_the_new_ones(memory: Path, shared: SharedLedger) -> None:
    """Two runs: the second sends what failed again and writes both files over those of the first."""
    runs, ways = FAILING
    reached = Reached()
    for seed in range(runs):
        home = new_home(memory / "run", None, SOME_FAIL, shared)
        provider = Provider(seed)
        recorded(home, provider)
        ledger = shared.content()
        history = recorded(home, provider)
        assert history.ledger == ledger
        for number, state in enumerate(cuts(history, seed, ways)):
            with reached.told(f"seed {seed}, state {number}", state):
                recovers(state, memory / "cut", shared, SOME_FAIL, reached)
                reached.note("failures.parquet", state.tree["pictures/failures.parquet"])
        shutil.rmtree(memory / "run")
    assert reached.states > COMBINATIONS_MAX
    reached.all_of("failures.parquet", "a temp file", "torn")
    assert reached.counts["failures.parquet"] == reached.states, "the old one or the new one, never none"


@pytest.mark.parametrize("is_part", [False, True])
def test_what_was_set_aside_lies_somewhere_whole(tmp_path: Path, is_part: bool) -> None:
    """From one folder into another: when the folder that it left is durable first, it may be in neither."""
    dataset = Dataset.create(tmp_path / "pictures", NO_COLUMNS, True)
    folder = dataset.data_folder if is_part else dataset.spool_folder
    path = folder / ("train-00000.parquet" if is_part else f"{'ab' * 32}-0001.row")
    path.write_bytes(b"bytes that were paid for")
    with tap(tmp_path) as made:
        set_aside(path, dataset.quarantine, "they look wrong")
    seen = 0
    for state in cuts(made.history(), 1, 1_000):
        found = [name for name, content in state.tree.items() if content == b"bytes that were paid for"]
        assert found, f"cut at {state.at}: {sorted(state.tree)}"
        for name in found:
            if "/quarantine/" in name:
                assert state.tree[f"{name}.reason"]
                seen += 1
    assert seen


def _at_rename_of(history: History, name: str) -> int:
    return next(n for n, one in enumerate(history.operations) if isinstance(one, Rename) and one.to_name == name)
