"""SIGKILL at random moments, 16 in flight: nothing booked is lost or paid again, and the books balance."""

from __future__ import annotations

import pytest

from tests.crash.case import OpenCase
from tests.crash.random_kit import PLAIN, TESTS, Kind, Met, kill_at_random, met

__all__ = ["met"]

FAULTS = ("500+billed*1", "lost-after", "lost-before", "3040*2", "3030-flagged+billed", "8007")
KINDS = (
    PLAIN,
    Kind(FAULTS, ("--resend-lost", "1"), shuffled=True),
    Kind(FAULTS, budget="0.08"),
)
"""What was lost is bought again when it is asked for; a budget of about 150 of the 180 pictures, if none is lost."""


@pytest.mark.parametrize("seed", range(16000, 16000 + TESTS))
def test_kills_at_random_with_16_in_flight(seed: int, open_case: OpenCase, met: Met) -> None:
    kill_at_random(open_case, met, seed, 16, KINDS[seed % 3])
