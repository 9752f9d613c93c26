from __future__ import annotations

import asyncio
import time

import pytest

from tests.dispatch.virtual import EPOCH_S, Clock, Stuck, in_virtual_time, now, stall


def test_hours_pass_in_no_time_and_in_order():
    heard: list[tuple[str, float]] = []

    async def wait(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        heard.append((name, now()))

    async def work() -> None:
        await asyncio.gather(wait("late", 7200), wait("soon", 0.25), wait("later", 90_000))

    began = time.monotonic()
    in_virtual_time(work)
    assert time.monotonic() - began < 5
    assert heard == [("soon", 0.25), ("late", 7200), ("later", 90_000)]


def test_a_deadline_is_kept_in_virtual_time():
    async def work() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(300):
                await asyncio.sleep(301)
        return now()

    assert in_virtual_time(work) == 300


def test_waiting_for_nobody_is_told_and_does_not_hang():
    with pytest.raises(Stuck):
        in_virtual_time(lambda: asyncio.Event().wait())


def test_the_wall_clock_can_jump_and_the_loop_cannot():
    async def work() -> tuple[float, float]:
        clock = Clock()
        await asyncio.sleep(10)
        clock.jumped_s = -3600
        stall(5)
        return clock(), now()

    assert in_virtual_time(work) == (EPOCH_S - 3585, 15)
