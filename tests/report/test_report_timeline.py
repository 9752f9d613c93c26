from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxbatch.budget.records import RunRecord, Sent
from fluxbatch.report.timeline import BINS_MAX, batches, bin_width_s, timeline

SECOND = 1_000_000


def run(name: str, began_s: float, ended_s: float | None) -> RunRecord:
    ended_us = None if ended_s is None else int(ended_s * SECOND)
    return RunRecord(name, "m.csv", int(began_s * SECOND), ended_us, None, None)


def sent(at_s: float, back_s: float | None, end: str | None = "made", nano_usd: int = 0) -> Sent:
    back_us = None if back_s is None else round(back_s * SECOND)
    return Sent(round(at_s * SECOND), back_us, end, None, nano_usd)


def names(found: list[list[RunRecord]]) -> list[list[str]]:
    return [[one.run for one in batch] for batch in found]


def test_runs_that_overlap_are_one_batch():
    runs = [run("a", 0, 10), run("b", 20, 90), run("c", 21, 50), run("d", 60, 80), run("e", 90, 95)]
    assert names(batches(runs)) == [["a"], ["b", "c", "d"], ["e"]]


def test_a_run_that_was_ended_from_outside_lasts_until_the_next_begins():
    assert names(batches([run("killed", 0, None), run("after", 30, 40)])) == [["killed"], ["after"]]
    assert batches([]) == []


@pytest.mark.parametrize(("length_s", "width_s"), [(0, 1), (179, 1), (181, 2), (3600, 30), (8 * 3600, 300)])
def test_the_bins_are_as_narrow_as_may_be(length_s: float, width_s: float):
    assert bin_width_s(length_s) == width_s


@given(st.floats(0, 1e9))
def test_there_are_never_too_many_bins(length_s: float):
    width_s = bin_width_s(length_s)
    assert length_s / width_s <= BINS_MAX
    assert width_s >= 1


def test_nothing_sent_is_no_timeline():
    assert timeline([]) is None


def test_what_came_back_is_counted_by_the_minute():
    found = timeline([sent(0, 0.5), sent(0, 0.9), sent(0.2, 1.5), sent(0.3, 1.6, "throttled"), sent(0, 1.7, "failed")])
    assert found is not None
    assert found.width_s == 1
    assert found.made_per_minute.tolist() == [120, 60]
    assert found.turned_away_per_minute.tolist() == [0, 60]


def test_money_adds_up_when_it_is_charged():
    found = timeline([sent(0, 1.5, nano_usd=10**9), sent(0, 3.5, nano_usd=2 * 10**9), sent(0, 0.5, "throttled")])
    assert found is not None
    assert found.spent_usd.tolist() == [0, 1, 1, 3]


def test_latencies_are_those_of_the_pictures():
    found = timeline([*(sent(0, 1 + index / 100) for index in range(100)), sent(0, 0.1, "throttled")])
    assert found is not None
    assert np.isnan(found.latency_s[:, 0]).all()
    assert found.latency_s[:, 1] == pytest.approx([1.495, 1.891, 1.9801])


def test_what_is_still_on_its_way_is_in_flight_to_the_end():
    found = timeline([sent(0, None, None), sent(0.5, 3.5)])
    assert found is not None
    assert found.in_flight.tolist() == [2, 2, 2, 2]


def test_a_clock_that_was_set_back_makes_no_negative_time():
    found = timeline([sent(10, 5), sent(10, 11.5)])
    assert found is not None
    assert found.starts_s.tolist() == [0, 1]
    assert np.nanmin(found.latency_s) == 0


def in_flight_by_hand(sends: list[Sent], first_us: int, behind_us: int) -> int:
    """At the moments when it can only grow: the bin's beginning, and each sending in it."""
    moments = [first_us, *(one.sent_at_us for one in sends if first_us <= one.sent_at_us < behind_us)]

    return max(sum(one.sent_at_us <= moment < (one.resolved_at_us or 0) for one in sends) for moment in moments)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5_000), st.integers(1, 4_000)), min_size=1, max_size=40))
def test_in_flight_is_the_most_at_any_moment(times: list[tuple[int, int]]):
    sends = [sent(at_ms / 1000, (at_ms + took_ms) / 1000) for at_ms, took_ms in times]
    found = timeline(sends)
    assert found is not None
    first_us = found.began_at_us
    by_hand: list[Any] = [
        in_flight_by_hand(sends, first_us + number * SECOND, first_us + (number + 1) * SECOND)
        for number in range(found.bins)
    ]
    assert found.in_flight.tolist() == by_hand
