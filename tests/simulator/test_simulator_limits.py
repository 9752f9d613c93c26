"""The window and the capacity, on a clock that is told the time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fluxbatch.simulator.limits import Capacity, SlidingWindow
from tests.simulator.simulator_kit import AT_ONCE, Client, TimeTold, settle


@given(st.lists(st.integers(0, 40), min_size=1, max_size=80), st.integers(1, 5), st.integers(1, 60))
def test_no_window_ever_admits_more_than_the_limit_nor_refuses_without_need(
    gaps: list[int], limit: int, window: int
) -> None:
    sliding, now = SlidingWindow(), 0
    admitted: list[int] = []
    for gap in gaps:
        now += gap
        recent = sum(now - window < past for past in admitted)
        assert sliding.admit(now, limit, window) is (recent < limit)
        if recent < limit:
            admitted.append(now)


def test_capacity_counts_who_is_in_and_remembers_the_peak() -> None:
    capacity = Capacity()
    assert [capacity.enter(2), capacity.enter(2), capacity.enter(2)] == [True, True, False]
    capacity.leave()
    assert capacity.enter(2)
    assert capacity.enter(None)
    assert (capacity.making, capacity.peak) == (3, 3)


async def test_more_than_the_rate_is_refused_until_the_window_has_moved(open_client: Callable[..., Client]) -> None:
    time = TimeTold()
    client = open_client(replace(AT_ONCE, rate=2, window_s=60), clock=time)
    codes = []
    for moment in (0, 30, 59.9, 59.95, 60, 60.1, 90):
        time.now = moment
        answer = await client.ask()
        codes.append(answer.status_code)
        if answer.status_code == 429:
            assert answer.json()["errors"][0]["code"] == 3021
            assert "inference request per min rate reached" in answer.text
    assert codes == [200, 200, 429, 429, 200, 429, 200]
    assert client.charged == 4 * 3750
    assert client.platform.traffic.arrivals_s == [0, 30, 59.9, 59.95, 60, 60.1, 90]


async def test_the_default_is_720_a_minute(open_client: Callable[..., Client]) -> None:
    client = open_client(clock=TimeTold())
    answers = [(await client.ask()).status_code for _ in range(722)]
    assert answers == [200] * 720 + [429] * 2


async def test_more_than_the_capacity_is_refused_and_room_comes_back(open_client: Callable[..., Client]) -> None:
    time = TimeTold()
    settings = replace(AT_ONCE, capacity=2, latency_s=10, latency_spread=0)
    client = open_client(settings, clock=time, sleep=time.sleep)
    first = [asyncio.create_task(client.ask()) for _ in range(2)]
    await settle()
    refused = await client.ask()
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (429, 3040)
    assert client.charged == 0
    await time.forward(10)
    assert [(await task).status_code for task in first] == [200, 200]
    client.platform.change('{"latency_s": 0}')
    assert (await client.ask()).status_code == 200
    assert (client.platform.capacity.making, client.platform.capacity.peak) == (0, 2)


async def test_limits_change_while_it_runs(open_client: Callable[..., Client]) -> None:
    client = open_client(clock=TimeTold())
    for change, status in [('{"rate": 0}', 429), ('{"rate": null, "capacity": 0}', 429), ('{"capacity": 1}', 200)]:
        assert (await client.http.post("http://simulator/__simulator__/settings", content=change)).status_code == 200
        assert (await client.ask()).status_code == status


async def test_the_platform_ends_a_request_that_takes_too_long(open_client: Callable[..., Client]) -> None:
    time = TimeTold()
    client = open_client(replace(AT_ONCE, latency_s=500, latency_spread=0), clock=time, sleep=time.sleep)
    asked = asyncio.create_task(client.ask())
    await settle()
    await time.forward(236)
    assert not asked.done()
    await time.forward(1)
    answer = await asked
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (408, 3046)
    assert client.charged == 0


async def test_latency_varies_around_its_median_and_the_same_seed_repeats_it(
    open_client: Callable[..., Client],
) -> None:
    slept: list[float] = []

    async def note(seconds: float) -> None:
        slept.append(seconds)

    for _ in range(2):
        client = open_client(replace(AT_ONCE, latency_s=0.5, latency_spread=0.25, seed=7), sleep=note)
        for _ in range(200):
            await client.ask()
    assert slept[:200] == slept[200:]
    middle = sorted(slept[:200])
    assert 0.45 < middle[100] < 0.55
    assert middle[0] < 0.35
    assert middle[-1] > 0.7
