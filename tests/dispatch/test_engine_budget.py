"""The budget, seen from the engine: everything that fits is made, nothing that does not is sent."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxbatch.budget.entries import Balance, End
from fluxbatch.budget.plan import make_plan
from fluxbatch.budget.store import Store
from fluxbatch.cloudflare.outcome import Broken, Reply
from fluxbatch.dispatch.stop import StoppedBy
from fluxbatch.manifest.request import ImageRequest
from fluxbatch.models.money import ZERO, charge, exact
from tests.dispatch.dispatch_kit import (
    INTERNAL,
    LOST,
    ROOM,
    Came,
    InlineJournal,
    Script,
    Sent,
    World,
    always,
    charged,
    guard_holds,
    picture,
    request,
    requests,
)
from tests.dispatch.virtual import in_virtual_time

WIDE = request(1, 768, 512).quote  # 1.5 tiles, reserved as 2


def run(store: Store, script: Script, due: Sequence[ImageRequest], cap_nano_usd: int, most: int) -> tuple[World, Came]:
    async def work() -> tuple[World, Came]:
        journal = InlineJournal(store, after=guard_holds)  # at every commit
        world = World(store, script, cap_usd=cap_nano_usd / 1e9, pictures=len(due), most=most, journal=journal)
        return world, await world.send(due)

    return in_virtual_time(work)


def fits(due: Sequence[ImageRequest], cap_nano_usd: int) -> int:
    balance = Balance(cap_nano_usd, ZERO, ZERO, ZERO)
    return make_plan(iter(due), (), balance, lambda keys: {}, lambda history: True).fits


@pytest.mark.parametrize("most", [1, 2, 32])
@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_as_many_pictures_are_made_as_fit_however_many_are_in_flight(store: Store, most: int, extra: int):
    """Reserved at two tiles and billed at one and a half: what comes free near the end is used, at 32 in flight too."""
    cap = 40 * WIDE.expected.nano_usd + (WIDE.bound - WIDE.expected).nano_usd + extra
    due = requests(100, 768, 512)
    world, came = run(store, always(charged(due[0]), 7.0), due, cap, most)
    assert came.made == fits(due, cap) == (39 if extra < 0 else 40)
    assert world.stop.by is StoppedBy.BUDGET
    assert came.count(None) == 100 - came.made
    assert came.balance.reserved == ZERO
    assert came.balance.free_nano_usd < WIDE.bound.nano_usd  # nothing more would have fitted
    assert len(world.sender.sent) == came.made


def test_a_budget_that_is_enough_stops_nothing(store: Store):
    due = requests(50, 768, 512)
    cap = 49 * WIDE.expected.nano_usd + WIDE.bound.nano_usd
    world, came = run(store, always(charged(due[0])), due, cap, 32)
    assert (came.made, world.stop.by) == (50, None)
    assert came.balance.spent == WIDE.expected * 50


def test_a_budget_of_nothing_sends_nothing(store: Store):
    world, came = run(store, always(picture("1")), requests(20), 0, 8)
    assert (world.sender.sent, world.stop.by, came.count(None)) == ([], StoppedBy.BUDGET, 20)
    assert world.states() == {}


def test_what_was_spent_in_earlier_runs_is_gone(store: Store):
    due = requests(20)
    bound = due[0].quote.bound.nano_usd
    run(store, always(charged(due[0])), due[:6], 10 * bound, 4)
    world, came = run(store, always(charged(due[0])), due[6:], 10 * bound, 4)
    assert (came.made, world.stop.by) == (4, StoppedBy.BUDGET)
    assert came.balance.free_nano_usd == 0


@pytest.mark.parametrize("most", [1, 16])
def test_what_may_have_been_billed_stays_spent(store: Store, most: int):
    due = requests(40)
    bound = due[0].quote.bound

    def script(sent: Sent) -> tuple[float, Reply | Broken]:
        return 1.0, LOST if sent.number % 4 == 0 else charged(due[0])

    _, came = run(store, script, due, 20 * bound.nano_usd, most)
    assert came.made + came.count(End.LOST) == 20
    assert came.balance.unknown == bound * came.count(End.LOST) == bound * 5
    assert came.balance.free_nano_usd == 0


@pytest.mark.parametrize("most", [1, 16])
def test_what_was_turned_away_gives_its_money_back(store: Store, most: int):
    due = requests(40)

    def script(sent: Sent) -> tuple[float, Reply | Broken]:
        return 0.2, ROOM if sent.try_ == 1 and sent.number % 3 == 0 else charged(due[0])

    _, came = run(store, script, due, 25 * due[0].quote.bound.nano_usd, most)
    assert came.made == 25
    assert came.balance.free_nano_usd == 0


def test_a_second_try_is_bought_only_if_it_fits(store: Store):
    due = requests(1)
    world, came = run(store, always(INTERNAL), due, 2 * due[0].quote.bound.nano_usd - 1, 4)
    assert world.attempts(due[0]) == [(1, "unknown", "failed")]
    assert world.stop.by is StoppedBy.BUDGET
    assert came.count(None) == 1  # with more budget the next run tries it again


def test_the_last_that_waits_for_room_gets_it_when_what_is_in_flight_turns_out_cheaper(store: Store):
    """One slow picture holds the room that the last one needs: it waits for it instead of giving up."""
    due = requests(2, 768, 512)
    cap = WIDE.expected.nano_usd + WIDE.bound.nano_usd

    def script(sent: Sent) -> tuple[float, Reply]:
        return (200.0 if sent.number == 1 else 1.0), charged(due[0])

    world, came = run(store, script, due, cap, 8)
    assert (came.made, world.stop.by) == (2, None)
    assert world.sender.departures[1] == pytest.approx(200, abs=0.1)


def test_a_stop_while_one_waits_for_room_ends_when_what_is_in_flight_is_in(store: Store):
    due = requests(20, 768, 512)

    async def work() -> tuple[World, Came]:
        import asyncio

        world = World(store, always(charged(due[0]), 100.0), cap_usd=3.5 * WIDE.bound.nano_usd / 1e9, most=8)
        asyncio.get_running_loop().call_later(10, world.stop.request, StoppedBy.SIGNAL, "interrupted")
        return world, await world.send(due)

    world, came = in_virtual_time(work)
    assert (came.made, came.count(None)) == (3, 17)
    assert world.stop.by is StoppedBy.SIGNAL
    assert came.seconds == pytest.approx(100, abs=1)


@given(
    st.lists(st.tuples(st.integers(16, 64), st.integers(16, 64), st.integers(1, 50)), min_size=1, max_size=25),
    st.integers(0, 10**9),
    st.integers(1, 12),
    st.randoms(use_true_random=False),
)
@settings(max_examples=25, deadline=None)
def test_over_any_mix_of_sizes_and_answers_the_budget_is_never_passed(
    shapes: list[tuple[int, int, int]], cap: int, most: int, chance: random.Random
):
    due = [request(n, 16 * w, 16 * h, steps) for n, (w, h, steps) in enumerate(shapes, 1)]
    by_prompt = {one.prompt: one for one in due}

    def script(sent: Sent) -> tuple[float, Reply | Broken]:
        neurons = by_prompt[sent.prompt].quote.bound.neurons  # as dear as it can get
        answers = [picture(exact(neurons)), charged(by_prompt[sent.prompt]), INTERNAL, LOST, ROOM]
        return chance.choice([0.1, 5.0]), chance.choice(answers)

    with closing(Store("sqlite://")) as store:
        world, came = run(store, script, due, cap, most)
        assert came.balance.free_nano_usd >= 0
        if world.stop.by is not None:
            assert world.stop.by is StoppedBy.BUDGET
            left = [one.request.quote.bound.nano_usd for one in came.ended if one.end is None]
            assert max(left) > came.balance.free_nano_usd


def test_the_balance_that_is_shown_is_the_ledgers(store: Store):
    due = requests(10)
    world, _ = run(store, always(picture("500.00")), due, 10**10, 4)
    assert world.tally.balance.spent == charge(50_000) * 10
    assert world.tally.balance == world.balance
