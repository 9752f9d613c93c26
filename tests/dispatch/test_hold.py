from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxbatch.dispatch.hold import IN_A_ROW, LAST, RETRY_AFTER_MAX_S, Hold, Record, Trouble, noted, trips
from tests.dispatch.virtual import in_virtual_time, now

PATIENCE_S = 900.0


class TestBreaker:
    def test_twenty_failures_in_a_row_trip(self):
        record = Record()
        for _ in range(IN_A_ROW - 1):
            record = noted(record, failed=True)
        assert not trips(record)
        assert trips(noted(record, failed=True))

    def test_half_of_the_last_forty_trips_and_less_does_not(self):
        record = Record()
        for number in range(LAST - 1):
            record = noted(record, failed=number % 2 == 0)
            assert not trips(record)
        assert trips(noted(record, failed=False))  # 20 of 40
        calm = Record()
        for number in range(400):
            calm = noted(calm, failed=number % 40 < 19 and number % 2 == 0)
            assert not trips(calm)

    def test_a_success_begins_the_row_anew(self):
        record = Record()
        for number in range(200):
            record = noted(record, failed=number % 3 == 0)
        assert record.in_a_row <= 1
        assert len(record.last) == LAST

    @given(st.lists(st.booleans(), max_size=120))
    def test_it_trips_exactly_when_the_rule_says(self, answers: list[bool]):
        record = Record()
        for answer in answers:
            record = noted(record, answer)
        in_a_row = len(answers) - next((i for i in range(len(answers), 0, -1) if not answers[i - 1]), 0)
        last = answers[-LAST:]
        assert trips(record) == (in_a_row >= 20 or (len(answers) >= 40 and 2 * sum(last) >= 40))


class Holding:
    """A hold, who passed it and when, and whether it gave up."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self.gave_up: list[str] = []
        self.hold = Hold(patience_s, self._give_up)
        self.passed: list[tuple[bool, float]] = []

    def _give_up(self, reason: str) -> None:
        self.gave_up.append(reason)
        self.hold.close()

    async def admit(self) -> bool:
        probe = await self.hold.admit()
        self.passed.append((probe, now()))
        return probe

    async def probes_until_given_up(self) -> list[float]:
        """When each probe went out, as long as every one is turned away at once."""
        sent = []
        while await self.hold.admit():
            sent.append(now())
            self.hold.failed("still bad")
        return sent


def test_without_trouble_everyone_passes():
    async def work() -> None:
        holding = Holding()
        await asyncio.gather(*(holding.admit() for _ in range(5)))
        assert holding.passed == [(False, 0.0)] * 5

    in_virtual_time(work)


@pytest.mark.parametrize("trouble", list(Trouble), ids=lambda trouble: trouble.name)
def test_one_probe_goes_out_after_the_first_interval_and_the_others_wait_for_it(trouble: Trouble):
    async def work() -> None:
        holding = Holding()
        holding.hold.begin(trouble, "why")
        tasks = [asyncio.create_task(holding.admit()) for _ in range(10)]
        await asyncio.sleep(100)
        assert holding.passed == [(True, pytest.approx(trouble.first_s))]
        assert holding.hold.pause is not None
        assert holding.hold.pause.detail == "why"
        holding.hold.passed()
        await asyncio.gather(*tasks)
        assert [probe for probe, _ in holding.passed] == [True] + [False] * 9
        assert {at_s for _, at_s in holding.passed[1:]} == {100.0}
        assert holding.hold.pause is None

    in_virtual_time(work)


@pytest.mark.parametrize("trouble", list(Trouble), ids=lambda trouble: trouble.name)
def test_probes_go_out_at_growing_intervals_until_patience_has_run_out(trouble: Trouble):
    async def work() -> None:
        holding = Holding()
        holding.hold.begin(trouble, "why")
        sent = await holding.probes_until_given_up()
        gaps = [after - before for before, after in zip([0.0, *sent], sent, strict=False)]
        assert gaps[0] == pytest.approx(trouble.first_s)
        assert all(later >= earlier - 1e-6 for earlier, later in itertools.pairwise(gaps))
        assert max(gaps) == pytest.approx(trouble.most_s)
        assert PATIENCE_S <= sent[-1] <= PATIENCE_S + trouble.most_s
        assert holding.gave_up == [f"{trouble.text} for 15 minutes (still bad)"]

    in_virtual_time(work)


def test_trouble_that_comes_back_before_a_picture_came_is_the_same_trouble():
    async def work() -> None:
        holding = Holding()
        starts = []
        while not holding.gave_up:
            holding.hold.begin(Trouble.ROOM, "again")
            if await holding.hold.admit():
                starts.append(now())
                holding.hold.passed()
                await asyncio.sleep(2)  # long enough to be believed, and then it is full again
        gaps = [after - before for before, after in itertools.pairwise(starts)]
        assert max(gaps) >= Trouble.ROOM.most_s  # the interval went on growing
        assert now() <= PATIENCE_S + 2 * Trouble.ROOM.most_s

    in_virtual_time(work)


def test_trouble_after_a_picture_is_new_trouble():
    async def work() -> None:
        holding = Holding()
        for _ in range(30):
            holding.hold.begin(Trouble.ROOM)
            began_s = now()
            assert await holding.hold.admit()
            assert now() - began_s == pytest.approx(Trouble.ROOM.first_s)
            holding.hold.passed()
            holding.hold.came()
            await asyncio.sleep(120)
        assert not holding.gave_up

    in_virtual_time(work)


def test_trouble_that_lets_others_through_uses_up_no_patience_and_is_asked_as_seldom():
    async def work() -> None:
        holding = Holding()
        holding.hold.begin(Trouble.RATE, "bad")
        sent = []
        while now() < 3 * PATIENCE_S and await holding.hold.admit():
            sent.append(now())
            if now() < 2 * PATIENCE_S:
                holding.hold.borne()
            holding.hold.failed("bad")
        gaps = [after - before for before, after in itertools.pairwise(sent)]
        assert all(gap >= Trouble.RATE.most_s - 1e-6 for gap in gaps[20:])
        assert holding.gave_up
        assert 3 * PATIENCE_S - 2 * Trouble.RATE.most_s <= sent[-1] <= 3 * PATIENCE_S

    in_virtual_time(work)


def test_one_trouble_after_another_uses_up_one_patience():
    async def work() -> None:
        holding = Holding()
        troubles = [Trouble.ROOM, Trouble.NETWORK]
        number = 0
        while not holding.gave_up:
            holding.hold.begin(troubles[number % 2], "bad")
            number += 1
            if await holding.hold.admit():
                holding.hold.passed()
                await asyncio.sleep(30)
        assert now() <= PATIENCE_S + 200

    in_virtual_time(lambda: asyncio.wait_for(work(), 10_000))


def test_a_hold_that_is_on_stays_as_it_is():
    async def work() -> None:
        holding = Holding()
        holding.hold.begin(Trouble.ROOM, "first")
        before = holding.hold.pause
        await asyncio.sleep(1)
        holding.hold.begin(Trouble.FAILURES, "second")
        assert holding.hold.pause is before

    in_virtual_time(work)


@pytest.mark.parametrize(("said_s", "waits_s"), [(0.5, 2.0), (30.0, 30.0), (3600.0, RETRY_AFTER_MAX_S)])
def test_retry_after_lengthens_the_wait_within_reason(said_s: float, waits_s: float):
    async def work() -> None:
        holding = Holding()
        holding.hold.begin(Trouble.ROOM, "why", said_s)
        assert await holding.hold.admit()
        assert now() == pytest.approx(waits_s)
        holding.hold.failed("why", said_s)
        assert await holding.hold.admit()
        assert now() == pytest.approx(waits_s + max(3.0, waits_s if said_s > 2 else 0))

    in_virtual_time(work)


def test_a_probe_that_was_not_sent_leaves_its_turn_to_another():
    async def work() -> None:
        holding = Holding()
        holding.hold.begin(Trouble.ROOM)
        assert await holding.hold.admit()
        second = asyncio.create_task(holding.admit())
        await asyncio.sleep(50)
        assert not second.done()
        holding.hold.withdrawn()
        assert await second is True

    in_virtual_time(work)


def test_closing_lets_everyone_pass_and_nobody_as_a_probe():
    async def work() -> None:
        holding = Holding()
        holding.hold.begin(Trouble.FAILURES)
        tasks = [asyncio.create_task(holding.admit()) for _ in range(5)]
        await asyncio.sleep(1)
        holding.hold.close()
        await asyncio.gather(*tasks)
        assert holding.passed == [(False, 1.0)] * 5

    in_virtual_time(work)


def test_a_waiter_that_is_cancelled_does_not_hold_up_the_line():
    async def work() -> None:
        holding = Holding()
        holding.hold.begin(Trouble.ROOM)
        tasks = [asyncio.create_task(holding.admit()) for _ in range(3)]
        await asyncio.sleep(0.5)
        tasks[0].cancel()
        await asyncio.sleep(10)
        assert holding.passed == [(True, pytest.approx(2.0))]
        holding.hold.passed()
        await asyncio.wait(tasks)
        assert len(holding.passed) == 2

    in_virtual_time(work)
