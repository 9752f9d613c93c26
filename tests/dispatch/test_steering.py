"""A run that is steered while it goes on: paused, slowed, narrowed, stopped: nothing is lost, no window is too full."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fluxbatch.budget import wishes
from fluxbatch.budget.store import Store
from fluxbatch.budget.wishes import NOTHING_SAID, Said, Wish
from fluxbatch.dispatch.distance import Grid
from fluxbatch.dispatch.fair import Shares
from fluxbatch.dispatch.pace import Pace
from fluxbatch.dispatch.steering import changes
from fluxbatch.dispatch.stop import StoppedBy
from fluxbatch.models.money import ZERO
from tests.dispatch.dispatch_kit import (
    ACCOUNT,
    DATASET,
    INTERNAL,
    NOT_SENT,
    ROOM,
    Came,
    InlineJournal,
    Script,
    World,
    always,
    charged,
    request,
    requests,
)
from tests.dispatch.test_pace import WINDOW_S, in_memory, most_in_a_window
from tests.dispatch.virtual import Clock, in_virtual_time, now, stall
from tests.soak import soak

GOOD = charged(request(1))
ANN = Said("ann@desk", 1_800_000_000_000_000)

Word = tuple[float, dict[str, object]]
"""When somebody says something, and what."""


def steered(store: Store, script: Script, count: int, words: Sequence[Word], **options: object) -> tuple[World, Came]:
    """So many pictures, while somebody says these things."""

    async def work() -> tuple[World, Came]:
        world = World(store, script, pictures=count, **options)  # type: ignore[arg-type]
        for at_s, changed in words:
            asyncio.get_running_loop().call_at(at_s, lambda changed=changed: world.wish(**changed))  # type: ignore[misc]
        return world, await world.send(requests(count))

    return in_virtual_time(work)


class TestPause:
    def test_nothing_is_sent_while_it_lasts_and_what_was_in_flight_is_kept(self, store: Store):
        words: list[Word] = [(10.0, {"paused": ANN}), (500.0, {"paused": None})]
        world, came = steered(store, always(GOOD, 7.0), 60, words, rate=60.0)
        sent = world.sender.departures
        assert came.made == 60
        assert [at for at in sent if 10.0 <= at < 500.0] == []
        before, after = [at for at in sent if at < 10.0], [at for at in sent if at >= 500.0]
        assert len(before) == 10
        assert after[0] == pytest.approx(500.0, abs=1.1)
        assert world.states() == {"posted": 60}

    def test_a_run_that_is_paused_from_the_beginning_sends_nothing_before_it_goes_on(self, store: Store):
        words: list[Word] = [(0.0, {"paused": ANN}), (99.0, {"paused": None})]
        world, came = steered(store, always(GOOD), 5, words)
        assert (came.made, min(world.sender.departures) >= 99.0) == (5, True)

    def test_what_was_reserved_and_waits_for_its_moment_is_taken_back_and_sent_later(self, store: Store):
        """A ledger that takes 0.4 s: reservations are under way when the pause comes."""
        words: list[Word] = [(10.0, {"paused": ANN}), (500.0, {"paused": None})]

        async def work() -> tuple[World, Came]:
            world = World(store, always(GOOD, 7.0), pictures=60, rate=600.0, journal=InlineJournal(store, 0.4))
            for at_s, changed in words:
                asyncio.get_running_loop().call_at(at_s, lambda changed=changed: world.wish(**changed))  # type: ignore[misc]
            asyncio.get_running_loop().call_at(400.0, lambda: balances.append(world.balance))
            return world, await world.send(requests(60))

        balances: list[object] = []
        world, came = in_virtual_time(work)
        assert came.made == 60
        assert [at for at in world.sender.departures if 10.0 <= at < 500.0] == []
        assert world.states()["void"] > 0
        assert balances[0].reserved == ZERO  # type: ignore[attr-defined]

    @pytest.mark.parametrize("answer", [ROOM, NOT_SENT, INTERNAL], ids=["room", "network", "failures"])
    def test_no_patience_runs_out_meanwhile(self, store: Store, answer: object):
        """Trouble for 100 s, a pause of 10,000 s, trouble again: 300 s of patience are not used up by the pause."""
        words: list[Word] = [(100.0, {"paused": ANN}), (10_100.0, {"paused": None})]

        def script(sent: object) -> tuple[float, object]:
            return 0.3, GOOD if now() > 10_180.0 else answer

        world, came = steered(store, script, 40, words, patience_s=300.0, most=4)  # type: ignore[arg-type]
        assert world.stop.by is None, world.stop.reason
        assert [at for at in world.sender.departures if 100.0 <= at < 10_100.0] == []
        if answer is not INTERNAL:  # what may have been billed is bought again once only
            assert came.made == 40

    def test_patience_runs_out_all_the_same_when_it_goes_on(self, store: Store):
        words: list[Word] = [(100.0, {"paused": ANN}), (10_100.0, {"paused": None})]
        world, _ = steered(store, always(ROOM), 4, words, patience_s=300.0, most=4)
        assert world.stop.by is StoppedBy.PLATFORM
        assert 10_300.0 <= max(world.sender.departures) < 10_400.0

    def test_a_stop_ends_a_pause(self, store: Store):
        words: list[Word] = [(10.0, {"paused": ANN}), (50.0, {"stopped": ANN})]
        world, came = steered(store, always(GOOD, 7.0), 60, words, rate=60.0)
        assert (world.stop.by, world.stop.reason) == (
            StoppedBy.SIGNAL,
            "ctl stop by ann@desk; what was in flight was waited for",
        )
        assert (came.made, came.count(None), came.seconds) == (10, 50, 50.0)
        assert (came.balance.reserved, came.balance.unknown) == (ZERO, ZERO)


class TestInFlight:
    def test_fewer_waits_for_those_in_flight_and_more_is_no_more_than_at_the_start(self, store: Store):
        words: list[Word] = [(100.0, {"in_flight_max": 3}), (400.0, {"in_flight_max": 99})]
        out: list[tuple[float, int]] = []

        def script(sent: object) -> tuple[float, object]:
            out.append((now(), sent.others + 1))  # type: ignore[attr-defined]
            return 30.0, GOOD

        world, came = steered(store, script, 120, words, most=16)  # type: ignore[arg-type]
        assert came.made == 120
        assert max(count for at, count in out if at < 100.0) == 16
        narrowed = [count for at, count in out if 130.0 < at < 400.0]
        assert narrowed
        assert max(narrowed) == 3
        assert max(count for at, count in out if at > 400.0) == 16
        assert world.gate.flight.limit == 16, "what was learned about the platform is not touched"

    def test_shares_are_given_again_only_when_enough_have_come_back(self):
        async def work() -> None:
            shares, got = Shares(4), list[int]()

            async def one(number: int) -> None:
                await shares.take("a")
                got.append(number)

            tasks = [asyncio.create_task(one(number)) for number in range(8)]
            await asyncio.sleep(1)
            shares.follow(2)
            for expected in (4, 4, 5, 6):
                shares.give_back("a")
                await asyncio.sleep(1)
                assert len(got) == expected
            shares.follow(4)
            await asyncio.gather(*tasks)
            assert shares.free == 0

        in_virtual_time(work)


class TestStop:
    def test_what_is_in_flight_is_waited_for(self, store: Store):
        world, came = steered(store, always(GOOD, 7.0), 60, [(10.5, {"stopped": ANN})], rate=60.0)
        assert max(world.sender.departures) <= 10.5
        assert (came.made, came.count(None)) == (11, 49)
        assert world.states() == {"posted": 11} or world.states() == {"posted": 11, "void": 1}


class Spender:
    """Sends whatever it may, as long as it lasts."""

    def __init__(
        self, store: Store, per_minute: float | None, holder: str = "run-1", clock: Clock | None = None
    ) -> None:
        self.pace = Pace(
            InlineJournal(store, 0.002), ACCOUNT, per_minute, None, clock or Clock(), holder, Grid(DATASET, holder)
        )
        self.departures: list[float] = []
        self._tasks = [asyncio.create_task(self._send()) for _ in range(3)]

    async def _send(self) -> None:
        while True:
            turn = await self.pace.turn()
            await self.pace.depart(turn)
            self.departures.append(now())
            if turn is None:
                await asyncio.sleep(0.05)

    async def end(self) -> list[float]:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        return self.departures


def say(store: Store, per_minute: float | None, *spenders: Spender, holder: str = "run-1") -> None:
    with store.transaction() as tx:
        wishes.say(tx, DATASET, holder, lambda wish: replace(wish, rate_per_minute=per_minute))
    for one in spenders:
        one.pace.follow(per_minute)


def in_memory_and_virtual(work: Callable[[Store], Awaitable[None]]) -> None:
    in_memory(lambda store: in_virtual_time(lambda: work(store)))


class TestRate:
    def test_less_holds_at_once_and_more_brings_no_burst(self):
        async def work(store: Store) -> None:
            one = Spender(store, 600.0)
            for until_s, rate in ((60.0, None), (120.0, 60.0), (180.0, 300.0), (240.0, None)):
                say(store, rate, one)
                await asyncio.sleep(until_s - now())
            sent = await one.end()
            slow = [at for at in sent if 60.0 < at <= 120.0]
            assert 58 <= len(slow) <= 60
            assert 285 <= len([at for at in sent if 120.0 < at <= 180.0]) <= 300
            assert 575 <= len([at for at in sent if 180.0 < at <= 240.0]) <= 600
            gaps = [after - before for before, after in itertools.pairwise(at for at in sent if at > 59.0)]
            assert min(gaps) > 0.09, "at no change two leave together"

        in_memory_and_virtual(work)

    def test_the_runs_of_a_batch_keep_it_together(self):
        async def work(store: Store) -> None:
            spenders = [Spender(store, 600.0) for _ in range(3)]
            say(store, 60.0, *spenders)
            await asyncio.sleep(300.0)
            departures = [await one.end() for one in spenders]
            together = [at for of in departures for at in of]
            assert most_in_a_window(together) <= 60
            assert len(together) >= 285
            assert min(len(of) for of in departures) > 40, "none of them is left out"

        in_memory_and_virtual(work)

    def test_the_accounts_other_runs_are_not_slowed_by_it(self):
        async def work(store: Store) -> None:
            other, slow = Spender(store, 600.0, "another"), Spender(store, 600.0)
            say(store, 30.0, slow)
            await asyncio.sleep(120.0)
            sent = await slow.end()
            assert most_in_a_window(sent) <= 30
            assert len(sent) >= 55
            assert len(await other.end()) >= 2 * (600 - 30) * 0.97
            assert most_in_a_window([*sent, *other.departures]) <= 600

        in_memory_and_virtual(work)

    def test_it_is_kept_where_the_accounts_rate_is_not_known(self):
        async def work(store: Store) -> None:
            one = Spender(store, None)
            say(store, 30.0, one)
            await asyncio.sleep(120.0)
            assert 58 <= len(one.departures) <= 61
            say(store, None, one)
            await asyncio.sleep(10.0)
            assert len(await one.end()) > 300, "nothing is paced any more"

        in_memory_and_virtual(work)

    def test_more_than_the_account_allows_changes_nothing(self):
        async def work(store: Store) -> None:
            one = Spender(store, 120.0)
            say(store, 9000.0, one)
            await asyncio.sleep(120.0)
            sent = await one.end()
            assert most_in_a_window(sent) <= 120
            assert len(sent) >= 230

        in_memory_and_virtual(work)

    def test_who_waits_for_a_far_moment_hears_of_a_faster_wish(self):
        async def work(store: Store) -> None:
            one = Spender(store, 600.0)
            say(store, 0.1, one)
            await asyncio.sleep(30.0)
            assert len(one.departures) <= 2
            say(store, 600.0, one)
            await asyncio.sleep(10.0)
            assert len(await one.end()) > 90

        in_memory_and_virtual(work)

    def test_a_run_that_ends_does_not_wait_for_its_moment(self):
        async def work(store: Store) -> None:
            one = Spender(store, 600.0)
            say(store, 0.1, one)
            await asyncio.sleep(30.0)
            asyncio.get_running_loop().call_later(1.0, one.pace.close)
            assert await one.pace.turn() is None
            await one.pace.depart(None)
            assert now() < 32.0
            await one.end()

        in_memory_and_virtual(work)

    @given(
        st.lists(
            st.tuples(st.sampled_from([0.3, 2.0, 20.0, 70.0]), st.sampled_from([None, 6.0, 30.0, 60.0, 900.0])),
            min_size=1,
            max_size=8,
        ),
        st.integers(1, 3),
        st.sampled_from([None, 0.2, 5.0, 70.0]),
        st.sampled_from([0.0, 40.0, -40.0, 4000.0, -4000.0]),
    )
    @example([(20.0, 60.0), (0.3, None), (0.3, 60.0), (20.0, 900.0)], 2, None, 0.0)
    @example([(0.3, None), (0.3, 6.0)], 2, None, 0.0)
    @example([(0.3, None), (0.3, None), (0.3, 30.0)], 2, 5.0, 0.0)
    @settings(max_examples=soak(5, 800), deadline=None)
    def test_in_no_window_more_leave_than_the_fastest_wish_in_it_allows(
        self, words: list[tuple[float, float | None]], count: int, stall_s: float | None, jump_s: float
    ):
        """With the account's own limit above them all, over processes, whatever is said when; a process that stands
        still, and a clock that jumps while one process sends (several would not know of each other, see `pace.py`)."""

        async def work(store: Store) -> None:
            clock = Clock()
            spenders = [Spender(store, 120.0, clock=clock) for _ in range(count)]
            said: list[tuple[float, float]] = [(0.0, 120.0)]
            for number, (for_s, rate) in enumerate(words):
                say(store, rate, *spenders)
                said.append((now(), min(120.0, rate or 120.0)))
                await asyncio.sleep(for_s)
                if number == 0 and stall_s is not None:
                    stall(stall_s)
                if number == 1 and count == 1:
                    clock.jumped_s += jump_s
            await asyncio.sleep(70.0)
            _check_windows(sorted([at for one in spenders for at in await one.end()]), said)

        in_memory_and_virtual(work)


def _check_windows(sent: Sequence[float], said: Sequence[tuple[float, float]]) -> None:
    for first, at in enumerate(sent):
        window = [other for other in sent[first:] if other < at + WINDOW_S - 1e-5]
        before = [rate for when, rate in said if when <= at]
        within = [rate for when, rate in said if at < when <= window[-1]]
        most = max([before[-1], *within])
        assert len(window) <= most, f"{len(window)} from {at} on, at most {most} a minute"


def test_what_is_new_is_told_in_words():
    wish = Wish(1, ANN, 300.0, 7, None)
    assert list(changes(NOTHING_SAID, wish)) == [
        "paused by ctl (ann@desk)",
        "by ctl: at most 300 requests a minute",
        "by ctl: at most 7 in flight",
    ]
    assert list(changes(wish, replace(NOTHING_SAID, stopped=ANN))) == [
        "stopped by ctl (ann@desk)",
        "resumed by ctl",
        "by ctl: the rate as at the start",
        "by ctl: as many in flight as at the start",
    ]
    assert list(changes(wish, wish)) == []
