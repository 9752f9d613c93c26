"""`cheapest-first`: as many pictures as there can be, and never more than fits."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from fluxbatch.budget.entries import End, History
from fluxbatch.budget.rounds import Price, most_pictures, next_round
from fluxbatch.budget.selection import OnBudget
from tests.budget.selection_kit import bought, in_order, most_by_trying, picture, planned

PRICES = st.lists(
    st.tuples(st.integers(0, 20), st.integers(0, 20)).map(lambda pair: (pair[0], sum(pair))), max_size=8
)  # expected and bound
SIZES = st.sampled_from([(256, 256), (512, 512), (768, 768), (512, 768), (1024, 1024)])
ROWS = st.lists(st.tuples(SIZES, st.integers(1, 3)), max_size=25)


@given(PRICES, st.integers(0, 90))
def test_it_is_the_most_that_any_order_of_buying_could_get(prices: list[Price], free: int):
    chosen = most_pictures(Counter(prices), free)
    assert sum(chosen.values()) == most_by_trying(prices, free)
    assert not Counter(chosen) - Counter(prices)


@given(PRICES, st.integers(0, 90))
def test_a_round_fits_in_whatever_order_it_is_sent_and_there_is_one_while_anything_fits(prices: list[Price], free: int):
    taken = next_round(Counter(prices), free)
    spare = max((bound - expected for expected, bound in taken), default=0)
    assert not taken or sum(expected * count for (expected, _), count in taken.items()) + spare <= free
    assert bool(taken) == any(bound <= free for _, bound in prices)


@given(ROWS, st.integers(0, 30_000_000))
def test_it_buys_at_least_as_many_as_in_order_for_no_more_than_there_is(rows, free: int):
    asked = [picture(row, *size, steps) for row, (size, steps) in enumerate(rows, 1)]
    found = bought(planned(asked, free, OnBudget.CHEAPEST_FIRST), asked)
    assert len(found) >= len(in_order(asked, free))
    assert sum(one.quote.expected.nano_usd for one in found) <= free
    assert len({one.key for one in found}) == len(found)


@given(ROWS, st.integers(0, 30_000_000))
def test_the_plan_says_what_is_bought(rows, free: int):
    asked = [picture(row, *size, steps) for row, (size, steps) in enumerate(rows, 1)]
    plan = planned(asked, free, OnBudget.CHEAPEST_FIRST)
    found = bought(plan, asked)
    assert plan.fits == len(found)
    assert plan.fits_nano_usd == sum(one.quote.expected.nano_usd for one in found)


def test_cheap_ones_are_bought_wherever_they_stand_and_equal_ones_in_order():
    sizes = [1024, 512, 1024, 256, 512, 256]
    asked = [picture(row, size, size) for row, size in enumerate(sizes, 1)]
    free = 2 * 412_500 + 2 * 1_650_000
    found = bought(planned(asked, free, OnBudget.CHEAPEST_FIRST), asked)
    assert sorted(one.row for one in found) == [2, 4, 5, 6]
    less = bought(planned(asked, free - 1, OnBudget.CHEAPEST_FIRST), asked)
    assert sorted(one.row for one in less) == [2, 4, 6]


def test_what_the_first_round_saved_buys_more_and_nothing_twice():
    """Charges that turn out lower than expected leave room for another round."""
    asked = [picture(row) for row in range(1, 11)]
    plan = planned(asked, 4 * 1_650_000, OnBudget.CHEAPEST_FIRST)
    assert plan.order is not None
    rounds = plan.order.rounds()
    assert rounds.begin(4 * 1_650_000) is not None
    first = [row.row for row in asked if rounds.takes(row, is_due=True)]
    assert rounds.begin(2 * 1_650_000) is not None
    second = [row.row for row in asked if rounds.takes(row, is_due=row.row not in first)]
    assert (first, second) == ([1, 2, 3, 4], [5, 6])
    assert rounds.begin(1_649_999) is None
    assert [row.row for row in asked if rounds.takes(row, is_due=row.row > 6)] == []


def test_a_row_that_failed_in_one_round_is_not_taken_by_the_next():
    asked = [picture(row) for row in range(1, 5)]
    plan = planned(asked, 2 * 1_650_000, OnBudget.CHEAPEST_FIRST)
    assert plan.order is not None
    rounds = plan.order.rounds()
    rounds.begin(2 * 1_650_000)
    assert [row.row for row in asked if rounds.takes(row, is_due=True)] == [1, 2]
    rounds.begin(1_650_000)
    assert [row.row for row in asked if rounds.takes(row, is_due=True)] == [3]  # 1 failed, and would be due again


def test_more_budget_adds_to_what_is_made():
    asked = [picture(row, size, size) for row, size in enumerate([1024, 512, 256] * 5, 1)]
    first = bought(planned(asked, 10_000_000, OnBudget.CHEAPEST_FIRST), asked)
    made = {one.key: History(1, made=True, end=End.MADE) for one in first}
    more = planned(asked, 20_000_000, OnBudget.CHEAPEST_FIRST, made)
    second = bought(more, asked, frozenset(made))
    assert more.already == len(first)
    assert not {one.key for one in first} & {one.key for one in second}
    assert len(second) == more.fits > 0
