"""What is asked of a manifest: the first pictures, a sample, some rows, none that is too dear."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxbatch.budget.entries import Balance, End, History
from fluxbatch.budget.plan import make_plan
from fluxbatch.budget.selection import EVERYTHING, LOTS, Picked, Selection, highest_lot, lot
from fluxbatch.manifest.reader import Rejected
from fluxbatch.manifest.request import Complaint, ImageRequest
from fluxbatch.models.money import ZERO
from tests.budget.selection_kit import picture

WRONG = Rejected(3, (Complaint("m.csv", 3, "width", "wrong", "mend it"),), {})


def sampled(rows: list[ImageRequest], count: int, seed: int = 0) -> set[str]:
    selection = Selection(sample=count, seed=seed, lot_max=highest_lot((row.key for row in rows), count, seed))
    return {row.key for row in Picked(rows, selection) if isinstance(row, ImageRequest)}


def test_all_rows_are_asked_for_unless_something_is_chosen():
    rows = [picture(1), picture(2), WRONG]
    assert list(Picked(rows, EVERYTHING)) == rows
    assert EVERYTHING.is_whole


class TestLimit:
    def test_the_first_pictures_are_asked_for_and_the_rest_is_not_read(self):
        read: list[int] = []

        def rows() -> Iterator[ImageRequest]:
            for number in range(1, 100):
                read.append(number)
                yield picture(number)

        picked = list(Picked(rows(), Selection(limit=3)))
        assert [row.row for row in picked] == [1, 2, 3]
        assert read == [1, 2, 3]

    def test_a_row_that_cannot_be_sent_is_no_picture(self):
        picked = list(Picked([picture(1), WRONG, picture(4), picture(5)], Selection(limit=2)))
        assert [row.row for row in picked] == [1, 3, 4]

    def test_what_is_made_already_counts_so_the_same_command_buys_nothing_more(self):
        rows = [picture(n) for n in range(10)]
        made = {row.key: History(1, made=True, end=End.MADE) for row in rows[:3]}
        balance = Balance(10**12, ZERO, ZERO, ZERO)
        plan = make_plan(rows, (), balance, lambda keys: made, lambda history: not history.made, Selection(limit=4))
        assert (plan.asked, plan.already, plan.due) == (4, 3, 1)


class TestSample:
    def test_a_sample_has_as_many_as_were_asked_for_or_all_there_are(self):
        rows = [picture(n) for n in range(200)]
        assert len(sampled(rows, 17)) == 17
        assert len(sampled(rows, 200)) == len(sampled(rows, 500)) == 200

    @given(st.integers(1, 60), st.integers(1, 60), st.integers(), st.randoms(use_true_random=False))
    def test_it_neither_depends_on_the_order_nor_loses_a_picture_when_it_grows(self, fewer, more, seed, chance):
        rows = [picture(n) for n in range(60)]
        shuffled = chance.sample(rows, len(rows))
        assert sampled(rows, fewer, seed) == sampled(shuffled, fewer, seed)
        assert sampled(rows, min(fewer, more), seed) <= sampled(rows, max(fewer, more), seed)

    def test_another_seed_is_another_sample(self):
        rows = [picture(n) for n in range(500)]
        assert len({frozenset(sampled(rows, 20, seed)) for seed in range(10)}) == 10

    def test_lots_are_the_same_in_every_process_and_version(self):
        assert lot(0, "a" * 64) == 13_198_885_627_806_510_661
        assert 0 <= lot(-5, "b") < LOTS

    def test_every_picture_is_as_likely_as_another(self):
        rows = [picture(n) for n in range(100)]
        drawn = [sum(row.key in sampled(rows, 50, seed) for seed in range(100)) for row in rows[:20]]
        assert min(drawn) > 25  # 50 +- 5: five deviations
        assert max(drawn) < 75

    def test_what_is_not_drawn_is_counted_and_what_cannot_be_sent_is_told(self):
        rows = [*(picture(n) for n in range(10)), WRONG]
        lot_max = highest_lot((row.key for row in rows if isinstance(row, ImageRequest)), 4, 0)
        picked = Picked(rows, Selection(sample=4, lot_max=lot_max))
        assert len(list(picked)) == 5
        assert picked.outside == 6


def test_a_preview_has_the_first_picture_of_each_row_and_reads_no_further():
    again = picture(2)
    rows = iter([picture(1), picture(2), again, picture(3), WRONG, picture(5), picture(6)])
    picked = Picked(rows, Selection(preview=2, rows=frozenset({2, 5})))
    assert [row.row for row in picked] == [2, 3, 5]
    assert picked.outside == 3
    assert list(rows) == []  # one row further is how the end is known


class TestPrice:
    @pytest.mark.parametrize(
        ("nano_usd", "due", "too_dear"), [(16_500_000, 3, 0), (1_650_000, 2, 1), (1_649_999, 0, 3)]
    )
    def test_what_may_cost_more_is_counted_and_neither_due_nor_paid(self, nano_usd, due, too_dear):
        rows = [picture(1), picture(2, 256, 256), picture(3, 1024, 1024)]
        assert [row.quote.bound.nano_usd for row in rows] == [1_650_000, 1_650_000, 6_600_000]
        balance = Balance(10**12, ZERO, ZERO, ZERO)
        selection = Selection(price_max_nano_usd=nano_usd)
        plan = make_plan(rows, (), balance, lambda keys: {}, lambda history: True, selection)
        assert (plan.asked, plan.due, plan.fits, plan.too_dear) == (3, due, due, too_dear)
        assert plan.bound.nano_usd <= due * nano_usd

    def test_the_bound_counts_because_the_price_is_only_expected(self):
        small = picture(1, 256, 256)
        assert small.quote.expected.nano_usd == 412_500
        assert Selection(price_max_nano_usd=500_000).is_too_dear(small)

    def test_what_is_made_or_has_ended_is_counted_as_that(self):
        rows = [picture(n) for n in range(3)]
        past = {
            rows[0].key: History(1, made=True, end=End.MADE),
            rows[1].key: History(1, end=End.REFUSED),
        }
        plan = make_plan(
            rows, (), Balance(10**12, ZERO, ZERO, ZERO), lambda keys: past,
            lambda history: history.end is None, Selection(price_max_nano_usd=1),
        )  # fmt: skip
        assert (plan.asked, plan.already, plan.ended[End.REFUSED], plan.too_dear, plan.due) == (3, 1, 1, 1, 0)
