"""A seed is worth something only if it shows the same again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.lives import play

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("seed", [3, 8, 21, 34])
def test_the_same_seed_gives_the_same_log(seed: int):
    first, second = play(seed), play(seed)
    assert second.log == first.log
    assert len(first.log) > 100


def test_another_seed_gives_another_log():
    assert play(3).fingerprint != play(4).fingerprint


def test_another_process_with_another_hash_seed_gives_the_same_log():
    code = "from tests.simulation.lives import play; print([play(seed).fingerprint for seed in (3, 8, 21, 34)])"
    environment = {**os.environ, "PYTHONHASHSEED": "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{[play(seed).fingerprint for seed in (3, 8, 21, 34)]}\n"
