"""The account's day and month, seen from the engine: it stops as by the budget, and says which one and until when."""

from __future__ import annotations

import pytest

from fluxbatch.budget import ledger, windows
from fluxbatch.budget.entries import Period
from fluxbatch.budget.store import Store
from fluxbatch.dispatch.stop import StoppedBy
from fluxbatch.models.money import ZERO
from tests.dispatch.dispatch_kit import ACCOUNT, Came, World, always, charged, request, requests
from tests.dispatch.virtual import EPOCH_S, Clock, in_virtual_time

WIDE = request(1, 768, 512).quote  # 1.5 tiles, reserved as 2
DAY_S = 86_400.0
REASONS = {
    Period.DAY: "the account's budget for the day 2027-01-15 is used up ({left}); "
    "the next begins on 2027-01-16 at 00:00 UTC",
    Period.MONTH: "the account's budget for the month 2027-01 is used up ({left}); "
    "the next begins on 2027-02-01 at 00:00 UTC",
}


def send(store: Store, count: int, most: int, clock_ahead_s: float = 0.0, first: int = 1) -> tuple[World, Came]:
    due = requests(first + count - 1, 768, 512)[first - 1 :]

    async def work() -> tuple[World, Came]:
        clock = Clock()
        clock.jumped_s = clock_ahead_s
        world = World(store, always(charged(due[0]), 7.0), pictures=count, most=most, clock=clock)
        return world, await world.send(due)

    return in_virtual_time(work)


def cap(store: Store, period: Period, nano_usd: int) -> None:
    with store.transaction() as tx:
        ledger.set_cap(tx, ACCOUNT, period, nano_usd)


@pytest.mark.parametrize("most", [1, 32])
@pytest.mark.parametrize("period", [Period.DAY, Period.MONTH])
def test_as_many_pictures_are_made_as_the_window_admits_and_the_stop_names_it(store: Store, period: Period, most: int):
    room = 19 * WIDE.expected.nano_usd + WIDE.bound.nano_usd
    cap(store, period, room)
    world, came = send(store, 60, most)
    assert (came.made, came.count(None)) == (20, 40)
    # Room is left for a bound after the last picture's expected charge, and its charge was that.
    reason = REASONS[period].format(left="$0.00515625 left of $0.31453125")
    assert room - came.balance.spent.nano_usd == 5_156_250
    assert (world.stop.by, world.stop.reason) == (StoppedBy.BUDGET, reason)
    assert came.balance.reserved == ZERO
    with store.reading() as tx:
        assert ledger.audit_windows(tx) == []


def test_the_next_day_goes_on_where_this_one_stopped(store: Store):
    cap(store, Period.DAY, 4 * WIDE.expected.nano_usd + WIDE.bound.nano_usd)
    made = [send(store, 8, 4, days * DAY_S, first)[1].made for days, first in ((0, 1), (0, 100), (1, 200))]
    assert made == [5, 0, 5]


def test_a_window_that_another_dataset_filled_stops_at_once(store: Store):
    room = WIDE.bound
    cap(store, Period.DAY, room.nano_usd)
    with store.transaction() as tx:
        ledger.open_budget(tx, "other", ACCOUNT, "/other", 10**12)
        other = ledger.AttemptId("other", "k", 1)
        ledger.reserve(tx, other, "run-9", "m", room, round(EPOCH_S * 1e6))
    world, came = send(store, 3, 2)
    assert (came.made, world.stop.reason) == (0, REASONS[Period.DAY].format(left="$0 left of $0.020625"))


def test_midnight_while_pictures_are_on_their_way_leaves_each_in_its_day(store: Store):
    to_midnight_s = DAY_S - EPOCH_S % DAY_S
    _, came = send(store, 12, 2, to_midnight_s - 20.0)  # seven seconds a picture, two at a time
    assert came.made == 12
    with store.reading() as tx:
        assert ledger.audit_windows(tx) == []
        held = windows.stored(tx, ACCOUNT)
    days = [held[window].spent for window in sorted(held, key=lambda w: w.first_day) if window.period == Period.DAY]
    assert len(days) == 2
    assert sum(days, ZERO) == came.balance.spent
    assert all(spent.nano_usd > 0 for spent in days)
