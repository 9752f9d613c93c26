"""How a run stands: the estimate and its spread, the last minutes, and what travels through the ledger."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from fluxbatch.budget.wishes import TOLD_MAX
from fluxbatch.progress import (
    REASONS_MAX,
    SAMPLE_S,
    SAMPLES_MAX,
    TEXT_MAX,
    Eta,
    OfModel,
    Progress,
    Reason,
    Trace,
    eta,
    reasons_of,
    sum_of,
)

FULL = Progress(
    asked=120, goal=100, done=40, made=38, in_flight=8, in_flight_max=16, in_flight_most=32, requests=44, refusals=3,
    per_minute=12.5, rate=60.0, rate_most=720.0, eta=Eta(300.0, 250.0, 350.0), speeds=(10, 12), flights=(7, 8),
    reasons=(Reason("3040", "no room", 3),), models=(OfModel("flux-2-dev", 38, 8, 12, 1.5),), paused_by="ann@desk",
    paused_at_us=7, trouble="none",
)  # fmt: skip


def test_an_even_stream_ends_when_it_says_so():
    found = eta(600, [(50, 5.0)] * 20)
    assert found == Eta(60.0, 60.0, 60.0)


def test_nothing_is_said_before_anything_came_nor_about_a_spread_from_too_little():
    assert eta(10, []) is None
    assert eta(10, [(0, 5.0)] * 20) is None
    assert eta(10, [(5, 5.0), (4, 5.0)]) == Eta(pytest.approx(11.111, abs=0.01))
    assert eta(0, []) == Eta(0.0)


def test_the_formula_by_hand():
    """r = 2/s, v = (4 x (10-5x2... )): counts 5 and 15 in 5 s: each is 5 off, (25/5) x 4 / 3 = 20/3."""
    found = eta(100, [(5, 5.0), (15, 5.0), (5, 5.0), (15, 5.0)])
    spread = 20 / 3
    variance = 100 * spread / 2**3 + (100 / 2**2) ** 2 * spread / 20
    assert found is not None
    assert found.seconds == 50.0
    assert found.high_s == pytest.approx(50 + 1.2816 * variance**0.5)
    assert found.low_s == pytest.approx(50 - 1.2816 * variance**0.5)


@pytest.mark.parametrize(("rate", "burst"), [(2.0, 1), (10.0, 8)])
def test_four_in_five_runs_end_within_the_spread(rate: float, burst: int):
    """Pictures come by chance, one by one or in bursts; the estimate is made from 40 intervals, then they come on."""
    chance, left, inside, tries = random.Random(7), 2000, 0, 300
    for _ in range(tries):

        def interval(seconds: float = 5.0) -> int:
            at, count = chance.expovariate(rate / burst), 0
            while at < seconds:
                at, count = at + chance.expovariate(rate / burst), count + burst
            return count

        found = eta(left, [(interval(), 5.0) for _ in range(40)])
        assert found is not None
        assert found.low_s is not None
        assert found.high_s is not None
        passed_s, came = 0.0, 0
        while came < left:
            passed_s, came = passed_s + chance.expovariate(rate / burst), came + burst
        inside += found.low_s <= passed_s <= found.high_s
    assert 0.72 <= inside / tries <= 0.88


def test_a_wider_stream_has_a_wider_spread_and_a_longer_look_a_narrower_one():
    def width(intervals: list[tuple[int, float]]) -> float:
        found = eta(500, intervals)
        assert found is not None
        assert found.low_s is not None
        assert found.high_s is not None
        return found.high_s - found.low_s

    assert width([(4, 5.0), (6, 5.0)] * 10) < width([(0, 5.0), (10, 5.0)] * 10)
    assert width([(4, 5.0), (6, 5.0)] * 30) < width([(4, 5.0), (6, 5.0)] * 3)


class TestTrace:
    def test_intervals_are_as_long_as_they_were(self):
        trace = Trace()
        for at_s, done in ((0.0, 3), (1.0, 4), (SAMPLE_S, 8), (SAMPLE_S + 10.0, 8), (2 * SAMPLE_S + 10.0, 11)):
            trace.note(at_s, done, in_flight=done)
        assert [(one.done, one.seconds) for one in trace.samples] == [(5, 5.0), (0, 10.0), (3, 5.0)]
        assert trace.per_minute == (60, 0, 36)
        assert trace.in_flight == (8, 8, 11)

    def test_what_came_before_the_first_picture_and_what_was_halted_is_no_news_about_the_speed(self):
        trace = Trace()
        for step, (done, halted) in enumerate(((0, 0), (0, 0), (2, 0), (12, 0), (12, 1), (12, 1), (22, 0), (32, 0))):
            trace.note(step * SAMPLE_S, done, 4, bool(halted))
        # The interval that began while it was halted was not whole.
        assert trace.intervals() == [(10, 5.0), (10, 5.0)]

    def test_only_the_last_minutes_are_kept(self):
        trace = Trace()
        for step in range(3 * SAMPLES_MAX):
            trace.note(step * SAMPLE_S, step, 1)
        assert len(trace.samples) == SAMPLES_MAX


class TestInTheLedger:
    def test_it_comes_out_as_it_went_in(self):
        assert Progress.from_text(FULL.to_text(TOLD_MAX)) == FULL
        assert Progress.from_text(Progress().to_text(TOLD_MAX)) == Progress()

    def test_what_another_fluxbatch_says_more_or_less_is_no_trouble(self):
        assert Progress.from_text('{"asked": 3, "weather": "fair"}') == Progress(asked=3)

    def test_however_much_the_platform_says_it_is_never_too_long(self):
        reasons = reasons_of(
            [(f"{n}" * 500, n) for n in range(99)], {f"{n}" * 500: "\U0001f98a" * 9999 for n in range(99)}
        )
        assert len(reasons) == REASONS_MAX
        assert max(len(one.text) for one in reasons) == TEXT_MAX
        assert len(replace(FULL, reasons=reasons).to_text(TOLD_MAX)) <= TOLD_MAX
        models = tuple(OfModel("m" * 200, 1, 1, 1) for _ in range(500))
        text = replace(FULL, models=models, reasons=reasons).to_text(TOLD_MAX)
        assert len(text) <= TOLD_MAX
        assert Progress.from_text(text).done == 40

    def test_the_latest_reason_stands_first(self):
        texts = {"8007": "older", "3040": "newer"}
        assert [one.code for one in reasons_of([("3040", 5), ("8007", 1)], texts)] == ["3040", "8007"]


class TestSum:
    def test_counts_are_added_and_the_last_one_says_when_it_is_over(self):
        slow = replace(FULL, eta=Eta(900.0, 800.0, 990.0), speeds=(1, 2, 3), flights=(1, 1, 1), paused_by=None)
        both = sum_of([FULL, slow])
        assert (both.done, both.goal, both.in_flight, both.refusals, both.per_minute) == (80, 200, 16, 6, 25.0)
        assert both.eta == Eta(900.0, 800.0, 990.0)
        assert (both.speeds, both.flights) == ((1, 12, 15), (1, 8, 9))
        assert both.paused_by is None, "one of them is not paused"
        assert sum_of([FULL, FULL]).paused_by == "ann@desk"

    def test_nobody_knows_when_it_is_over_while_one_of_them_does_not(self):
        assert sum_of([FULL, replace(FULL, eta=None)]).eta is None
        done = replace(FULL, done=100, eta=None)
        assert sum_of([FULL, done]).eta == FULL.eta, "one that is done holds nothing up"

    def test_one_alone_is_itself(self):
        assert sum_of([FULL]) is FULL
