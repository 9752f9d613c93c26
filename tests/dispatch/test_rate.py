from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxbatch.dispatch.rate import CUT, GROWTH, STRETCH_MAX_S, WINDOW_S, Rate, grown, measured


def test_an_unknown_rate_is_what_was_accepted_in_the_span_until_it_is_accepted_again():
    rate = measured(Rate(None, None), accepted=20, span_s=1.25, now_s=100.0)
    assert rate.per_second == 16.0
    assert (rate.stretch_s, rate.since_s) == (1.25, 100.0)


@pytest.mark.parametrize(("span_s", "stretch_s"), [(0.01, 1.0), (30.0, 30.0), (500.0, WINDOW_S)])
def test_the_stretch_that_has_to_be_clean_is_about_the_platforms_window(span_s: float, stretch_s: float):
    assert measured(Rate(None, None), 10, span_s, 0.0).stretch_s == stretch_s


def test_a_rate_is_learned_even_when_nothing_was_accepted():
    assert measured(Rate(None, None), 0, 2.0, 0.0).per_second == 0.5


def test_a_known_rate_that_is_refused_goes_down_a_tenth_and_then_to_what_was_good():
    rate = measured(Rate(12.0, 12.0), 700, 61.0, now_s=5.0)
    assert rate.per_second == pytest.approx(12.0 * CUT)
    assert rate.refused_at == 12.0
    again = measured(grown(rate, 5.0 + rate.stretch_s), 600, 61.0, now_s=50.0)
    assert again.per_second == pytest.approx(12.0 * CUT)


def test_it_grows_after_a_clean_stretch_and_never_past_the_ceiling():
    rate = Rate(10.0, 10.6, since_s=0.0)
    assert grown(rate, 14.9) is rate
    once = grown(rate, 15.0)
    assert once.per_second == 10.0 * GROWTH
    assert grown(once, 29.9) is once
    assert grown(once, 30.0).per_second == 10.6
    assert grown(grown(once, 30.0), 100.0).per_second == 10.6


def test_near_what_was_refused_it_creeps():
    rate = Rate(10.0, None, refused_at=10.2)
    assert grown(rate, 15.0).per_second == pytest.approx(10.1)


def test_the_same_wall_is_touched_ever_more_seldom():
    rate, waits_s, now_s = Rate(20.0, None, stretch_s=1.0), [], 0.0
    for _ in range(12):
        rate = measured(rate, 20, 1.0, now_s)
        waits_s.append(rate.stretch_s)
        now_s += rate.stretch_s
        rate = grown(rate, now_s)
    assert waits_s[0] == 1.0
    assert waits_s[-1] == STRETCH_MAX_S
    assert all(later <= 2 * earlier for earlier, later in itertools.pairwise(waits_s))


def test_a_wall_that_was_passed_is_no_wall():
    rate = grown(Rate(10.0, None, refused_at=10.05), 15.0)
    assert rate.per_second == pytest.approx(10.1)
    assert grown(rate, 30.0).refused_at is None


def test_an_unknown_rate_does_not_grow():
    assert grown(Rate(None, None), 1000.0).per_second is None


@given(st.floats(0.1, 100), st.lists(st.tuples(st.booleans(), st.floats(0, 100)), max_size=60))
def test_a_known_limit_is_never_passed_and_never_falls_to_nothing(ceiling: float, events: list[tuple[bool, float]]):
    rate, now_s = Rate(ceiling, ceiling), 0.0
    for is_refused, passed_s in events:
        now_s += passed_s
        rate = measured(rate, 10, 60.0, now_s) if is_refused else grown(rate, now_s)
        assert rate.per_second is not None
        assert 0 < rate.per_second <= ceiling


@pytest.mark.parametrize("span_s", [100_000.0, 300.0, -3600.0, 0.0])
def test_a_span_that_is_no_window_teaches_no_absurd_rate(span_s: float):
    """Seed 12159 of the world: the clock was set forth a day while "too many" was the answer; the next run crept."""
    learned = measured(Rate(None, None), 12, span_s, 0.0).per_second
    assert learned is not None
    assert 12 / WINDOW_S <= learned <= 12.0
