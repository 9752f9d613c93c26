"""SIGKILL at random moments, 64 in flight: nothing booked is lost or paid again, and the books balance."""

from __future__ import annotations

import pytest

from tests.crash.case import OpenCase
from tests.crash.random_kit import TESTS, Met, kill_at_random, met

__all__ = ["met"]


@pytest.mark.parametrize("seed", range(64000, 64000 + TESTS))
def test_kills_at_random_with_64_in_flight(seed: int, open_case: OpenCase, met: Met) -> None:
    kill_at_random(open_case, met, seed, 64)
