from __future__ import annotations

import asyncio

import pytest

from fluxbatch.dispatch.adapt import Flight, Gate


def gate_of(limit: int, most: int = 100) -> Gate:
    return Gate(Flight(limit, most, goal=most))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Queue:
    """Tasks that want in, and the order in which they came in."""

    def __init__(self, gate: Gate, count: int) -> None:
        self.gate = gate
        self.entered: list[int] = []
        self.turned_away: list[int] = []
        self.tasks = [asyncio.create_task(self._enter(number)) for number in range(count)]

    async def _enter(self, number: int) -> None:
        (self.entered if await self.gate.enter() else self.turned_away).append(number)


async def test_places_are_given_first_come_first_served():
    queue = Queue(gate_of(2), 5)
    await settle()
    assert queue.entered == [0, 1]
    queue.gate.leave()
    await settle()
    queue.gate.leave()
    await settle()
    assert queue.entered == [0, 1, 2, 3]
    assert queue.gate.in_use == 2
    queue.gate.close()
    await settle()


async def test_who_comes_late_does_not_overtake_who_waits():
    queue = Queue(gate_of(1), 2)
    await settle()
    queue.gate.leave()  # the place belongs to the one that waits, though it has not run yet
    late = asyncio.create_task(queue.gate.enter())
    await settle()
    assert queue.entered == [0, 1]
    assert not late.done()
    queue.gate.close()
    assert await late is False


async def test_a_higher_limit_lets_in_at_once_and_a_lower_one_waits_until_places_are_left():
    queue = Queue(gate_of(1), 6)
    await settle()
    queue.gate.follow(Flight(3, 100, goal=100))
    await settle()
    assert queue.entered == [0, 1, 2]
    queue.gate.follow(Flight(2, 100, goal=100))
    queue.gate.leave()
    await settle()
    assert queue.entered == [0, 1, 2]
    queue.gate.leave()
    await settle()
    assert queue.entered == [0, 1, 2, 3]
    queue.gate.close()
    await settle()


async def test_a_waiter_that_is_cancelled_is_passed_over():
    queue = Queue(gate_of(1), 3)
    await settle()
    queue.tasks[1].cancel()
    await settle()
    queue.gate.leave()
    await settle()
    assert queue.entered == [0, 2]
    assert queue.gate.in_use == 1


async def test_a_place_given_to_a_waiter_that_is_cancelled_in_the_same_moment_is_not_lost():
    queue = Queue(gate_of(1), 3)
    await settle()
    queue.gate.leave()  # gives the place to task 1 …
    queue.tasks[1].cancel()  # … which is cancelled before it can run
    await settle()
    assert queue.entered == [0, 2]
    assert queue.gate.in_use == 1


async def test_who_waits_is_sent_away_when_the_gate_closes_and_so_is_who_comes_later():
    queue = Queue(gate_of(1), 3)
    await settle()
    queue.gate.close()
    await settle()
    assert (queue.entered, queue.turned_away) == ([0], [1, 2])
    assert await queue.gate.enter() is False
    queue.gate.leave()
    assert queue.gate.in_use == 0


async def test_a_place_given_in_the_moment_of_closing_is_handed_back():
    queue = Queue(gate_of(1), 2)
    await settle()
    queue.gate.leave()
    queue.gate.close()
    await settle()
    assert queue.turned_away == [1]
    assert queue.gate.in_use == 0


@pytest.mark.parametrize("seed", range(5))
async def test_no_place_is_ever_lost_or_given_twice(seed: int):
    import random

    chance, gate, inside, peak = random.Random(seed), gate_of(7), 0, 0

    async def visit() -> None:
        nonlocal inside, peak
        assert await gate.enter()
        inside += 1
        peak = max(peak, inside)
        try:
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
        finally:
            inside -= 1
            gate.leave()

    tasks = [asyncio.create_task(visit()) for _ in range(300)]
    while not all(task.done() for task in tasks):
        chance.choice(tasks).cancel()
        await asyncio.sleep(0)
    assert 1 <= peak <= 7
    assert (inside, gate.in_use) == (0, 0)
