"""Several models in one run: each has its own lane, and none of them waits for another."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache

import pytest

from fluxbatch.budget.entries import NEVER_SENT, End
from fluxbatch.budget.store import Store
from fluxbatch.cloudflare.outcome import Broken, Reply
from fluxbatch.dispatch import ahead
from fluxbatch.dispatch.ahead import Ahead, Line
from fluxbatch.dispatch.engine import Due, Ended
from fluxbatch.dispatch.retry import RetryPolicy
from fluxbatch.dispatch.stop import StoppedBy
from fluxbatch.manifest.request import ImageRequest
from fluxbatch.models.catalogue import FLUX_2_DEV, FLUX_2_KLEIN_4B, FLUX_2_KLEIN_9B, Model
from fluxbatch.models.money import ZERO
from fluxbatch.run import drive
from tests.dispatch.dispatch_kit import (
    BAD_TOKEN,
    INTERNAL,
    LOST,
    NOT_SENT,
    RATE,
    ROOM,
    Script,
    Sent,
    World,
    error,
    picture,
    request,
)
from tests.dispatch.virtual import in_virtual_time, now

DEV, KLEIN, NINE = MODELS = (FLUX_2_DEV, FLUX_2_KLEIN_4B, FLUX_2_KLEIN_9B)
GOOD = picture("1")
NOT_ALLOWED = error(403, 5018, "the account may not use this model")
UNKNOWN_MODEL = error(400, 5007, "No such model")
DOWN = KLEIN.name


@pytest.fixture
def store() -> Iterator[Store]:
    """In memory: these tests are about when something is sent, and send a lot."""
    with closing(Store("sqlite://")) as opened:
        yield opened


def interleaved(count: int, models: Sequence[Model] = MODELS) -> list[ImageRequest]:
    """One of each model in turn."""
    return [request(number, 256, 256, 4, models[number % len(models)]) for number in range(count)]


@dataclass(slots=True)
class Slice:
    due: list[Due]
    line: Line


@dataclass(slots=True)
class Slices:
    """What `drive` needs of a batch: the manifest in slices, and how many of them are begun."""

    world: World
    rows: list[ImageRequest]
    size: int
    ended: list[tuple[float, Ended]] = field(default_factory=list)
    open: int = 0
    open_most: int = 0
    waiting_most: int = 0

    @property
    def engine(self):
        return self.world.engine

    @property
    def stop(self):
        return self.world.stop

    async def shards(self) -> AsyncIterator[Slice]:
        for start in range(0, len(self.rows), self.size):
            rows = self.rows[start : start + self.size]
            line = self.world.line(rows)
            self.waiting_most = max(self.waiting_most, self.world.engine.ahead._waiting.total())
            yield Slice([Due(one, NEVER_SENT) for one in rows], line)

    async def work(self, one: Slice) -> None:
        self.open += 1
        self.open_most = max(self.open_most, self.open)
        await self.engine.send_all(one.due, lambda ended: self.ended.append((now(), ended)), one.line)
        self.open -= 1

    def made(self, model: Model) -> list[float]:
        """When each picture of this model came."""
        return [at for at, one in self.ended if one.request.model is model and one.end is End.MADE]

    def unreached(self, model: Model) -> int:
        return sum(one.request.model is model and one.end is None for _, one in self.ended)


def run(store: Store, script: Script, rows: list[ImageRequest], size: int = 30, **options: object) -> Slices:
    """Drive them all; afterwards nothing is left in flight, and every row was told once."""
    options = {"most": 256, "rate": 720.0, "pictures": len(rows), **options}
    models = list(dict.fromkeys(one.model for one in rows))

    async def work() -> Slices:
        world = World(store, script, models=models, **options)  # type: ignore[arg-type]
        world.engine.ahead = Ahead(Counter(one.model.id for one in rows))
        world.lanes.on_end = world.engine.ahead.give_up
        slices = Slices(world, rows, size)
        await drive(slices, slices.work)  # type: ignore[arg-type]
        world.lanes.close()
        assert sorted(one.request.row for _, one in slices.ended) == sorted(one.row for one in rows)
        assert all((lane.gate.in_use, lane.in_flight) == (0, 0) for _, lane in world.lanes)
        assert world.engine.exposed.free == options["most"]
        assert world.engine.ahead._waiting.total() == 0
        return slices

    return in_virtual_time(work)


def by_model(latencies_s: dict[str, float], **answers: Reply | Broken) -> Script:
    """Each model takes its time, and brings a picture or what is said here."""
    return lambda sent: (latencies_s.get(sent.model, 10.0), answers.get(sent.model.replace("-", "_"), GOOD))


def down(answer: Reply | Broken, after_s: float, until_s: float = float("inf"), good_s: float = 10.0) -> Script:
    """One of the models is down; the others are well."""

    def script(sent: Sent) -> tuple[float, Reply | Broken]:
        is_down = sent.model == DOWN and sent.at_s < until_s
        return (after_s, answer) if is_down else (good_s, GOOD)

    return script


@cache
def without_it() -> float:
    """How long the two others take by themselves."""
    with closing(Store("sqlite://")) as store:
        rows = [one for one in interleaved(600) if one.model is not KLEIN]
        alone = run(store, down(GOOD, 10.0, good_s=60.0), rows)
    return max(alone.made(DEV) + alone.made(NINE))


class TestOneIsDown:
    @pytest.mark.parametrize(
        ("answer", "after_s"),
        [(ROOM, 0.3), (RATE, 0.3), (INTERNAL, 0.3), (INTERNAL, 20.0), (NOT_SENT, 15.0), (NOT_ALLOWED, 0.1)],
        ids=["no room", "too many", "fails", "fails late", "unreachable", "not allowed"],
    )
    def test_the_others_take_no_longer_than_without_it_and_the_run_ends(
        self, store: Store, answer: Reply | Broken, after_s: float
    ):
        rows = interleaved(600)
        beside = run(store, down(answer, after_s, good_s=60.0), rows)
        assert (len(beside.made(DEV)), len(beside.made(NINE)), len(beside.made(KLEIN))) == (200, 200, 0)
        assert max(beside.made(DEV) + beside.made(NINE)) <= 1.1 * without_it()
        assert beside.world.stop.by in (StoppedBy.PLATFORM, StoppedBy.ACCOUNT)
        assert f"{DOWN}: " in (beside.world.stop.reason or "")
        assert DEV.name not in (beside.world.stop.reason or "")
        assert beside.unreached(KLEIN) > 0

    def test_one_that_swallows_what_it_gets_keeps_its_share_until_it_is_noticed_and_no_more(self, store: Store):
        """Nothing tells it from a slow one before the deadline, so it may have its third for so long."""
        came = run(store, down(LOST, 300.0, good_s=30.0), interleaved(450), most=24)
        in_flight = 24 / 3 * 2
        assert max(came.made(DEV) + came.made(NINE)) <= 1.15 * 300 / in_flight * 30
        assert came.world.stop.by is StoppedBy.PLATFORM

    def test_what_was_down_for_ten_minutes_is_completed(self, store: Store):
        came = run(store, down(ROOM, 0.3, until_s=600.0), interleaved(300))
        assert [len(came.made(model)) for model in MODELS] == [100, 100, 100]
        assert came.world.stop.by is None
        assert max(came.made(DEV)) < 120
        assert 600 < min(came.made(KLEIN)) < 700
        assert max(came.made(KLEIN)) < 800

    def test_the_one_that_is_down_is_given_up_while_the_others_work(self, store: Store):
        """Two slow models have work for an hour; the third is given up after its quarter of an hour, alone."""
        came = run(store, down(ROOM, 0.3, good_s=200.0), interleaved(450), most=18, patience_s=900.0)
        gone_s = [at for at, one in came.ended if one.end is None]
        assert 900 <= min(gone_s) < 1100
        assert max(came.made(DEV)) > 3000
        assert [len(came.made(model)) for model in MODELS] == [150, 0, 150]
        assert came.world.stop.reason == (
            f"{DOWN}: the platform has no room for a single request for 15 minutes (capacity temporarily exceeded)"
        )

    def test_its_rows_wait_in_memory_within_a_bound(self, store: Store, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(ahead, "ROWS_MAX", 60)
        came = run(store, down(ROOM, 0.3), interleaved(300), patience_s=60.0)
        assert 60 <= came.waiting_most <= 60 + 30
        assert [len(came.made(model)) for model in MODELS] == [100, 0, 100]

    def test_so_do_its_slices(self, store: Store, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(ahead, "SLICES_MAX", 7)
        came = run(store, down(ROOM, 0.3, good_s=0.1), interleaved(300), size=6, patience_s=60.0)
        assert 7 <= came.open_most <= 7 + 32 / 2 + 1  # and those whose last rows have places, and wait in the hold
        assert [len(came.made(model)) for model in MODELS] == [100, 0, 100]

    def test_when_all_are_down_the_run_is_over_and_each_is_named(self, store: Store):
        came = run(store, lambda sent: (0.3, ROOM), interleaved(90), patience_s=60.0)
        assert came.world.stop.by is StoppedBy.PLATFORM
        assert all(f"{model.name}: the platform has no room" in (came.world.stop.reason or "") for model in MODELS)
        assert sum(map(came.unreached, MODELS)) == 90

    def test_its_failures_leave_the_others_their_second_tries(self, store: Store):
        def script(sent: Sent) -> tuple[float, Reply]:
            if sent.model == DOWN:
                return 1.0, INTERNAL
            return 5.0, INTERNAL if sent.try_ == 1 and int(sent.prompt.split()[1]) % 30 == 0 else GOOD

        came = run(store, script, interleaved(300), policy=RetryPolicy(resend_failed=3))
        assert (len(came.made(DEV)), len(came.made(NINE))) == (100, 100)


class TestFatal:
    @pytest.mark.parametrize("answer", [NOT_ALLOWED, UNKNOWN_MODEL], ids=["not allowed", "unknown"])
    def test_what_is_about_a_model_ends_that_model(self, store: Store, answer: Reply):
        came = run(store, down(answer, 0.2), interleaved(300))
        assert [len(came.made(model)) for model in MODELS] == [100, 0, 100]
        assert came.unreached(KLEIN) == 100
        assert came.world.stop.by is StoppedBy.ACCOUNT
        assert (came.world.stop.reason or "").startswith(f"{DOWN}: ")
        assert sum(sent.model == DOWN for sent in came.world.sender.sent) <= 10

    def test_what_is_about_the_account_ends_the_run(self, store: Store):
        came = run(store, down(BAD_TOKEN, 0.2), interleaved(300))
        assert came.world.stop.by is StoppedBy.ACCOUNT
        assert "check CLOUDFLARE_API_TOKEN" in (came.world.stop.reason or "")
        assert sum(map(came.unreached, MODELS)) > 200

    def test_with_one_model_the_reason_is_as_it_was(self, store: Store):
        came = run(store, lambda sent: (0.2, NOT_ALLOWED), interleaved(30, [KLEIN]))
        assert came.world.stop.by is StoppedBy.ACCOUNT
        assert (came.world.stop.reason or "").startswith("the account may not use this model")


class TestShares:
    def test_all_models_together_never_have_more_in_flight_than_allowed(self, store: Store):
        came = run(store, by_model({DEV.name: 50.0, KLEIN.name: 2.0, NINE.name: 20.0}), interleaved(300), most=24)
        assert came.world.sender.peak == 24 == came.world.tally.peak_in_flight
        assert sum(len(came.made(model)) for model in MODELS) == 300

    def test_a_model_that_is_alone_uses_all_of_it(self, store: Store):
        """The others are held from the start: they keep neither places nor turns."""

        def script(sent: Sent) -> tuple[float, Reply]:
            return (60.0, GOOD) if sent.model == DEV.name else (0.3, ROOM)

        came = run(store, script, interleaved(300), most=20)
        dev = [sent.at_s for sent in came.world.sender.sent if sent.model == DEV.name]
        assert max(came.made(DEV)) <= 1.15 * (100 / 20 * 60)
        assert max(sum(at - 60 < other <= at for other in dev) for at in dev) >= 18  # but for the probes

    def test_neither_a_quick_nor_a_slow_model_starves_the_other(self, store: Store):
        latencies = {DEV.name: 100.0, KLEIN.name: 1.0}
        rows = interleaved(500, (DEV, KLEIN))
        alone = {}
        for model in (DEV, KLEIN):
            with closing(Store("sqlite://")) as own:
                mine = run(own, by_model(latencies), [one for one in rows if one.model is model], most=32)
                alone[model] = max(mine.made(model))
        both = run(store, by_model(latencies), rows, most=32)
        assert max(both.made(KLEIN)) <= 2.2 * alone[KLEIN]  # half of the turns while both want them
        assert max(both.made(DEV)) <= 1.2 * alone[DEV]

    @pytest.mark.parametrize("rate", [60.0, 720.0])
    def test_all_models_together_keep_the_accounts_rate_in_any_window(self, store: Store, rate: float):
        came = run(store, by_model({DEV.name: 30.0, KLEIN.name: 0.1, NINE.name: 3.0}), interleaved(300), rate=rate)
        moments = sorted(came.world.sender.departures)
        limit = int(rate)
        assert all(after - before >= 60.0 for before, after in zip(moments, moments[limit:], strict=False))
        assert moments[-1] <= 1.1 * 300 * 60 / rate + 5  # and it is used


class PerModel:
    """Each model admits so many within any minute, or all of them together do ("")."""

    def __init__(self, allowed: dict[str, int], latency_s: float = 1.0) -> None:
        self.allowed = allowed
        self.latency_s = latency_s
        self.let_in: dict[str, deque[float]] = {name: deque() for name in allowed}

    def __call__(self, sent: Sent) -> tuple[float, Reply]:
        name = sent.model if sent.model in self.allowed else ""
        window = self.let_in.get(name)
        if window is None:
            return self.latency_s, GOOD
        while window and window[0] <= sent.at_s - 60.0:
            window.popleft()
        if len(window) >= self.allowed[name]:
            return 0.02, RATE
        window.append(sent.at_s)
        return self.latency_s, GOOD


class TestRate:
    def test_a_limit_of_one_model_slows_that_one_only(self, store: Store):
        came = run(store, PerModel({DOWN: 20}), interleaved(600, (DEV, *[NINE] * 8, KLEIN)))
        others = came.made(DEV) + came.made(NINE)
        assert len(others) == 540
        assert max(others) <= 1.1 * 600 / 12
        assert came.world.pace.rate.per_second == 12.0
        assert len(came.made(KLEIN)) == 60
        assert max(came.made(KLEIN)) <= 1.15 * (60 / 20 * 60)
        assert came.world.tally.refusals <= 25

    def test_a_limit_of_the_account_slows_all_together(self, store: Store):
        came = run(store, PerModel({"": 120}), interleaved(450))
        assert sum(len(came.made(model)) for model in MODELS) == 450
        assert max(at for at, _ in came.ended) <= 1.1 * (450 / 120 * 60)
        with closing(Store("sqlite://")) as another:
            single = run(another, PerModel({"": 120}), interleaved(450, [DEV]))
        assert came.world.tally.refusals <= 1.6 * single.world.tally.refusals  # one asks for all of them

    def test_one_that_is_refused_while_others_are_let_in_has_its_turn_when_they_have_had_theirs(self, store: Store):
        """Seed 6855 of the world: six a minute for three models, and one of them was given up after its patience."""
        rows = interleaved(240, (*[DEV] * 5, KLEIN))
        came = run(store, down(RATE, 0.3, until_s=1500.0), rows, rate=6.0, patience_s=300.0)
        assert [len(came.made(model)) for model in (DEV, KLEIN)] == [200, 40]
        assert not came.world.stop.is_set
        asked = [sent.at_s for sent in came.world.sender.sent if sent.model == DOWN and sent.at_s < 1500.0]
        assert len(asked) <= 1500 / 15 + 5  # its probes go on seldom

    def test_a_limit_that_nobody_knows_is_found_together(self, store: Store):
        came = run(store, PerModel({"": 120}), interleaved(450), rate=None)
        assert sum(len(came.made(model)) for model in MODELS) == 450
        assert max(at for at, _ in came.ended) <= 1.1 * (450 / 120 * 60)
        assert came.world.pace.rate.per_second == pytest.approx(2.0, rel=0.1)
        assert came.world.tally.refusals <= 150  # those on their way when the first comes back: a hundred or so


def test_rows_of_each_model_start_in_order(store: Store):
    came = run(store, by_model({DEV.name: 30.0, KLEIN.name: 1.0}), interleaved(300), most=12)
    for model in MODELS:
        numbers = [int(sent.prompt.split()[1]) for sent in came.world.sender.sent if sent.model == model.name]
        assert numbers == sorted(numbers)
        assert len(numbers) == 100


def test_a_single_model_reads_the_next_slice_when_all_of_the_last_are_out(store: Store):
    came = run(store, by_model({}), interleaved(300, [DEV]), size=10, most=20)
    assert came.waiting_most == 10
    assert len(came.made(DEV)) == 300


def test_a_stop_ends_all_lanes(store: Store):
    async def work() -> tuple[World, list[Ended]]:
        world = World(store, by_model({DEV.name: 50.0}), models=MODELS, most=30, pictures=300)
        asyncio.get_running_loop().call_later(5, world.stop.request, StoppedBy.SIGNAL, "interrupted")
        came = await world.send(interleaved(300))
        return world, came.ended

    world, ended = in_virtual_time(work)
    assert world.stop.by is StoppedBy.SIGNAL
    assert max(world.sender.departures) < 5
    assert world.balance.reserved == ZERO
    assert {lane.stop.by for _, lane in world.lanes} == {StoppedBy.SIGNAL}
    assert sum(one.end is None for one in ended) == 300 - len(world.sender.sent)
