"""The rate, over any window, however the requests arrive and whatever the process and its clock do."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Sequence
from contextlib import closing

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fluxbatch.budget.store import Store
from fluxbatch.dispatch.distance import UNPACED_S
from fluxbatch.dispatch.pace import Pace
from tests.dispatch.dispatch_kit import ACCOUNT, InlineJournal
from tests.dispatch.virtual import EPOCH_S, Clock, in_virtual_time, now, stall
from tests.soak import soak

WINDOW_S = 60.0
ROUNDING_S = 1e-5
"""Moments are microseconds in the ledger, and the wall clock of 2027 has a quarter of one to spare."""


def pace_on(store: Store, per_minute: float | None, clock: Clock | None = None, **options: float) -> Pace:
    journal = InlineJournal(store, delay_s=options.get("delay_s", 0.0))
    return Pace(journal, ACCOUNT, per_minute, options.get("learned"), clock or Clock())


async def depart(pace: Pace, departures: list[float]) -> None:
    await pace.depart(await pace.turn())
    departures.append(now())


def most_in_a_window(departures: Sequence[float], window_s: float = WINDOW_S) -> int:
    """The most departures in any window; one that leaves exactly as another enters does not count."""
    times, first, most = sorted(departures), 0, 0
    for last, at in enumerate(times):
        while times[first] <= at - window_s + ROUNDING_S:
            first += 1
        most = max(most, last - first + 1)
    return most


def in_memory(work: Callable[[Store], object]) -> None:
    with closing(Store("sqlite://")) as store:
        work(store)


def test_departures_that_are_all_there_at_once_leave_at_the_rate(store: Store):
    async def work() -> list[float]:
        pace, departures = pace_on(store, 720), list[float]()
        await asyncio.gather(*(depart(pace, departures) for _ in range(1500)))
        return departures

    departures = in_virtual_time(work)
    assert most_in_a_window(departures) <= 720
    assert most_in_a_window(departures) >= 705  # and hardly less: the headroom is a percent or so
    assert departures[0] == 0


def test_moments_that_pass_unused_are_not_caught_up_with(store: Store):
    async def work() -> list[float]:
        pace, departures = pace_on(store, 60), list[float]()
        await depart(pace, departures)
        await asyncio.sleep(1000)
        await asyncio.gather(*(depart(pace, departures) for _ in range(3)))
        return departures

    departures = in_virtual_time(work)
    assert departures[1] == 1000
    assert [after - before for before, after in itertools.pairwise(departures[1:])] == pytest.approx(
        [1.015, 1.015], abs=1e-3
    )


def test_turns_are_given_first_come_first_served(store: Store):
    async def work() -> list[int]:
        pace, order = pace_on(store, 120), list[int]()

        async def one(number: int) -> None:
            await pace.depart(await pace.turn())
            order.append(number)

        await asyncio.gather(*(one(number) for number in range(30)))
        return order

    assert in_virtual_time(work) == list(range(30))


def test_a_turn_is_given_just_before_its_moment_so_that_the_reservation_can_be_written(store: Store):
    async def work() -> list[float]:
        clock = Clock()
        pace = pace_on(store, 60, clock)
        await pace.turn()
        turn = await pace.turn()
        assert turn is not None
        early_s = turn - clock()
        await pace.depart(turn)
        return [early_s, turn - clock()]

    early_s, left_s = in_virtual_time(work)
    assert 0 < early_s <= 0.06
    assert left_s == pytest.approx(0, abs=ROUNDING_S)


@given(
    st.integers(2, 40),
    st.lists(st.sampled_from([0.0, 0.01, 0.5, 3.0, 40.0]), min_size=1, max_size=60),
    st.lists(st.tuples(st.floats(0, 60), st.sampled_from([0.2, 0.89, 0.91, 5.0, 70.0])), max_size=5),
    st.integers(1, 3),
    st.sampled_from([0.0, 0.03, 0.3]),
)
@example(per_minute=3, gaps=[0.0] * 20, stalls=[], processes=2, commit_s=0.0)
@example(per_minute=40, gaps=[0.0] * 60, stalls=[(5.0, 0.89)], processes=2, commit_s=0.03)
@example(per_minute=2, gaps=[0.0] * 3, stalls=[(0.25, 0.89), (1.0, 70.0)], processes=2, commit_s=0.3)
@settings(max_examples=soak(100, 5_000), deadline=None)
def test_no_window_has_more_departures_than_allowed(
    per_minute: int, gaps: list[float], stalls: list[tuple[float, float]], processes: int, commit_s: float
):
    """Several processes on one ledger, arrivals in bursts, commits that are slow, and a machine that stands still."""
    departures: list[float] = []

    async def work(store: Store) -> None:
        paces = [pace_on(store, per_minute, delay_s=commit_s) for _ in range(processes)]

        async def stand_still() -> None:
            for after_s, seconds in stalls:
                await asyncio.sleep(after_s)
                stall(seconds)

        standing = asyncio.create_task(stand_still())
        tasks = []
        for number, gap_s in enumerate(gaps):
            await asyncio.sleep(gap_s)
            tasks.append(asyncio.create_task(depart(paces[number % processes], departures)))
        async with asyncio.timeout(6 * 3600):
            await asyncio.gather(standing, *tasks)

    in_memory(lambda store: in_virtual_time(lambda: work(store)))
    assert len(departures) == len(gaps)
    assert most_in_a_window(departures) <= per_minute


@pytest.mark.parametrize("processes", [1, 2])
def test_slow_commits_slow_the_sending_and_do_not_stop_it(store: Store, processes: int):
    """A disk or a lock that takes two seconds a commit: moments are missed, and taken anew, but not for ever."""
    departures: list[float] = []

    async def work() -> None:
        paces = [pace_on(store, 120, delay_s=2.0) for _ in range(processes)]
        async with asyncio.timeout(900):
            await asyncio.gather(*(depart(paces[number % processes], departures) for number in range(60)))

    in_virtual_time(work)
    assert len(departures) == 60
    assert most_in_a_window(departures) <= 120


@given(st.integers(2, 30), st.lists(st.floats(0.1, 20), min_size=1, max_size=6), st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_a_restart_right_after_sending_does_not_send_more(per_minute: int, lives: list[float], chance: random.Random):
    departures: list[float] = []

    async def work(store: Store) -> None:
        for life_s in lives:
            pace = pace_on(store, per_minute)  # nothing is remembered but what the ledger knows
            tasks = [asyncio.create_task(depart(pace, departures)) for _ in range(per_minute)]
            await asyncio.sleep(life_s)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await asyncio.sleep(chance.choice([0.0, 0.5]))

    in_memory(lambda store: in_virtual_time(lambda: work(store)))
    assert departures
    assert most_in_a_window(departures) <= per_minute


@pytest.mark.parametrize("jumped_s", [-5.0, -59.0, -3600.0, -86_400.0])
@pytest.mark.parametrize("at_s", [0.0, 0.02, 3.3])
def test_a_clock_that_jumps_back_neither_sends_more_nor_stops_the_run_for_long(
    store: Store, jumped_s: float, at_s: float
):
    async def work() -> list[float]:
        clock, departures = Clock(), list[float]()
        paces = [pace_on(store, 120, clock) for _ in range(2)]
        tasks = [asyncio.create_task(depart(paces[number % 2], departures)) for number in range(60)]
        await asyncio.sleep(at_s)
        clock.jumped_s += jumped_s
        await asyncio.gather(*tasks)
        return departures

    departures = in_virtual_time(work)
    assert len(departures) == 60
    assert most_in_a_window(departures) <= 120
    assert max(departures) < 30 + 4 * WINDOW_S  # a horizon, twice at most


def test_a_turn_that_was_given_before_the_clock_jumped_back_is_given_up(store: Store):
    """It lies off the grid that the others now keep to, so one of them would follow too closely (seed 532)."""

    async def work() -> list[float]:
        clock = Clock()
        pace, departures = pace_on(store, 6, clock), list[float]()

        async def late(turn: float | None) -> None:
            await asyncio.sleep(1.0)  # its reservation is slow
            await pace.depart(turn)
            departures.append(now())

        turn = await pace.turn()
        clock.jumped_s = -3600.0
        await asyncio.gather(late(turn), *(depart(pace, departures) for _ in range(12)))
        return departures

    departures = in_virtual_time(work)
    assert len(departures) == 13
    assert most_in_a_window(departures) <= 6


@given(
    st.integers(2, 40),
    st.lists(st.tuples(st.floats(0, 30), st.sampled_from([-1.0, 0.3, 0.89, 1.0, 9.0, 3600.0])), min_size=1, max_size=8),
)
@example(per_minute=6, jumps=[(35.0, 1.0), (29.0, 1.0), (9.0, 3600.0)])
@settings(max_examples=soak(100, 5_000), deadline=None)
def test_no_jump_of_the_clock_brings_one_too_many_into_a_window(per_minute: int, jumps: list[tuple[float, float]]):
    """Seed 11774 of the world: a tenth of a distance was made good each time, which is a second at six a minute."""
    departures: list[float] = []

    async def work(store: Store) -> None:
        clock = Clock()
        pace = pace_on(store, per_minute, clock)
        tasks = [asyncio.create_task(depart(pace, departures)) for _ in range(3 * per_minute)]
        for after_s, jumped_s in jumps:
            await asyncio.sleep(after_s)
            clock.jumped_s += jumped_s
        await asyncio.gather(*tasks)

    in_memory(lambda store: in_virtual_time(lambda: work(store)))
    assert len(departures) == 3 * per_minute
    assert most_in_a_window(departures) <= per_minute


@pytest.mark.parametrize("jumped_s", [0.5, 30.0, 86_400.0])
def test_a_clock_that_jumps_forward_does_not_crowd_the_requests_of_a_process(store: Store, jumped_s: float):
    async def work() -> list[float]:
        clock, departures = Clock(), list[float]()
        pace = pace_on(store, 120, clock)
        tasks = [asyncio.create_task(depart(pace, departures)) for _ in range(130)]
        await asyncio.sleep(10.2)
        clock.jumped_s += jumped_s
        await asyncio.gather(*tasks)
        return departures

    departures = in_virtual_time(work)
    assert len(departures) == 130
    assert most_in_a_window(departures) <= 120


@pytest.mark.parametrize("late_s", [0.44, 0.89])
def test_a_request_that_left_late_and_came_late_makes_room_for_no_other(store: Store, late_s: float):
    """Seed 2081 of the world: a moment was missed by nearly all of the headroom, and then the network was quicker for
    the seventh, which another process sent: seven within 59.987 s."""

    async def work() -> list[float]:
        first, second, arrivals = pace_on(store, 6), pace_on(store, 6), list[float]()

        async def arrives(pace: Pace, after_s: float) -> None:
            await pace.depart(await pace.turn())
            arrivals.append(now() + after_s)

        turn = await first.turn()
        await asyncio.sleep(late_s)
        await first.depart(turn)
        arrivals.append(now() + 0.4)  # a network may take so much longer for one than for the next
        for _ in range(5):
            await arrives(first, 0.4)
        await arrives(second, 0.0)
        return arrivals

    assert most_in_a_window(in_virtual_time(work)) <= 6


def test_after_a_stall_the_late_ones_of_a_process_keep_their_distance(store: Store):
    async def work() -> list[float]:
        pace, departures = pace_on(store, 720), list[float]()
        tasks = [asyncio.create_task(depart(pace, departures)) for _ in range(60)]
        await asyncio.sleep(2)
        stall(0.4)  # five of them are late now, and not late enough to be given up
        await asyncio.gather(*tasks)
        return departures

    departures = in_virtual_time(work)
    # A tenth of a distance may be made good, so that the lateness of timers does not add up.
    assert min(after - before for before, after in itertools.pairwise(departures)) >= 0.9 * 60 / 720


def test_accounts_have_rates_of_their_own(store: Store):
    async def work() -> float:
        paces = [Pace(InlineJournal(store), name, 6, None, Clock()) for name in ("a" * 32, "b" * 32)]
        await asyncio.gather(*(depart(pace, []) for pace in paces))
        return now()

    assert in_virtual_time(work) == 0


def test_closing_sends_all_who_wait_home_at_once(store: Store):
    async def work() -> tuple[list[float | None], float]:
        pace = pace_on(store, 1)
        tasks = [asyncio.create_task(pace.turn()) for _ in range(20)]
        await asyncio.sleep(5)
        pace.close()
        turns = await asyncio.gather(*tasks)
        assert await pace.turn() is None
        return turns, now()

    turns, seconds = in_virtual_time(work)
    assert turns[0] == EPOCH_S
    assert turns[2:] == [None] * 18
    assert seconds == 5


def test_a_cancelled_waiter_does_not_hold_up_the_others(store: Store):
    async def work() -> float:
        pace, departures = pace_on(store, 60), list[float]()
        tasks = [asyncio.create_task(depart(pace, departures)) for _ in range(5)]
        await asyncio.sleep(0.5)
        for task in tasks[1:4]:
            task.cancel()
        await asyncio.wait(tasks)
        assert len(departures) == 2
        return now()

    assert in_virtual_time(work) < 4


class TestUnknownRate:
    def test_until_something_was_refused_only_a_short_distance_is_kept(self, store: Store):
        async def work() -> float:
            pace, departures = pace_on(store, None), list[float]()
            await asyncio.gather(*(depart(pace, departures) for _ in range(50)))
            return now()

        assert in_virtual_time(work) == pytest.approx(49 * UNPACED_S, rel=0.05)

    def test_what_was_accepted_around_a_refusal_is_the_rate(self, store: Store):
        async def work() -> float | None:
            clock = Clock()
            pace = pace_on(store, None, clock)
            for _ in range(20):
                pace.accepted(clock())
            await asyncio.sleep(0.1)
            pace.refused()
            await asyncio.sleep(0.8)
            pace.refused()  # the same episode
            await asyncio.sleep(0.2)
            pace.accepted(clock() - 1.05)  # sent before the refusal: it says nothing about when there is room again
            assert not pace.is_known
            pace.accepted(clock())
            return pace.rate.per_second

        # 21 in a window that opened again between 0.9 s and 1.1 s after the first of them.
        assert in_virtual_time(work) == pytest.approx(21.0)

    def test_what_an_earlier_run_learned_is_kept_from_the_first_request_on(self, store: Store):
        async def work() -> float:
            pace, departures = pace_on(store, None, learned=60), list[float]()
            await asyncio.gather(*(depart(pace, departures) for _ in range(5)))
            return now()

        assert in_virtual_time(work) == pytest.approx(4 * 1.015, abs=1e-3)

    def test_a_known_limit_is_stronger_than_what_was_learned(self, store: Store):
        assert in_virtual_time(lambda: _rate_of(store, 120, learned=60)) == 2.0

    def test_a_rate_that_is_used_and_not_refused_grows_and_nothing_is_lost_by_it(self, store: Store):
        async def work() -> tuple[list[float], float | None]:
            clock, departures = Clock(), list[float]()
            pace = pace_on(store, None, clock, learned=600)

            async def one() -> None:
                await depart(pace, departures)
                pace.accepted(clock())

            await asyncio.gather(*(one() for _ in range(400)))
            return departures, pace.rate.per_second

        departures, per_second = in_virtual_time(work)
        gaps = [after - before for before, after in itertools.pairwise(departures)]
        assert max(gaps) < 0.11  # no lease was thrown away
        assert per_second is not None
        assert per_second > 11

    def test_a_rate_that_is_not_used_proves_nothing(self, store: Store):
        async def work() -> float | None:
            clock = Clock()
            pace = pace_on(store, None, clock, learned=600)
            for _ in range(100):
                await depart(pace, [])
                pace.accepted(clock())
                await asyncio.sleep(1)
            return pace.rate.per_second

        assert in_virtual_time(work) == 10

    def test_nobody_takes_a_moment_that_is_not_wanted_when_it_comes(self, store: Store):
        async def work() -> float:
            pace = pace_on(store, 60)
            is_wanted = True
            tasks = [asyncio.create_task(pace.turn(lambda: is_wanted)) for _ in range(30)]
            await asyncio.sleep(1.5)
            is_wanted = False
            assert (await asyncio.gather(*tasks)).count(None) >= 26
            await pace.turn()
            return now()

        assert in_virtual_time(work) < 5  # the next who wants one gets the next


async def _rate_of(store: Store, per_minute: float, learned: float) -> float | None:
    return pace_on(store, per_minute, learned=learned).rate.per_second
