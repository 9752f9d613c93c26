"""What one run was refused is believed by all that share the account: told once, with the leases of the pace."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace

import pytest
import sqlalchemy as sa

from fluxbatch.budget.lessons import Lease, Lesson, Taken, lessons_of_others, take_lease, teach
from fluxbatch.budget.store import Store
from fluxbatch.cloudflare.outcome import Delivered, Throttled
from fluxbatch.dispatch.adapt import EPISODE_S, Flight, Gate, heard
from fluxbatch.dispatch.hold import Hold
from fluxbatch.dispatch.lane import Lane
from fluxbatch.dispatch.news import ROOM, News
from fluxbatch.dispatch.pace import Pace
from fluxbatch.dispatch.stop import Stop, StoppedBy
from tests.dispatch.dispatch_kit import ACCOUNT, InlineJournal
from tests.dispatch.virtual import EPOCH_S, Clock, in_virtual_time, now

NOW_US = round(EPOCH_S * 1e6)
NO_ROOM = Throttled("room", code="3040", message="no capacity")
ONE = Lease(1, 1000, NOW_US, 10**12)


class TestTheRule:
    def flight(self, limit: int, goal: int = 100, cut_at_s: float = float("-inf")) -> Flight:
        return Flight(limit, 100, goal, proofs=3, cut_at_s=cut_at_s)

    @pytest.mark.parametrize(("in_flight", "limit"), [(40, 40), (33, 33), (20, 20), (5, 20), (0, 20)])
    def test_what_is_out_may_stay_and_nothing_is_added(self, in_flight: int, limit: int):
        found = heard(self.flight(40), in_flight, 100.0)
        assert (found.limit, found.goal, found.proofs) == (limit, limit, 0)
        assert found.cut_at_s == 100.0  # growth waits for an episode, as after a refusal of its own

    def test_one_that_is_out_stays_one(self):
        assert heard(self.flight(1), 0, 100.0).limit == 1

    @pytest.mark.parametrize("since_s", [0.0, 1.0, EPISODE_S - 0.1])
    def test_in_an_episode_of_its_own_it_is_no_news(self, since_s: float):
        flight = self.flight(40, cut_at_s=100.0)
        assert heard(flight, 10, 100.0 + since_s) is flight
        assert heard(flight, 10, 100.0 + EPISODE_S).limit == 20

    def test_a_level_that_is_known_to_hold_stays_known(self):
        assert heard(self.flight(10, goal=80), 9, 100.0).goal == 80


@pytest.fixture(params=["sqlite", "postgresql"])
def shared(request: pytest.FixtureRequest) -> Iterator[Store]:
    url = "sqlite://" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    with closing(Store(url)) as store:
        yield store


class TestInTheLedger:
    def take(self, store: Store, learner: str, known: int | None = None, *telling: Lesson) -> Taken:
        with store.transaction() as tx:
            return take_lease(tx, ACCOUNT, learner, ONE, telling, known)

    def test_a_lesson_is_told_and_heard_by_the_others_only(self, shared: Store):
        lesson = Lesson("m", ROOM, "one", NOW_US)
        assert self.take(shared, "two").found == frozenset()
        self.take(shared, "one", None, lesson)
        heard_of = self.take(shared, "two", 0)
        assert heard_of.found == {lesson}
        assert self.take(shared, "two", heard_of.news).found is None
        assert self.take(shared, "one").found == frozenset()
        assert self.take(shared, "two", heard_of.news, lesson).told == (lesson,)

    def test_the_latest_about_a_model_replaces_what_was_told_and_is_news(self, shared: Store):
        first, second = Lesson("m", ROOM, "one", NOW_US), Lesson("m", ROOM, "two", NOW_US - 5)  # a clock behind
        self.take(shared, "one", None, first)
        before = self.take(shared, "three")
        self.take(shared, "two", None, second)
        after = self.take(shared, "three", before.news)
        assert (before.found, after.found) == ({first}, {second})

    def test_accounts_and_models_are_apart(self, shared: Store):
        with shared.transaction() as tx:
            teach(tx, "b" * 32, Lesson("m", ROOM, "one", NOW_US))
            teach(tx, ACCOUNT, Lesson("m", ROOM, "one", NOW_US))
            teach(tx, ACCOUNT, Lesson("n", ROOM, "one", NOW_US))
            assert {one.model for one in lessons_of_others(tx, ACCOUNT, "two")} == {"m", "n"}

    def test_it_is_the_same_pace_and_costs_no_statement(self, shared: Store):
        statements: list[str] = []
        with shared.transaction() as tx:
            assert take_lease(tx, ACCOUNT, "two", replace(ONE, count=3), (), 0).first_us == NOW_US
            sa.event.listen(tx, "before_cursor_execute", lambda c, cursor, text, *_: statements.append(text))
            taken = take_lease(tx, ACCOUNT, "one", ONE, (), 0)
        assert (taken.first_us, taken.found) == (NOW_US + 3000, None)
        assert len(statements) == 1


def test_what_was_told_before_the_run_began_is_old():
    news, lesson = News(ACCOUNT, "two", lambda: EPOCH_S), Lesson("m", ROOM, "one", NOW_US)
    assert news.took(Taken(0, (), 7, frozenset({lesson}))) == frozenset()
    later = Lesson("m", ROOM, "one", NOW_US + 1)
    assert news.took(Taken(0, (), 8, frozenset({lesson, later}))) == {later}
    assert news.took(Taken(0, (), 8, None)) == frozenset()


def test_what_comes_to_be_told_while_a_lease_is_taken_is_told_with_the_next():
    with closing(Store("sqlite://")) as store, store.transaction() as tx:
        news = News(ACCOUNT, "one", lambda: EPOCH_S)
        news.tell("m", ROOM)
        operation = news.lease(ONE)
        news.tell("n", ROOM)
        operation(tx)
        taken = operation(tx)  # the first answer was lost with its connection
        news.took(taken)
        assert [lesson.model for lesson in news.lease(ONE)(tx).told] == ["n"]


@dataclass
class Platform:
    """Has room for so many at once, over all runs; says no quickly, and makes pictures slowly."""

    room: int
    out: int = 0
    refusals: int = 0
    most: int = 0
    made: int = 0

    async def send(self) -> Throttled | Delivered:
        if self.out >= self.room:
            self.refusals += 1
            await asyncio.sleep(0.3)
            return NO_ROOM
        self.out += 1
        self.most = max(self.most, self.out)
        await asyncio.sleep(40.0)
        self.out -= 1
        self.made += 1
        return Delivered(b"")


@dataclass
class Run:
    """A process with one lane, whose rows never end."""

    store: Store
    name: str
    made: int = 0
    refusals: int = 0
    stop: Stop = field(default_factory=Stop)

    def __post_init__(self) -> None:
        self.clock = Clock()
        pace = Pace(InlineJournal(self.store), ACCOUNT, 720, None, self.clock, self.name)
        hold = Hold(900.0, lambda reason: self.stop.request(StoppedBy.PLATFORM, reason))
        self.gate = Gate(Flight(32, 256, goal=256))
        self.stop.tell(pace.close)
        self.lane = Lane(self.gate, pace, hold, self.stop, model="m")

    async def spend(self, platform: Platform) -> None:
        async with asyncio.TaskGroup() as group:
            while await self.gate.enter():
                group.create_task(self.one(platform))

    async def one(self, platform: Platform) -> None:
        cleared = await self.lane.clear()
        if cleared is None:
            self.gate.leave()
            return
        await self.lane.pace.depart(cleared[1], self.lane)
        flying = self.lane.departed(cleared[0], self.clock(), 1)
        began = now()
        outcome = await platform.send()
        self.lane.landed(flying)
        self.gate.leave()
        self.lane.answered(flying, outcome, now() - began)
        self.made += isinstance(outcome, Delivered)
        self.refusals += outcome is NO_ROOM


def share(store: Store, names: list[str], seconds: float, room: int) -> tuple[Platform, list[Run]]:
    async def work() -> tuple[Platform, list[Run]]:
        platform, runs = Platform(room), [Run(store, name) for name in names]
        for run in runs:
            asyncio.get_running_loop().call_later(seconds, run.stop.request, StoppedBy.SIGNAL, "enough")
        await asyncio.gather(*(run.spend(platform) for run in runs))
        return platform, runs

    return in_virtual_time(work)


def test_four_runs_that_hear_of_each_other_are_refused_less_and_share_the_room():
    """The same four with one name hear nothing: each takes the others' lessons for its own."""
    with closing(Store("sqlite://")) as one, closing(Store("sqlite://")) as other:
        together, runs = share(one, ["one", "two", "three", "four"], 900.0, 120)
        deaf, _ = share(other, ["all"] * 4, 900.0, 120)
    assert together.refusals < 0.75 * deaf.refusals
    assert together.made >= 0.85 * 900 / 40 * 120  # and the room is used
    assert together.made >= 0.97 * deaf.made
    assert min(run.made for run in runs) >= 0.5 * together.made / 4


def test_a_refusal_is_told_once_an_episode(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "fluxbatch.dispatch.lane")
    with closing(Store("sqlite://")) as store:
        written: list[str] = []
        sa.event.listen(
            store._engine, "before_cursor_execute",
            lambda c, cursor, text, *_: written.append(text) if text.startswith("INSERT INTO lessons") else None,
        )  # fmt: skip
        platform, _ = share(store, ["one", "two"], 300.0, 60)
    assert platform.refusals > 0
    assert 1 <= len(written) <= 2 * (300 / EPISODE_S + 1)
    assert "another run heard that there is no room" in caplog.text
