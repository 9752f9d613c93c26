"""Killed at each named point of sealing, while it is fed from the spool of a run that died before."""

from __future__ import annotations

import pytest

from tests.crash.case import OpenCase
from tests.crash.point_kit import PARTS, PICTURES, Choice, case_for, die, die_again_and_finish, spread
from tests.crash.points import PART


@pytest.mark.parametrize("choice", spread(PART), ids=str)
def test_a_kill_while_sealing(choice: Choice, open_case: OpenCase) -> None:
    case = case_for(open_case, choice.in_flight)
    pictures = PICTURES[choice.in_flight]
    if choice.which == "middle":
        die(case, "booked, not sealed", pictures // PARTS - 1)  # the part is made of pictures of two runs
    most = pictures if choice.point == "spool half emptied" else PARTS
    die(case, choice.point, 2 if choice.which == "middle" else choice.passing(most))
    die_again_and_finish(case, choice.second)
