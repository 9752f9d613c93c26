"""The rule for how many are in flight, as a pure function; the gate that keeps it is in test_gate.py."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxbatch.budget.entries import Learned
from fluxbatch.dispatch.adapt import (
    EPISODE_S,
    FIRST_LIMIT,
    FIRST_LIMIT_PACED,
    LATE_S,
    Flight,
    first_flight,
    late,
    proved,
    refused,
)

flights = st.builds(
    lambda limit, most, goal: Flight(min(limit, most), most, goal=min(max(goal, min(limit, most)), most)),
    st.integers(1, 300),
    st.integers(1, 300),
    st.integers(1, 300),
)


@pytest.mark.parametrize(
    ("most", "learned", "paced", "expected"),
    [
        (256, None, False, Flight(FIRST_LIMIT, 256, goal=256)),
        (256, None, True, Flight(FIRST_LIMIT_PACED, 256, goal=256)),
        (4, None, True, Flight(4, 4, goal=4)),
        (1, None, False, Flight(1, 1, goal=1)),
        (256, Learned(64, True, None, None), True, Flight(64, 256, goal=64)),
        (256, Learned(64, False, None, None), True, Flight(64, 256, goal=256)),
        (10, Learned(64, True, None, None), True, Flight(10, 10, goal=10)),
    ],
)
def test_where_a_run_begins(most: int, learned: Learned | None, paced: bool, expected: Flight):
    assert first_flight(most, learned, paced) == expected


def grown_by_rounds(flight: Flight, rounds: int) -> list[int]:
    """The limit after each round in which everything that may be sent is sent and proved."""
    limits = []
    for number in range(rounds):
        for _ in range(flight.limit):
            flight = proved(flight, flight.limit, float(number))
        limits.append(flight.limit)
    return limits


def test_below_the_goal_the_limit_doubles_by_rounds():
    limits = grown_by_rounds(Flight(8, 1000, goal=1000), 8)
    assert limits == [16, 32, 64, 128, 256, 512, 1000, 1000]
    assert len(set(limits)) == math.ceil(math.log2(1000 / 8))


def test_above_the_goal_the_limit_grows_in_steps_of_five_percent():
    assert grown_by_rounds(Flight(100, 1000, goal=100), 3) == [105, 110, 115]
    assert grown_by_rounds(Flight(4, 1000, goal=4), 3) == [5, 6, 7]


def test_the_users_limit_is_never_passed():
    assert grown_by_rounds(Flight(99, 100, goal=99), 5)[-1] == 100


@pytest.mark.parametrize(("goal", "enough"), [(1000, 50), (100, 80)])
def test_nothing_grows_while_the_limit_is_not_what_holds_us_back(goal: int, enough: int):
    flight = Flight(100, 1000, goal=goal, proofs=99)
    assert proved(flight, enough - 1, 0.0) is flight
    assert proved(flight, enough, 0.0).limit > 100


def test_nothing_grows_for_a_while_after_a_cut():
    cut = refused(Flight(100, 1000, goal=100), 0, 1000.0)
    assert proved(cut, cut.limit, 1000.0 + EPISODE_S - 0.01) is cut
    grown = cut
    for _ in range(cut.limit):
        grown = proved(grown, cut.limit, 1000.0 + EPISODE_S)
    assert grown.limit > cut.limit


def test_nothing_grows_for_a_while_after_a_late_signal_and_nothing_is_cut():
    held = late(Flight(10, 1000, goal=1000), 1000.0)
    assert held.limit == 10
    assert proved(held, 10, 1000.0 + LATE_S - 0.01) is held
    assert proved(held, 10, 1000.0 + LATE_S).limit == 11


def test_the_first_cut_goes_to_what_was_in_flight_unrefused():
    flight = refused(Flight(64, 256, goal=256), 50, 1000.0)
    assert (flight.limit, flight.goal) == (50, 50)


def test_a_refusal_that_comes_alone_takes_at_least_one():
    assert refused(Flight(64, 256, goal=64), 63, 1000.0).limit == 63
    assert refused(Flight(64, 256, goal=64), 200, 1000.0).limit == 63


def test_one_episode_cuts_once():
    flight = refused(Flight(100, 256, goal=100), 95, 1000.0)
    assert flight.limit == 95
    for number in range(40):  # the others that were refused with it, down to what is left in flight
        flight = refused(flight, 95 - number, 1000.0 + number * 0.1)
    assert flight.limit == 56
    for number in range(200):
        flight = refused(flight, 0, 1005.0 + number * 0.01)
    assert flight.limit == 50  # never under half within an episode
    assert refused(flight, 0, 1000.0 + EPISODE_S).limit < 50  # the next episode


def test_the_floor_is_one():
    flight = Flight(1, 256, goal=256)
    for number in range(50):
        flight = refused(flight, 0, number * EPISODE_S)
    assert flight.limit == 1


def test_after_an_outage_the_way_back_is_short():
    """An outage lowers the limit to one; what held before is reached again in a few rounds, not one by one."""
    flight, now_s = Flight(100, 256, goal=100), 0.0
    while flight.limit > 1:
        for number in range(20):
            flight = refused(flight, 0, now_s + number * 0.5)
        now_s += EPISODE_S
    assert flight.goal >= 50
    rounds = 0
    while flight.limit < 50:
        rounds += 1
        for _ in range(flight.limit):
            flight = proved(flight, flight.limit, now_s + EPISODE_S)
    assert rounds <= math.ceil(math.log2(50)) + 1


@given(
    flights,
    st.lists(
        st.tuples(st.sampled_from(["proved", "refused", "late"]), st.integers(0, 400), st.floats(0, 40)), max_size=80
    ),
)
def test_whatever_happens_the_limit_stays_between_one_and_most(flight: Flight, events: list[tuple[str, int, float]]):
    now_s = 0.0
    for kind, others, passed_s in events:
        now_s += passed_s
        before = flight
        match kind:
            case "proved":
                flight = proved(flight, others, now_s)
                assert flight.limit >= before.limit
            case "refused":
                flight = refused(flight, others, now_s)
                assert flight.limit <= before.limit
            case _:
                flight = late(flight, now_s)
                assert flight.limit == before.limit
        assert 1 <= flight.limit <= flight.most
        assert flight.limit <= flight.goal <= flight.most
        assert flight.most == before.most


@given(flights, st.lists(st.tuples(st.integers(0, 400), st.floats(0, EPISODE_S - 0.1)), min_size=1, max_size=60))
def test_however_many_are_refused_in_an_episode_at_most_half_is_lost(flight: Flight, refusals: list[tuple[int, float]]):
    first, cut = True, flight
    for others, at_s in sorted(refusals, key=lambda one: one[1]):
        cut = refused(cut, others, 1000.0 + (0.0 if first else at_s))
        first = False
    assert cut.limit >= max(1, flight.limit // 2)
