"""The main path, one request at a time and many at once, with a platform from a script."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy.engine import Connection

from fluxbatch.budget.entries import NEVER_SENT, End, History
from fluxbatch.budget.store import Store
from fluxbatch.cloudflare.outcome import Broken, Reply
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dispatch.engine import LOOKS_MAX, Due, Ended
from fluxbatch.dispatch.keep import Keeper
from fluxbatch.dispatch.pace import Pace
from fluxbatch.dispatch.retry import RetryPolicy
from fluxbatch.dispatch.stop import StoppedBy
from fluxbatch.errors import LedgerError, StorageError
from fluxbatch.manifest.request import ImageRequest, Reference
from fluxbatch.models.money import ZERO, charge
from tests.dataset.dataset_kit import NO_COLUMNS, jpeg
from tests.dispatch.dispatch_kit import (
    BAD_TOKEN,
    INTERNAL,
    INVALID,
    LOST,
    NOT_SENT,
    RATE,
    REFUSED,
    REFUSED_OUTPUT,
    ROOM,
    TIMED_OUT,
    Came,
    InlineJournal,
    MemoryKeeper,
    Script,
    Sent,
    World,
    always,
    charged,
    picture,
    request,
    requests,
)
from tests.dispatch.virtual import in_virtual_time, now

GOOD = charged(request(1))


def first(*answers: Reply | Broken, then: Reply | Broken = GOOD) -> Script:
    """Each picture's first tries are answered like this, the later ones with a picture."""
    return lambda sent: (0.3, answers[sent.try_ - 1] if sent.try_ <= len(answers) else then)


def run(store: Store, script: Script, count: int = 1, **options: object) -> tuple[World, Came]:
    async def work() -> tuple[World, Came]:
        world = World(store, script, pictures=count, **options)  # type: ignore[arg-type]
        return world, await world.send(requests(count))

    return in_virtual_time(work)


class TestOutcomes:
    def test_a_picture_is_kept_posted_at_its_charge_and_told(self, store: Store):
        world, came = run(store, always(picture("206.06")))
        assert world.attempts(request(1)) == [(1, "posted", "made")]
        assert (came.balance.spent, came.balance.reserved, came.balance.unknown) == (charge(20_606), ZERO, ZERO)
        (one,) = came.ended
        assert (one.end, one.attempts, one.code, one.message, one.unknown) == (End.MADE, 1, None, None, ZERO)
        assert one.kept is not None
        assert (one.kept.key, one.kept.attempt, one.kept.actual) == (request(1).key, 1, charge(20_606))
        assert (world.tally.made, world.tally.balance.spent, world.tally.requests) == (1, charge(20_606), 1)

    @pytest.mark.parametrize("answer", [RATE, ROOM, NOT_SENT], ids=["rate", "room", "not sent"])
    def test_what_was_not_billed_is_void_and_sent_again(self, store: Store, answer: Reply | Broken):
        world, came = run(store, first(answer, answer))
        assert [state for _, state, _ in world.attempts(request(1))] == ["void", "void", "posted"]
        assert came.balance.gone == came.balance.spent == request(1).quote.expected
        assert (came.ended[0].end, came.ended[0].attempts) == (End.MADE, 3)

    @pytest.mark.parametrize("answer", [INTERNAL, TIMED_OUT, picture("9.99", b"no picture")], ids=repr)
    def test_what_failed_is_unknown_and_sent_again_once(self, store: Store, answer: Reply):
        world, came = run(store, always(answer))
        assert world.attempts(request(1)) == [(1, "unknown", "failed"), (2, "unknown", "failed")]
        assert came.balance.unknown == request(1).quote.bound * 2 == came.ended[0].unknown
        assert (came.ended[0].end, came.ended[0].attempts) == (End.FAILED, 2)
        assert came.ended[0].code is not None
        assert world.tally.ended == {}  # the batch counts, not the engine

    def test_a_second_try_that_succeeds_leaves_the_first_unknown(self, store: Store):
        world, came = run(store, first(INTERNAL))
        assert world.attempts(request(1)) == [(1, "unknown", "failed"), (2, "posted", "made")]
        assert came.balance.unknown == request(1).quote.bound
        assert came.ended[0].unknown == request(1).quote.bound

    def test_what_was_lost_is_unknown_and_not_sent_again(self, store: Store):
        world, came = run(store, first(LOST))
        assert world.attempts(request(1)) == [(1, "unknown", "lost")]
        assert came.balance.unknown == request(1).quote.bound
        assert came.count(End.LOST) == 1

    def test_what_was_lost_is_sent_again_when_asked(self, store: Store):
        world, came = run(store, first(LOST), policy=RetryPolicy(resend_lost=1))
        assert [state for _, state, _ in world.attempts(request(1))] == ["unknown", "posted"]
        assert came.made == 1

    @pytest.mark.parametrize(
        ("answer", "state", "end"),
        [
            (REFUSED, "void", End.REFUSED),
            (REFUSED_OUTPUT, "unknown", End.REFUSED),  # the picture was made before it was looked at
            (INVALID, "void", End.INVALID),
        ],
        ids=["prompt", "output", "invalid"],
    )
    def test_a_refusal_is_the_rows_result(self, store: Store, answer: Reply, state: str, end: End):
        world, came = run(store, always(answer))
        assert world.attempts(request(1)) == [(1, state, end.value)]
        assert came.balance.unknown == (request(1).quote.bound if state == "unknown" else ZERO)
        assert (came.ended[0].end, came.ended[0].unknown) == (end, came.balance.unknown)
        assert came.ended[0].message
        assert not world.stop.is_set

    def test_an_account_that_is_refused_stops_the_run_and_says_what_to_do(self, store: Store):
        world, came = run(store, always(BAD_TOKEN), count=100)
        assert world.stop.by is StoppedBy.ACCOUNT
        assert "check CLOUDFLARE_API_TOKEN" in (world.stop.reason or "")
        assert came.balance.gone == ZERO
        assert came.count(None) == 100
        assert len(world.sender.sent) <= 33

    def test_without_a_charge_the_bound_is_booked(self, store: Store):
        _, came = run(store, always(picture(None)))
        assert came.balance.spent == request(1).quote.bound

    def test_a_charge_above_the_bound_stops_the_run_because_the_price_list_is_wrong(self, store: Store):
        world, came = run(store, always(picture("937.51")), count=100)
        assert world.stop.by is StoppedBy.PLATFORM
        assert "more than its bound" in (world.stop.reason or "")
        assert 1 <= came.made <= 33
        assert came.balance.spent == charge(93_751) * came.made  # and what was charged is booked all the same


class TestPast:
    def test_attempts_are_numbered_on_from_what_the_ledger_knows(self, store: Store):
        run(store, first(LOST))

        async def again() -> tuple[World, Came]:
            world = World(store, always(GOOD), policy=RetryPolicy(resend_lost=1))
            one = request(1)
            return world, await world.send([one], {one.key: world.history(one)})

        world, came = in_virtual_time(again)
        assert world.attempts(request(1)) == [(1, "unknown", "lost"), (2, "posted", "made")]
        assert came.ended[0].unknown == request(1).quote.bound

    def test_what_failed_in_earlier_runs_counts(self, store: Store):
        async def work() -> Came:
            world = World(store, always(INTERNAL))
            return await world.send([request(1)], {request(1).key: History(1, end=End.FAILED, failed=1)})

        came = in_virtual_time(work)
        assert (came.ended[0].end, came.ended[0].attempts) == (End.FAILED, 2)


class TestOrder:
    def test_the_reservation_is_durable_before_the_request_leaves(self, store: Store):
        def script(sent: Sent) -> tuple[float, Reply]:
            with store.reading() as tx:  # another connection: it sees only what is committed
                states = tx.exec_driver_sql(
                    "SELECT state FROM attempts WHERE key = ? AND number = ?",
                    (request(int(sent.prompt.split()[1])).key, sent.try_),
                ).scalar()
            assert states == "sent"
            return 0.3, GOOD if sent.number % 5 else ROOM

        _, came = run(store, script, count=60)
        assert came.made == 60

    def test_a_picture_is_on_the_disk_before_it_is_booked(self, store: Store, tmp_path: Path):
        dataset = Dataset.create(tmp_path / "pictures", NO_COLUMNS, simulated=True)
        spool = dataset.spool()
        seen = []

        def booked_pictures_are_on_the_disk(tx: Connection) -> None:
            rows = tx.exec_driver_sql("SELECT key, number FROM attempts WHERE state = 'posted'").all()
            assert all((spool.folder / f"{key}-{number:04d}.row").is_file() for key, number in rows)
            seen.append(len(rows))

        def script(sent: Sent) -> tuple[float, Reply]:
            return 0.3, picture("937.5", jpeg(seed=sent.number % 3))

        world, came = run(
            store,
            script,
            count=25,
            keeper=Keeper(spool, NO_COLUMNS, "run-1"),
            journal=InlineJournal(store, after=booked_pictures_are_on_the_disk),
        )
        assert came.made == seen[-1] == 25
        entries = {(entry.key, entry.attempt): entry for entry in spool.entries()}
        assert {(one.kept.key, one.kept.attempt): one.kept for one in came.ended if one.kept} == entries
        assert sum((entry.actual for entry in entries.values()), ZERO) == world.balance.spent

    def test_pictures_begin_in_the_order_of_the_manifest(self, store: Store):
        world, _ = run(store, always(GOOD), count=100, most=7)
        assert [sent.prompt for sent in world.sender.sent] == [f"picture {number}" for number in range(1, 101)]

    def test_never_more_are_in_flight_than_allowed(self, store: Store):
        world, _ = run(store, always(GOOD, latency_s=100), count=100, most=7)
        assert world.sender.peak == 7 == world.tally.peak_in_flight


class TestDisk:
    def test_a_disk_that_fails_stops_the_run_at_once_and_nothing_is_posted(self, store: Store):
        def full() -> None:
            raise StorageError("/pictures: could not be written: no space left")

        world, came = run(store, always(GOOD), count=100, most=10, keeper=MemoryKeeper(fails=full))
        assert world.stop.by is StoppedBy.PLATFORM
        assert isinstance(world.stop.error, StorageError)
        assert set(world.states()) == {"sent"}  # the next start finds them: perhaps billed, never booked as nothing
        assert came.balance.spent == ZERO
        assert came.balance.reserved == request(1).quote.bound * world.states()["sent"]
        assert len(world.sender.sent) <= 10
        assert came.count(None) == 100

    def test_pictures_that_were_kept_before_the_disk_failed_stay_booked(self, store: Store):
        kept = 0

        def full_after_five() -> None:
            nonlocal kept
            kept += 1
            if kept > 5:
                raise StorageError("full")

        world, came = run(store, always(GOOD), count=100, most=4, keeper=MemoryKeeper(fails=full_after_five))
        assert (came.made, world.states()["posted"]) == (5, 5)
        assert came.balance.spent == request(1).quote.expected * 5
        assert world.states()["sent"] <= 4

    def test_a_ledger_that_fails_stops_the_run_at_once(self, store: Store):
        class FailingJournal(InlineJournal):
            async def do(self, operation, *, may_wait=False):
                if self.commits >= 20:
                    raise LedgerError("the ledger cannot be used: disk I/O error")
                return await super().do(operation)

        world, came = run(store, always(GOOD), count=100, most=4, journal=FailingJournal(store))
        assert isinstance(world.stop.error, LedgerError)
        assert came.made + came.count(None) == 100
        assert came.made == world.states()["posted"] <= 10
        assert len(world.sender.sent) <= 20

    def test_who_waits_for_what_is_in_flight_hears_when_that_one_could_not_even_leave(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ):
        """Its moment was missed and the ledger failed when it asked for another: the run hung for ever (seed 9792)."""

        async def misses_its_moment(pace: Pace, turn: float | None, who: object = None) -> None:
            await asyncio.sleep(1.0)
            raise LedgerError("the ledger cannot be used: disk I/O error")

        monkeypatch.setattr(Pace, "depart", misses_its_moment)
        due = requests(2)
        room_for_one = due[0].quote.bound.nano_usd * 1.5e-9

        async def work() -> tuple[World, Came]:
            world = World(store, always(GOOD), cap_usd=room_for_one, most=2, pictures=2)
            return world, await world.send(due)

        world, came = in_virtual_time(work)
        assert isinstance(world.stop.error, LedgerError)
        assert came.count(None) == 2
        assert world.sender.sent == []

    def test_a_slow_disk_slows_the_sending(self, store: Store):
        most = 5

        class SlowOffload:
            waiting = 0
            peak = 0

            async def __call__(self, function: Callable[..., object], *args: object) -> object:
                self.waiting += 1
                self.peak = max(self.peak, self.waiting)
                await asyncio.sleep(60)
                self.waiting -= 1
                return function(*args)

        async def work() -> tuple[World, SlowOffload]:
            world, slow = World(store, always(GOOD), most=most, pictures=40), SlowOffload()
            world.engine.offload = slow
            await world.send(requests(40))
            return world, slow

        world, slow = in_virtual_time(work)
        assert world.tally.made == 40
        assert slow.peak <= most  # what a crash can lose is what may be in flight

    def test_looks_that_take_long_hold_nothing_up_and_few_pictures_wait_in_memory_for_one(self, store: Store):
        looks: list[Callable[..., object]] = []
        came: list[Ended] = []

        async def work() -> World:
            world, done = World(store, always(GOOD), most=5, pictures=200), asyncio.Event()

            async def slow(function: Callable[..., object], *args: object) -> object:
                looks.append(function)
                await done.wait()
                return function(*args)

            world.engine.behind = slow
            sending = asyncio.ensure_future(
                world.engine.send_all(
                    [Due(one, NEVER_SENT) for one in requests(200)], came.append, world.line(requests(200))
                )
            )
            while world.tally.made < 200:
                await asyncio.sleep(1)
            assert len(came) == 200 - LOOKS_MAX
            done.set()
            await sending
            return world

        assert in_virtual_time(work).tally.made == 200
        assert len(looks) == LOOKS_MAX
        assert sum(one.kept is not None and one.kept.picture is not None for one in came) == LOOKS_MAX

    @pytest.mark.parametrize("seed", range(3))
    def test_what_a_crash_can_lose_is_never_more_than_may_be_in_flight(self, store: Store, seed: int):
        """At every commit: attempts whose answer is nowhere, because their picture is not on the disk yet."""
        import random

        chance, most, keeper, exposed = random.Random(seed), 6, MemoryKeeper(), list[int]()

        def count(tx: Connection) -> None:
            sent = tx.exec_driver_sql("SELECT key, number FROM attempts WHERE state = 'sent'").all()
            exposed.append(sum((key, number) not in keeper.kept for key, number in sent))

        def script(sent: Sent) -> tuple[float, Reply | Broken]:
            return chance.choice([0.01, 0.5, 3.0]), chance.choice([GOOD, GOOD, ROOM, INTERNAL, REFUSED])

        journal = InlineJournal(store, delay_s=0.4, after=count)
        world, _ = run(store, script, count=60, most=most, keeper=keeper, journal=journal)
        assert world.stop.by is None
        assert max(exposed) == most


class TestEnding:
    def stopped_at(self, store: Store, seconds: float, script: Script, **options: object) -> tuple[World, Came]:
        async def work() -> tuple[World, Came]:
            world = World(store, script, pictures=200, **options)  # type: ignore[arg-type]
            loop = asyncio.get_running_loop()
            loop.call_later(seconds, world.stop.request, StoppedBy.SIGNAL, "interrupted")
            return world, await world.send(requests(200))

        return in_virtual_time(work)

    def test_what_waits_for_its_moment_at_a_stop_is_not_sent_and_costs_nothing(self, store: Store):
        """Its turn is at 10.15 s and its bound is reserved just before (found by the world, mean seed 5285)."""
        world, came = self.stopped_at(store, 10.13, always(GOOD, latency_s=1), rate=6, most=4)
        assert world.sender.departures == [0]
        assert (came.made, came.count(None)) == (1, 199)
        assert world.states() == {"posted": 1, "void": 1}
        assert world.balance.reserved == ZERO

    def test_after_a_stop_nothing_is_sent_and_what_is_in_flight_is_kept(self, store: Store):
        world, came = self.stopped_at(store, 5, always(GOOD, latency_s=20), most=10)
        assert max(world.sender.departures) < 5
        assert came.made == len(world.sender.sent) == 10
        assert came.count(None) == 190
        assert came.seconds == pytest.approx(max(world.sender.departures) + 20, abs=0.01)
        assert world.states() == {"posted": 10}

    def test_a_stop_does_not_wait_for_the_pace(self, store: Store):
        world, came = self.stopped_at(store, 5, always(GOOD, latency_s=1), most=50, rate=6.0)
        assert came.seconds < 8
        assert came.made == len(world.sender.sent)

    def test_a_stop_ends_the_waiting_for_a_second_try(self, store: Store):
        world, came = self.stopped_at(store, 5, lambda sent: (0.1, ROOM if sent.number > 3 else GOOD), most=10)
        assert came.seconds == pytest.approx(5, abs=0.5)
        assert came.made == 3
        assert world.states() == {"posted": 3, "void": len(world.sender.sent) - 3}

    def test_a_cancelled_run_leaves_its_attempts_as_sent_and_its_books_in_order(self, store: Store):
        async def work() -> World:
            world = World(store, always(GOOD, latency_s=100), most=10, pictures=50)
            due = [Due(one, History()) for one in requests(50)]
            ended = list[Ended]()
            task = asyncio.create_task(world.engine.send_all(due, ended.append, world.line(requests(50))))
            await asyncio.sleep(50)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert ended == []
            assert (world.gate.in_use, world.lane.in_flight, world.sender.in_flight) == (0, 0, 0)
            return world

        world = in_virtual_time(work)
        assert world.states() == {"sent": 10}
        assert world.balance.reserved == request(1).quote.bound * 10

    def test_a_bug_is_not_hidden(self, store: Store):
        with pytest.raises(ExceptionGroup) as failure:
            run(store, lambda sent: (0.1, ZeroDivisionError("a bug of ours")), count=5)
        assert failure.group_contains(ZeroDivisionError)


def test_a_reference_that_changed_since_the_plan_ends_its_row_and_costs_nothing(store: Store, tmp_path: Path):
    gone = Reference("ab" * 32, 100, 100, 100, 100, path=str(tmp_path / "gone.png"))
    one = request(1)
    with_reference = ImageRequest(1, None, one.model, one.prompt, 512, 512, 25, None, None, (gone,), 0, key="c" * 64)

    async def work() -> tuple[World, Came]:
        world = World(store, always(GOOD), pictures=3)
        return world, await world.send([with_reference, request(2), request(3)])

    world, came = in_virtual_time(work)
    assert (came.made, came.count(End.INVALID)) == (2, 1)
    (bad,) = (row for row in came.ended if row.end is End.INVALID)
    assert "gone.png" in (bad.message or "")
    assert world.states() == {"posted": 2}


@pytest.mark.parametrize("seed", range(6))
def test_whatever_the_platform_answers_books_and_pictures_agree(store: Store, seed: int):
    """A platform in a bad mood: every picture ends once, and every attempt's money is where its answer says."""
    import random

    chance = random.Random(seed)
    answers = [RATE, ROOM, INTERNAL, TIMED_OUT, LOST, NOT_SENT, REFUSED, REFUSED_OUTPUT, INVALID, *[GOOD] * 9]

    def script(sent: Sent) -> tuple[float, Reply | Broken]:
        return chance.choice([0.05, 0.3, 2.0, 20.0]), chance.choice(answers)

    world, came = run(store, script, count=60, most=chance.choice([1, 5, 40]), rate=chance.choice([None, 300.0]))
    assert world.stop.by is None
    assert came.count(None) == 0
    assert came.made == world.states()["posted"] == len(world.keeper.kept)
    assert sum((one.unknown for one in came.ended), ZERO) == came.balance.unknown
    assert len(world.sender.sent) == sum(world.states().values()) == world.tally.requests


def test_pictures_that_are_made_pay_for_second_tries(store: Store):
    """One in five fails: the tenth that the run begins with would not do, the pictures in between give it back."""

    def script(sent: Sent) -> tuple[float, Reply]:
        return 0.1, INTERNAL if sent.number % 5 == 0 and sent.try_ == 1 else GOOD

    world, came = run(store, script, count=80, most=1)
    assert came.made == 80
    assert world.states()["unknown"] > 8


def virtually(work: Callable[[], Awaitable[None]]) -> None:
    in_virtual_time(work)


def test_a_retry_waits_without_holding_a_place(store: Store):
    def script(sent: Sent) -> tuple[float, Reply]:
        return (0.1, INTERNAL) if sent.prompt == "picture 1" and sent.try_ == 1 else (0.1, GOOD)

    async def work() -> None:
        world = World(store, script, most=1, pictures=100)
        await world.send(requests(5))
        order = [sent.prompt for sent in world.sender.sent]
        assert order[:2] == ["picture 1", "picture 2"]
        assert order.count("picture 1") == 2
        assert now() < 4

    virtually(work)
