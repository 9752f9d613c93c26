"""How many nights a batch takes: counted by hand, and against a run a night, picture by picture."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxbatch.budget.entries import FREE_A_DAY, Held, Payer, Period, Scope, Window, windows_of
from fluxbatch.budget.limits import Nights, Standing, nights_of, tightest, unspent
from fluxbatch.models.money import Money, charge
from fluxbatch.models.price import Quote

TODAY = date(2026, 11, 29)
DAY = Window("a", Period.DAY, TODAY)
MONTH = Window("a", Period.MONTH, TODAY.replace(day=1))
TOTAL = Window("p", Period.TOTAL, None, Scope.PROJECT)
RUN = Window("r", Period.TOTAL, None, Scope.RUN)
PLENTY = 10**15


def price(expected: int, bound: int) -> Quote:
    return Quote(expected=Money(expected, expected), bound=Money(bound, bound))


TEN = price(10, 12)


def standing(window: Window, cap: int | None, gone: int = 0) -> Standing:
    return Standing(window, Held(spent=Money(gone, gone)), cap)


@pytest.mark.parametrize(
    ("standings", "free", "expected"),
    [
        ([], PLENTY, Nights(1, 25, TODAY)),
        ([standing(DAY, None)], PLENTY, Nights(1, 25, TODAY)),
        ([standing(DAY, 102)], PLENTY, Nights(3, 25, date(2026, 12, 1))),  # ten a night: 9 x 10 and a bound of 12
        ([standing(DAY, 101)], PLENTY, Nights(3, 25, date(2026, 12, 1))),  # nine a night
        ([standing(DAY, 102, gone=95)], PLENTY, Nights(3, 25, date(2026, 12, 2))),  # tonight none
        ([standing(DAY, 11)], PLENTY, Nights(0, 0, None)),  # never
        ([standing(RUN, 102)], PLENTY, Nights(3, 25, date(2026, 12, 1))),
        ([standing(TOTAL, 102)], PLENTY, Nights(1, 10, TODAY)),
        ([], 102, Nights(1, 10, TODAY)),
        ([standing(MONTH, 102)], PLENTY, Nights(3, 25, date(2027, 1, 1))),
        ([standing(MONTH, 102), standing(DAY, 52)], PLENTY, Nights(5, 25, date(2027, 1, 1))),
        ([standing(DAY, 102), standing(TOTAL, 202, gone=10)], PLENTY, Nights(2, 19, date(2026, 11, 30))),
    ],
)
def test_nights_are_counted_as_the_guard_will(standings: list[Standing], free: int, expected: Nights):
    assert nights_of([(TEN, 25)], standings, free, TODAY) == expected


def test_free_pictures_take_one_night():
    assert nights_of([(price(0, 0), 10**6)], [standing(DAY, 0)], PLENTY, TODAY) == Nights(1, 10**6, TODAY)


def test_nothing_due_takes_no_night():
    assert nights_of([], [standing(DAY, 5)], PLENTY, TODAY) == Nights(0, 0, None)


def test_the_free_allocation_makes_so_many_pictures_a_night():
    picture = Quote(expected=charge(93_750), bound=charge(93_750))  # FLUX.2 [dev], 512x512, 25 steps: 937.5 neurons
    free = [standing(DAY, FREE_A_DAY.nano_usd)]
    assert nights_of([(picture, 30)], free, PLENTY, TODAY) == Nights(3, 30, TODAY + timedelta(days=2))


def _night_by_night(prices: list[tuple[Quote, int]], day: int, month: int, free: int, first: date) -> tuple[int, int]:
    """A run a night, a picture at a time: how many nights made any, and how many pictures."""
    left = [one for one, count in prices for _ in range(count)]
    gone_month, today, nights, made = 0, first, 0, 0
    for _ in range(2_000):
        gone_day = 0
        while left:
            bound = left[0].bound.nano_usd
            if gone_day + bound > day or gone_month + bound > month or bound > free:
                break
            spent = left.pop(0).expected.nano_usd
            gone_day, gone_month, free, made = gone_day + spent, gone_month + spent, free - spent, made + 1
        nights += gone_day > 0
        before, today = today, today + timedelta(days=1)
        gone_month = 0 if today.month != before.month else gone_month
        if not left:
            break
    return nights, made


quotes = st.tuples(st.integers(1, 20), st.integers(0, 5)).map(lambda pair: price(pair[0], pair[0] + pair[1]))


@settings(max_examples=100, deadline=None)
@given(
    prices=st.lists(st.tuples(quotes, st.integers(1, 12)), max_size=4),
    day=st.integers(0, 120),
    month=st.integers(0, 300),
    free=st.integers(0, 500),
    first=st.dates(date(2026, 1, 1), date(2028, 12, 31)),
)
def test_nights_are_those_of_a_run_a_night(
    prices: list[tuple[Quote, int]], day: int, month: int, free: int, first: date
):
    standings = [
        standing(Window("a", Period.DAY, first), day),
        standing(Window("a", Period.MONTH, first.replace(day=1)), month),
    ]
    found = nights_of(prices, standings, free, first)
    assert (found.count, found.pictures) == _night_by_night(prices, day, month, free, first)


def test_the_tightest_has_the_least_left():
    assert tightest([standing(DAY, None), standing(MONTH, 100, gone=90), standing(TOTAL, 50)]) == standing(
        MONTH, 100, gone=90
    )
    assert tightest([standing(DAY, None)]) is None


def test_a_ledger_that_is_still_to_be_made_caps_only_what_the_run_asks_for():
    at_us = round(datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp() * 1e6)
    payer = Payer("a", "r", "p", None, FREE_A_DAY.nano_usd)
    found = {(one.window.scope, one.window.period): one.cap_nano_usd for one in unspent(payer, at_us, 5)}
    assert found.keys() == {(window.scope, window.period) for window in windows_of(payer, at_us)}
    assert {name: cap for name, cap in found.items() if cap is not None} == {
        (Scope.ACCOUNT, Period.DAY): 110_000_000,
        (Scope.RUN, Period.TOTAL): 5,
    }
