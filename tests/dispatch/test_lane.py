"""What each answer teaches: the gate, the pace and the hold, seen from the lane."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from fluxbatch.budget.store import Store
from fluxbatch.cloudflare.outcome import Delivered, Failed, Invalid, Lost, NotSent, Outcome, Refused, Throttled
from fluxbatch.dispatch.adapt import PROOF_S, Flight, Gate
from fluxbatch.dispatch.hold import Hold, Trouble
from fluxbatch.dispatch.lane import Flying, Lane
from fluxbatch.dispatch.pace import Pace
from fluxbatch.dispatch.rate import CUT
from fluxbatch.dispatch.stop import Stop, StoppedBy
from tests.dispatch.dispatch_kit import ACCOUNT, InlineJournal
from tests.dispatch.virtual import Clock, in_virtual_time, now

ROOM = Throttled("room", code="3040", message="no capacity")
RATE = Throttled("rate", code="3021", message="too many")
PICTURE = Delivered(b"")
WORK = 93_750


class Road:
    """A lane on a ledger, with requests sent by hand."""

    def __init__(self, store: Store, limit: int = 8, goal: int = 100, rate: float | None = None) -> None:
        self.clock = Clock()
        self.stop = Stop()
        self.hold = Hold(900.0, lambda reason: self.stop.request(StoppedBy.PLATFORM, reason))
        self.gate = Gate(Flight(limit, 100, goal=goal))
        self.pace = Pace(InlineJournal(store), ACCOUNT, rate, None, self.clock)
        self.stop.tell(self.pace.close)
        self.lane = Lane(self.gate, self.pace, self.hold, self.stop)

    @property
    def limit(self) -> int:
        return self.gate.flight.limit

    @property
    def trouble(self) -> Trouble | None:
        return None if self.hold.pause is None else self.hold.pause.trouble

    async def depart(self) -> Flying:
        assert await self.gate.enter()
        cleared = await self.lane.clear()
        assert cleared is not None
        return self.lane.departed(cleared[0], self.clock(), WORK)

    def answer(self, flying: Flying, outcome: Outcome, latency_s: float = 0.3) -> None:
        self.lane.landed(flying)
        self.gate.leave()
        self.lane.answered(flying, outcome, latency_s)

    async def turned_away(self, outcome: Outcome, count: int = 1, latency_s: float = 0.3) -> None:
        for _ in range(count):
            flying = await self.depart()
            await asyncio.sleep(latency_s)
            self.answer(flying, outcome, latency_s)


def virtually(work: Callable[[], Awaitable[None]]) -> None:
    in_virtual_time(work)


class TestGrowth:
    def test_a_request_that_is_not_turned_away_soon_makes_room_for_another(self, store: Store):
        async def work() -> None:
            road = Road(store, limit=4)
            for _ in range(4):
                await road.depart()
            assert road.limit == 4
            await asyncio.sleep(PROOF_S + 0.01)
            assert road.limit == 8  # long before the first picture

        virtually(work)

    def test_each_request_proves_once(self, store: Store):
        async def work() -> None:
            road = Road(store, limit=4)
            flights = [await road.depart() for _ in range(4)]
            await asyncio.sleep(PROOF_S + 0.01)
            for flying in flights:
                road.answer(flying, PICTURE, 2.0)
            assert road.limit == 8

        virtually(work)

    @pytest.mark.parametrize("outcome", [PICTURE, Refused("no"), Invalid(), Failed(), Lost()], ids=repr)
    def test_any_answer_but_no_room_proves_at_once(self, store: Store, outcome: Outcome):
        async def work() -> None:
            road = Road(store, limit=2)
            one, _other = await road.depart(), await road.depart()
            await asyncio.sleep(0.1)
            road.answer(one, outcome)
            assert road.limit == 3

        virtually(work)

    def test_a_quick_refusal_proves_nothing(self, store: Store):
        async def work() -> None:
            road = Road(store, limit=8, goal=8)
            older = [await road.depart() for _ in range(7)]
            await road.turned_away(ROOM)
            assert road.limit == 7
            await asyncio.sleep(10)
            assert road.limit == 7  # the episode holds growth back
            assert older

        virtually(work)

    def test_one_at_a_time_grows_nothing(self, store: Store):
        async def work() -> None:
            road = Road(store, limit=8)
            for _ in range(50):
                flying = await road.depart()
                await asyncio.sleep(2)
                road.answer(flying, PICTURE, 2.0)
            assert road.limit == 8

        virtually(work)


class TestLateSignals:
    @pytest.mark.parametrize("code", ["3046", "3007", "3008"])
    def test_a_time_out_holds_growth_back_and_cuts_nothing(self, store: Store, code: str):
        async def work() -> None:
            road = Road(store, limit=4)
            flying = await road.depart()
            road.answer(flying, Failed(code=code), 237.0)
            for _ in range(4):
                await road.depart()
            await asyncio.sleep(PROOF_S + 0.01)
            assert road.limit == 4

        virtually(work)

    def test_pictures_that_take_ever_longer_hold_growth_back(self, store: Store):
        async def work() -> None:
            road = Road(store, limit=4)
            for latency_s in [10.0] * 5 + [40.0] * 5:
                flying = await road.depart()
                road.answer(flying, PICTURE, latency_s)
            for _ in range(4):
                await road.depart()
            await asyncio.sleep(PROOF_S + 0.01)
            assert road.limit == 4

        virtually(work)

    def test_larger_pictures_are_not_a_slower_platform(self, store: Store):
        async def work() -> None:
            road = Road(store, limit=4)
            for times in [1] * 10 + [15] * 10:
                flying = await road.depart()
                flying.work = WORK * times
                road.answer(flying, PICTURE, 10.0 * times)
            for _ in range(4):
                await road.depart()
            await asyncio.sleep(PROOF_S + 0.01)
            assert road.limit == 8

        virtually(work)

    def test_quick_content_refusals_are_no_measure_of_speed(self, store: Store):
        async def work() -> None:
            road = Road(store, limit=4)
            for outcome, latency_s in [(Refused("no"), 0.2), (Invalid(), 0.1), (PICTURE, 150.0), (PICTURE, 151.0)]:
                flying = await road.depart()
                road.answer(flying, outcome, latency_s)
            for _ in range(4):
                await road.depart()
            await asyncio.sleep(PROOF_S + 0.01)
            assert road.limit == 8

        virtually(work)


class TestRoom:
    def test_a_refusal_cuts_to_what_is_in_flight_and_no_hold_begins(self, store: Store):
        async def work() -> None:
            road = Road(store, limit=64)
            older = [await road.depart() for _ in range(50)]
            await asyncio.sleep(0.1)
            turned_away = [await road.depart() for _ in range(14)]
            for flying in turned_away:
                road.answer(flying, ROOM)
            assert 50 <= road.limit < 64
            assert road.trouble is None
            assert len(older) == road.lane.in_flight == 50

        virtually(work)

    @pytest.mark.parametrize("rate", [None, 720.0])
    def test_a_platform_without_any_room_is_noticed_after_a_few_refusals(self, store: Store, rate: float | None):
        async def work() -> None:
            road = Road(store, limit=32, rate=rate)
            refusals = 0

            async def one() -> None:
                nonlocal refusals
                flying = await road.depart()
                await asyncio.sleep(0.3)
                road.answer(flying, ROOM)
                refusals += 1

            tasks = [asyncio.create_task(one()) for _ in range(200)]
            await asyncio.sleep(1.9)
            assert road.trouble is Trouble.ROOM
            assert refusals <= 32
            road.stop.request(StoppedBy.SIGNAL, "enough")
            await asyncio.gather(*tasks, return_exceptions=True)

        virtually(work)

    def test_a_probe_that_is_not_refused_soon_lifts_the_hold(self, store: Store):
        async def work() -> None:
            road = Road(store, limit=1, goal=1)
            await road.turned_away(ROOM, 3)
            assert road.trouble is Trouble.ROOM
            probe = await road.depart()
            assert probe.probe
            await asyncio.sleep(PROOF_S + 0.01)
            assert road.trouble is None

        virtually(work)


class TestRate:
    def test_too_many_a_minute_slows_the_pace_and_leaves_the_gate_alone(self, store: Store):
        async def work() -> None:
            road = Road(store, limit=8, rate=600.0)
            await road.turned_away(RATE)
            assert (road.limit, road.trouble) == (8, Trouble.RATE)
            probe = await road.depart()
            await asyncio.sleep(PROOF_S + 0.01)
            assert probe.proved
            assert road.trouble is None
            assert road.pace.rate.per_second == pytest.approx(10.0 * CUT)

        virtually(work)


class TestFailures:
    @pytest.mark.parametrize("outcome", [Failed(code="3043"), Lost()], ids=repr)
    def test_twenty_in_a_row_pause_the_sending(self, store: Store, outcome: Outcome):
        async def work() -> None:
            road = Road(store)
            await road.turned_away(outcome, 19)
            assert road.trouble is None
            await road.turned_away(outcome)
            assert road.trouble is Trouble.FAILURES

        virtually(work)

    def test_refusals_between_the_failures_do_not_hide_them(self, store: Store):
        async def work() -> None:
            road = Road(store, rate=6000.0)
            for number in range(400):
                if road.trouble is Trouble.FAILURES:
                    break
                await road.turned_away(RATE if number % 4 == 3 else Failed(code="3043"))
            assert road.trouble is Trouble.FAILURES
            assert number < 40

        virtually(work)

    def test_a_picture_lifts_the_hold_and_time_alone_does_not(self, store: Store):
        async def work() -> None:
            road = Road(store)
            await road.turned_away(Failed(code="3043"), 20)
            probe = await road.depart()
            assert probe.probe
            await asyncio.sleep(100)
            assert road.trouble is Trouble.FAILURES
            road.answer(probe, PICTURE, 100.0)
            assert road.trouble is None
            await road.turned_away(Failed(code="3043"), 19)
            assert road.trouble is None  # counted anew

        virtually(work)


class TestNetwork:
    def test_three_in_a_row_that_never_left_pause_the_sending(self, store: Store):
        async def work() -> None:
            road = Road(store)
            await road.turned_away(NotSent(), 2)
            assert road.trouble is None
            await road.turned_away(NotSent())
            assert road.trouble is Trouble.NETWORK

        virtually(work)

    def test_a_connection_that_hangs_is_no_sign_of_life(self, store: Store):
        async def work() -> None:
            road = Road(store)
            await road.turned_away(NotSent(), 3, latency_s=15.0)
            probe = await road.depart()
            await asyncio.sleep(14)
            assert road.trouble is Trouble.NETWORK
            road.answer(probe, PICTURE, 14.0)
            assert road.trouble is None

        virtually(work)


def test_who_waits_for_hold_or_pace_is_let_go_at_once_when_the_run_ends(store: Store):
    async def work() -> None:
        road = Road(store, limit=50, rate=1.0)
        tasks = [asyncio.create_task(road.lane.clear()) for _ in range(10)]
        await asyncio.sleep(1)
        road.hold.begin(Trouble.ROOM)
        tasks += [asyncio.create_task(road.lane.clear()) for _ in range(10)]
        await asyncio.sleep(1)
        road.stop.request(StoppedBy.SIGNAL, "interrupted")
        cleared = await asyncio.gather(*tasks)
        assert now() == 2
        assert [one is None for one in cleared].count(True) == 19  # the very first went at once
        assert await road.lane.clear() is None

    virtually(work)


def test_an_outage_does_not_make_the_lane_forget_the_level_that_held(store: Store):
    async def work() -> None:
        road = Road(store, limit=40, goal=40)
        assert (road.lane.learned().in_flight, road.lane.learned().is_goal) == (40, True)
        while now() < 800:  # ten minutes and more of nothing but "no room": first all that came, then the probes
            await road.turned_away(ROOM)
        assert road.trouble is Trouble.ROOM
        assert road.lane.learned().in_flight >= 25

    virtually(work)


def test_what_was_never_refused_is_no_goal(store: Store):
    async def work() -> None:
        learned = Road(store, limit=16, goal=100, rate=720.0).lane.learned()
        assert (learned.in_flight, learned.is_goal, learned.rate_per_minute, learned.latency_s) == (
            16, False, 720.0, None,
        )  # fmt: skip

    virtually(work)
