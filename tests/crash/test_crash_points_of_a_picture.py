"""Killed at each named point of a picture's way: its first, a middle and its last, at 1, 8 and 64 in flight."""

from __future__ import annotations

import pytest

from tests.crash.case import OpenCase
from tests.crash.point_kit import PICTURES, Choice, case_for, die, die_again_and_finish, spread
from tests.crash.points import PICTURE


@pytest.mark.parametrize("choice", spread(PICTURE), ids=str)
def test_a_kill_on_a_pictures_way(choice: Choice, open_case: OpenCase) -> None:
    case = case_for(open_case, choice.in_flight)
    passing = choice.passing(PICTURES[choice.in_flight])
    die(case, choice.point, passing)
    if choice.point == "request out, answer not in":
        assert case.desk.requests >= passing, "the request was out"
    die_again_and_finish(case, choice.second)
