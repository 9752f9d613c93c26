"""SIGKILL at random moments, 16 in flight: nothing booked is lost or paid again, and the books balance."""

from __future__ import annotations

import pytest

from tests.crash.case import OpenCase
from tests.crash.random_kit import TESTS, Met, kill_at_random, met

__all__ = ["met"]
FAULTS = ("500+billed*1", "lost-after", "lost-before", "3040*2", "3030-flagged+billed", "8007")
"""In every third test some pictures meet these, and may be bought again by the rules."""


@pytest.mark.parametrize("seed", range(16000, 16000 + TESTS))
def test_kills_at_random_with_16_in_flight(seed: int, open_case: OpenCase, met: Met) -> None:
    kill_at_random(open_case, met, seed, 16, *(FAULTS if seed % 3 == 2 else ()))
