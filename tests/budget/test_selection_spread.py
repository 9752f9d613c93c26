"""`spread`: whatever the budget covers is an even sample over the axes."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxbatch.budget import axes as found_axes
from fluxbatch.budget.axes import Places
from fluxbatch.budget.entries import End, History
from fluxbatch.budget.selection import OnBudget
from fluxbatch.manifest.request import ImageRequest
from tests.budget.selection_kit import axes_of, bought, cell_of, factorial, picture, planned, unevenness, with_own

PRICE = 1_650_000
SHAPES = [(2, 3, 5, 7), (4, 4, 4, 4), (10, 100), (3, 1000), (13, 10), (2, 2, 2, 2, 2, 2), (8, 12, 20), (21, 34)]
SHARES = [Fraction(1, 3), Fraction(1, 10), Fraction(1, 2), Fraction(77, 100)]
WORST = {(4, 4, 4, 4): 3.0, (8, 12, 20): 4.0, (2, 2, 2, 2, 2, 2): 2.5}
"""Pictures by which the worst value of an axis misses its even share; below 1 where the lengths share no factor."""


def cells(rows: list[ImageRequest], shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [cell_of(row.row - 1, shape) for row in rows]


def covering(rows: list[ImageRequest], share: Fraction) -> list[ImageRequest]:
    """What a budget for this share of them buys."""
    return bought(planned(rows, int(len(rows) * share) * PRICE, OnBudget.SPREAD), rows)


@pytest.mark.parametrize("share", SHARES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_each_value_of_each_axis_gets_its_share_and_so_does_each_pair(shape: tuple[int, ...], share: Fraction):
    rows = factorial(shape)
    chosen = cells(covering(rows, share), shape)
    assert len(chosen) == int(len(rows) * share), "and the budget is used"
    assert unevenness(chosen, shape) <= WORST.get(shape, 1.0)
    assert unevenness(chosen, shape, together=2) <= 2.0


@pytest.mark.parametrize(
    ("shape", "k", "in_order", "every_kth"),
    [
        ((2, 3, 5, 7), 7, 20.0, 25.7),
        ((4, 4, 4, 4), 4, 48.0, 48.0),
        ((10, 100), 10, 90.0, 9.0),
        ((3, 1000), 10, 200.0, 2.7),
    ],
    ids=str,
)
def test_in_order_and_every_kth_row_are_what_it_is_there_to_avoid(
    shape: tuple[int, ...], k: int, in_order: float, every_kth: float
):
    """So the measure can fail: the first part leaves values out, and every k-th row meets one value of an axis."""
    rows = factorial(shape)
    assert unevenness(cells(rows[: len(rows) // k], shape), shape) == pytest.approx(in_order, abs=0.05)
    assert unevenness(cells(rows[::k], shape), shape) == pytest.approx(every_kth, abs=0.05)
    assert unevenness(cells(covering(rows, Fraction(1, k)), shape), shape) <= 1.0


def test_the_order_of_the_rows_does_not_matter_to_the_evenness():
    shape = (4, 5, 6)
    rows = factorial(shape)
    random.Random(4).shuffle(rows)
    chosen = bought(planned(rows, 40 * PRICE, OnBudget.SPREAD), rows)
    assert len(chosen) == 40
    assert unevenness(cells(chosen, shape), shape) <= 2.0


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(2, 6), min_size=1, max_size=4),
    st.lists(st.integers(0, 200), min_size=2, max_size=2),
    st.randoms(use_true_random=False),
)
def test_it_never_takes_more_than_fits_more_budget_adds_and_nothing_is_bought_twice(shape, budgets, chance):
    sizes = [256, 512, 768, 1024]
    rows = [
        replace(row, width=size, height=size, own=None)
        for row, size in ((row, chance.choice(sizes)) for row in factorial(shape))
    ]
    less, more = sorted(budgets)
    plan = planned(rows, less * PRICE, OnBudget.SPREAD)
    first = bought(plan, rows)
    spent = sum(row.quote.expected.nano_usd for row in first)
    assert spent <= less * PRICE
    assert plan.fits == len(first), "the plan says what is bought"
    assert plan.fits_nano_usd == spent
    keys = frozenset(row.key for row in first)
    made = {key: History(1, made=True, end=End.MADE) for key in keys}
    second = bought(planned(rows, more * PRICE - spent, OnBudget.SPREAD, made), rows, keys)
    assert not keys & {row.key for row in second}
    assert spent + sum(row.quote.expected.nano_usd for row in second) <= more * PRICE
    at_once = bought(planned(rows, more * PRICE, OnBudget.SPREAD), rows)
    assert keys <= {row.key for row in at_once}


def test_two_halves_are_as_even_as_one_whole():
    shape = (3, 4, 5, 6)
    rows = factorial(shape)
    first = covering(rows, Fraction(1, 6))
    keys = frozenset(row.key for row in first)
    made = {key: History(1, made=True, end=End.MADE) for key in keys}
    second = bought(planned(rows, 60 * PRICE, OnBudget.SPREAD, made), rows, keys)
    assert {row.key for row in (*first, *second)} == {row.key for row in covering(rows, Fraction(1, 3))}


class TestAxes:
    def named(self, rows: list[ImageRequest]) -> dict[str, int]:
        return {axis.name: axis.length for axis in axes_of(rows).axes}

    def test_they_are_the_users_columns_and_the_parameters(self):
        assert self.named(factorial((3, 4), prompt="the same")) == {"a": 3, "b": 4}

    def test_a_prompt_that_follows_from_its_parts_is_no_axis_of_its_own(self):
        rows = factorial((3, 4))  # each row has a prompt of its own
        assert self.named(rows) == {"a": 3, "b": 4}

    def test_columns_that_are_zipped_are_one_axis(self):
        words = pa.record_batch({"word": ["one", "two", "one", "two"], "number": [1, 2, 1, 2]})
        rows = [with_own(picture(n + 1, prompt="p"), words, n) for n in range(4)]
        assert self.named(rows) == {"word": 2}

    def test_a_finer_column_counts_what_the_coarser_one_leaves_open(self):
        kinds = pa.record_batch({"kind": [f"kind {n % 3}" for n in range(30)]})
        rows = [with_own(picture(n + 1, prompt=f"animal {n}"), kinds, n) for n in range(30)]
        assert self.named(rows) == {"kind": 3, "prompt": 10}

    def test_a_users_column_named_like_a_parameter_is_another_axis(self):
        words = pa.record_batch({"size": [f"fits {n // 2}" for n in range(4)]})
        rows = [with_own(picture(n + 1, (512, 256)[n % 2], 512, prompt="p"), words, n) for n in range(4)]
        assert [(axis.name, axis.length) for axis in axes_of(rows).axes] == [("size", 2), ("size", 2)]

    def test_size_is_one_axis(self):
        sizes = [(512, 512), (512, 256), (256, 512)]
        rows = [picture(n + 1, *size, prompt=f"p{m}") for m in range(4) for n, size in enumerate(sizes)]
        assert self.named(rows) == {"size": 3, "prompt": 4}

    def test_a_column_with_too_many_values_is_none_and_its_rows_are_spread_within_their_cells(
        self, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(found_axes, "VALUES_MAX", 50)
        kinds = pa.record_batch({"kind": [f"kind {n % 5}" for n in range(300)]})
        rows = [with_own(picture(n + 1), kinds, n) for n in range(300)]
        assert self.named(rows) == {"kind": 5}
        chosen = bought(planned(rows, 100 * PRICE, OnBudget.SPREAD), rows)
        kinds_chosen = [row.row % 5 for row in chosen]
        assert len(chosen) == 100
        assert all(18 <= kinds_chosen.count(kind) <= 22 for kind in range(5))

    def test_a_manifest_without_any_is_sampled_evenly_along_its_rows(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(found_axes, "VALUES_MAX", 10)
        rows = [picture(n + 1) for n in range(900)]
        assert self.named(rows) == {}
        chosen = [row.row for row in bought(planned(rows, 300 * PRICE, OnBudget.SPREAD), rows)]
        assert len(chosen) == 300
        assert all(28 <= sum(start < row <= start + 90 for row in chosen) <= 32 for start in range(0, 900, 90))

    def test_a_coded_column_is_compared_by_its_words(self):
        one = pa.record_batch({"w": pa.array(["x", "y"]).dictionary_encode()})
        other = pa.record_batch({"w": pa.array(["y", "x"]).dictionary_encode()})
        rows = [
            with_own(picture(2 * n + m + 1, prompt="p"), batch, m)
            for n, batch in enumerate((one, other))
            for m in (0, 1)
        ]
        assert self.named(rows) == {"w": 2}

    def test_places_are_the_same_in_every_reading(self):
        rows = factorial((3, 5))
        axes = axes_of(rows)
        first, second = Places(axes), Places(axes)
        assert [first.next(row) for row in rows] == [second.next(row) for row in rows]
