from __future__ import annotations

import asyncio

from fluxbatch.dispatch.stop import Stop, StoppedBy
from tests.dispatch.virtual import in_virtual_time, now


async def test_the_first_reason_stands():
    stop = Stop()
    assert (stop.is_set, stop.by, stop.reason, stop.error) == (False, None, None, None)
    stop.request(StoppedBy.BUDGET, "used up")
    stop.request(StoppedBy.SIGNAL, "interrupted")
    assert (stop.is_set, stop.by, stop.reason) == (True, StoppedBy.BUDGET, "used up")


async def test_an_error_is_not_lost_behind_an_earlier_reason_and_the_first_error_stands():
    stop, first = Stop(), OSError("disk")
    stop.request(StoppedBy.SIGNAL, "interrupted")
    stop.request(StoppedBy.PLATFORM, "disk", first)
    stop.request(StoppedBy.PLATFORM, "later", OSError("later"))
    assert (stop.by, stop.error) == (StoppedBy.SIGNAL, first)


async def test_everyone_is_told_once_and_who_asks_late_is_told_at_once():
    stop, told = Stop(), list[str]()
    stop.tell(lambda: told.append("early"))
    stop.request(StoppedBy.BUDGET, "used up")
    stop.request(StoppedBy.BUDGET, "used up")
    stop.tell(lambda: told.append("late"))
    assert told == ["early", "late"]


def test_sleep_ends_at_its_time_or_at_the_stop_whatever_comes_first():
    async def work() -> list[tuple[bool, float]]:
        stop = Stop()
        slept = [(await stop.sleep(5), now())]
        asyncio.get_running_loop().call_later(2, stop.request, StoppedBy.SIGNAL, "interrupted")
        slept.append((await stop.sleep(60), now()))
        slept.append((await stop.sleep(60), now()))
        slept.append((await stop.sleep(0), now()))
        return slept

    assert in_virtual_time(work) == [(False, 5), (True, 7), (True, 7), (True, 7)]


async def test_a_sleep_of_nothing_does_not_wait():
    assert await Stop().sleep(0) is False
    assert await Stop().sleep(-1) is False
