from __future__ import annotations

from collections import Counter

import pytest

from fluxbatch.budget.entries import Balance, End
from fluxbatch.dispatch.tally import Tally
from fluxbatch.models.money import ZERO, Money


def tally(**values: object) -> Tally:
    return Tally(Balance(1000, ZERO, ZERO, ZERO), **values)  # type: ignore[arg-type]


def test_all_counts_together_are_what_was_asked():
    counts = tally(
        asked=20,
        already=3,
        made=4,
        ended=Counter({End.REFUSED: 2, End.INVALID: 1, End.FAILED: 3, End.LOST: 1}),
    )
    assert (counts.refused, counts.failed, counts.unknown, counts.left, counts.done) == (3, 3, 1, 6, 14)
    parts = counts.already + counts.made + counts.refused + counts.failed + counts.unknown + counts.left
    assert parts == counts.asked == counts.done + counts.left


def test_what_is_too_dear_is_not_left_and_the_goal_is_what_fits():
    counts = tally(asked=20, already=3, made=4, too_dear=2, out_of_reach=6)
    assert (counts.left, counts.done, counts.goal) == (11, 9, 14)
    assert tally(asked=20, made=17, out_of_reach=6).goal == 17  # charges were lower than expected


def test_a_picture_adds_to_the_counts():
    counts = tally(asked=2)
    counts.picture(10.0)
    counts.picture(20.0)
    assert (counts.made, counts.left) == (2, 0)


def test_speed_is_over_the_last_minute_and_forgets_what_is_older():
    counts = tally()
    assert counts.per_minute(0.0) == 0
    for second in range(0, 120, 2):
        counts.picture(float(second))
    assert counts.per_minute(118.0) == pytest.approx(30)
    assert counts.per_minute(148.0) == pytest.approx(15, abs=1)
    assert counts.per_minute(1000.0) == 0


def test_money_moves_as_in_the_ledger():
    counts, bound = tally(), Money(100, 1)
    counts.moved(reserved=bound)
    counts.moved(reserved=bound)
    counts.moved(spent=Money(60, 1), reserved=ZERO - bound)
    counts.moved(reserved=ZERO - bound, unknown=bound)
    assert counts.balance == Balance(1000, spent=Money(60, 1), reserved=ZERO, unknown=bound)
    assert counts.balance.free_nano_usd == 840
