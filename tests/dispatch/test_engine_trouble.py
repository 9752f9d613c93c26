"""Outages, storms and limits, in virtual time: what a night with a bad platform looks like."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from contextlib import closing

import pytest

from fluxbatch.budget.entries import End, Learned
from fluxbatch.budget.store import Store
from fluxbatch.cloudflare.outcome import Broken, Reply
from fluxbatch.dispatch.stop import StoppedBy
from fluxbatch.models.money import ZERO
from tests.dispatch.dispatch_kit import (
    INTERNAL,
    LOST,
    NOT_SENT,
    RATE,
    ROOM,
    TIMED_OUT,
    Came,
    Script,
    Sent,
    World,
    always,
    charged,
    error,
    request,
    requests,
)
from tests.dispatch.virtual import in_virtual_time

GOOD = charged(request(1))
QUARTER_S = 900.0


@pytest.fixture
def store() -> Iterator[Store]:
    """In memory: these tests are about when something is sent, and send a lot."""
    with closing(Store("sqlite://")) as opened:
        yield opened


def run(store: Store, script: Script, count: int = 200, **options: object) -> tuple[World, Came]:
    async def work() -> tuple[World, Came]:
        world = World(store, script, pictures=count, **{"most": 256, **options})  # type: ignore[arg-type]
        return world, await world.send(requests(count))

    return in_virtual_time(work)


def between(start_s: float, end_s: float, answer: Reply | Broken, latency_s: float = 0.3, good_s: float = 10.0):
    """A platform that is well but for a while."""
    return lambda sent: (latency_s, answer) if start_s <= sent.at_s < end_s else (good_s, GOOD)


def gaps(moments: list[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(moments)]


class TestEverythingFails:
    @pytest.mark.parametrize("latency_s", [0.1, 1.0, 150.0])
    @pytest.mark.parametrize("rate", [None, 720.0])
    def test_an_outage_is_not_answered_by_a_storm_and_ends_by_patience(
        self, store: Store, latency_s: float, rate: float | None
    ):
        world, came = run(store, always(INTERNAL, latency_s), rate=rate)
        assert len(world.sender.sent) <= 220
        assert (world.stop.by, came.made) == (StoppedBy.PLATFORM, 0)
        assert "fail that may have been billed for 15 minutes" in (world.stop.reason or "")
        assert came.seconds <= 2 * QUARTER_S + 3 * latency_s
        assert came.balance.unknown == request(1).quote.bound * len(world.sender.sent)

    def test_a_quick_outage_costs_little_of_the_budget(self, store: Store):
        world, _ = run(store, always(INTERNAL, 0.3), count=1000, rate=720.0)
        assert len(world.sender.sent) <= 60  # 20 that trip it, those behind them in the air, and the probes

    def test_answers_that_are_lost_trip_the_breaker_as_well(self, store: Store):
        world, came = run(store, always(LOST, 5.0))
        assert world.stop.by is StoppedBy.PLATFORM
        assert came.count(End.LOST) == len(world.sender.sent) <= 220

    def test_an_outage_that_ends_is_survived(self, store: Store):
        world, came = run(store, between(30, 400, INTERNAL), count=300)
        assert world.stop.by is None
        assert came.made + came.count(End.FAILED) == 300
        assert came.count(End.FAILED) <= 40
        assert came.seconds < 800

    def test_half_that_fail_are_noticed(self, store: Store):
        half = lambda sent: (1.0, INTERNAL if sent.number % 2 else GOOD)  # noqa: E731
        world, came = run(store, half, count=400, rate=720.0)
        pauses = [gap for gap in gaps(world.sender.departures) if gap >= 4]  # a hold begins with 5 s, less a turn
        assert len(pauses) >= 4  # about one for every forty sent, and the dozen in the air with them
        assert len(world.sender.sent) <= 400 + 40 + came.made / 5  # a tenth, and a fifth for each that is made


class TestNoRoom:
    @pytest.mark.parametrize("refusal_s", [0.3, 1.0, 2.0])
    @pytest.mark.parametrize("rate", [None, 720.0])
    def test_a_platform_that_is_full_is_asked_seldom_until_patience_has_run_out(
        self, store: Store, refusal_s: float, rate: float | None
    ):
        world, came = run(store, always(ROOM, refusal_s), rate=rate)
        assert world.stop.by is StoppedBy.PLATFORM
        assert "no room" in (world.stop.reason or "")
        assert came.balance.gone == ZERO
        assert QUARTER_S <= came.seconds <= 2 * QUARTER_S
        assert len(world.sender.sent) <= (150 if refusal_s < 1.5 else 700)

    def test_what_there_is_room_for_is_used_with_few_refusals(self, store: Store):
        """Room for 40, two minutes a picture: the account is never idle, and hardly anything is refused."""

        def script(sent: Sent) -> tuple[float, Reply]:
            return (120.0, GOOD) if sent.others < 40 else (0.3, ROOM)

        world, came = run(store, script, count=400, rate=720.0)
        ideal_s = 400 / 40 * 120
        assert came.made == 400
        assert came.seconds <= 1.2 * ideal_s
        assert world.tally.refusals <= 60

    def test_an_outage_of_ten_minutes_costs_ten_minutes_and_not_the_night(self, store: Store):
        """No room for ten minutes: afterwards what held before is in flight again within a few minutes."""

        def script(sent: Sent) -> tuple[float, Reply]:
            full = 300 <= sent.at_s < 900
            return (60.0, GOOD) if not full and sent.others < 50 else (0.3, ROOM)

        world, came = run(store, script, count=600, rate=720.0, patience_s=3600.0)
        ideal_s = 600 / 50 * 60 + 600
        assert came.made == 600
        assert came.seconds <= 1.25 * ideal_s
        assert world.tally.refusals <= 200

    def test_what_an_earlier_run_learned_is_used_from_the_start(self, store: Store):
        def script(sent: Sent) -> tuple[float, Reply]:
            return (100.0, GOOD) if sent.others < 100 else (0.3, ROOM)

        world, came = run(store, script, count=300, learned=Learned(100, True, None, None))
        assert came.seconds <= 1.05 * 300
        assert world.tally.refusals <= 20  # each step of 5 % is tried once, and taken back

    def test_one_prompt_that_a_firewall_dislikes_does_not_stop_the_others(self, store: Store):
        blocked = Reply(403, {}, b"<html><title>Blocked</title></html>", 0.0)

        def script(sent: Sent) -> tuple[float, Reply]:
            return (0.2, blocked) if sent.prompt == "picture 7" else (10.0, GOOD)

        world, came = run(store, script, count=300)
        assert (came.made, came.count(End.FAILED), world.stop.by) == (299, 1, None)
        assert came.balance.unknown == ZERO
        assert came.seconds < 300

    def test_retry_after_is_believed_within_reason(self, store: Store):
        def script(sent: Sent) -> tuple[float, Reply]:
            asked = error(429, 3040, "no capacity", **{"retry-after": "3600"})
            return (0.3, asked) if sent.at_s < 100 else (1.0, GOOD)

        _world, came = run(store, script, count=50)
        assert came.made == 50
        assert came.seconds <= 700


class Window:
    """A platform that lets so many in within any window, and refuses the rest."""

    def __init__(self, allowed: int, window_s: float, latency_s: float = 0.5) -> None:
        self.allowed, self.window_s, self.latency_s = allowed, window_s, latency_s
        self.let_in: deque[float] = deque()

    def __call__(self, sent: Sent) -> tuple[float, Reply]:
        while self.let_in and self.let_in[0] <= sent.at_s - self.window_s:
            self.let_in.popleft()
        if len(self.let_in) >= self.allowed:
            return 0.01, RATE
        self.let_in.append(sent.at_s)
        return self.latency_s, GOOD


class TestRate:
    def test_a_known_rate_is_never_refused_and_hardly_left_unused(self, store: Store):
        world, came = run(store, Window(20, 1.0), count=400, rate=1200.0, learned=Learned(64, False, None, None))
        assert (came.made, world.tally.refusals) == (400, 0)
        assert came.seconds <= 1.05 * 20 + 0.5

    def test_an_unknown_rate_is_learned_with_few_refusals(self, store: Store):
        world, came = run(store, Window(20, 1.0), count=400)
        assert came.made == 400
        assert world.tally.refusals <= 40
        assert came.seconds <= 25

    def test_an_unknown_rate_a_minute_is_learned(self, store: Store):
        world, came = run(store, Window(60, 60.0, latency_s=3.0), count=300)
        assert came.made == 300
        assert world.tally.refusals <= 60
        assert came.seconds <= 7 * 60

    def test_an_account_that_is_used_elsewhere_gets_less_and_takes_it(self, store: Store):
        world, came = run(store, Window(300, 60.0, latency_s=1.0), count=900, rate=720.0)
        assert came.made == 900
        assert came.seconds <= 5 * 60
        assert world.tally.refusals <= 90

    def test_too_many_for_ever_ends_by_patience(self, store: Store):
        world, came = run(store, always(RATE, 0.1), rate=720.0)
        assert world.stop.by is StoppedBy.PLATFORM
        assert "too many requests a minute for 15 minutes" in (world.stop.reason or "")
        assert came.balance.gone == ZERO
        assert len(world.sender.sent) <= 250


class TestNetwork:
    @pytest.mark.parametrize("latency_s", [0.0, 15.0], ids=["refused", "swallowed"])
    def test_a_network_that_is_gone_ends_by_patience_and_costs_nothing(self, store: Store, latency_s: float):
        world, came = run(store, always(NOT_SENT, latency_s), rate=720.0)
        assert world.stop.by is StoppedBy.PLATFORM
        assert "cannot be reached" in (world.stop.reason or "")
        assert (came.made, came.balance.gone) == (0, ZERO)
        assert came.seconds <= 2 * QUARTER_S
        assert len(world.sender.sent) <= 250  # all that the pace lets out before the first of them comes back

    @pytest.mark.parametrize("latency_s", [0.0, 15.0], ids=["refused", "swallowed"])
    def test_a_network_that_comes_back_is_found_again(self, store: Store, latency_s: float):
        world, came = run(store, between(20, 320, NOT_SENT, latency_s), count=200)
        assert (came.made, world.stop.by, came.balance.unknown) == (200, None, ZERO)
        assert came.seconds < 500


def test_time_outs_are_tried_once_more_and_no_more(store: Store):
    world, came = run(
        store, lambda sent: (237.0, TIMED_OUT) if sent.number % 10 == 0 else (150.0, GOOD), count=150, most=50
    )
    assert came.made + came.count(End.FAILED) == 150
    assert len(world.sender.sent) <= 165
    assert world.stop.by is None


def test_the_same_seed_sends_the_same_requests_at_the_same_moments():
    def once() -> list[Sent]:
        def script(sent: Sent) -> tuple[float, Reply]:
            return (0.3, ROOM) if sent.others > 20 or sent.number % 7 == 0 else (5.0, GOOD)

        with closing(Store("sqlite://")) as store:
            return run(store, script, count=100, rate=720.0)[0].sender.sent

    assert once() == once()
