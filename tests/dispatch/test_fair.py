"""Who is next where several models wait for the same; and how far ahead is read for them."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from fluxbatch.dispatch.ahead import ROWS_MAX, SLICES_MAX, Ahead
from fluxbatch.dispatch.fair import Shares, Turns
from tests.dispatch.virtual import in_virtual_time


def virtually(work: Callable[[], Awaitable[None]]) -> None:
    in_virtual_time(work)


class TestTurns:
    def order(self, names: str, cancelled: str = "") -> str:
        """In which order they get their turn, when all of them ask at once, and what becomes of the cancelled."""
        had: list[str] = []

        async def work() -> None:
            turns = Turns()

            async def one(name: str) -> None:
                async with turns.of(name):
                    had.append(name)
                    await asyncio.sleep(1)

            tasks = [(name, asyncio.create_task(one(name))) for name in names]
            await asyncio.sleep(0.5)
            for name, task in tasks:
                if name in cancelled:
                    task.cancel()
            await asyncio.gather(*(task for _, task in tasks), return_exceptions=True)
            async with asyncio.timeout(1), turns.of("later"):
                had.append("!")

        virtually(work)
        return "".join(had)

    def test_one_name_is_served_first_come_first_served(self):
        assert self.order("aaaa") == "aaaa!"

    def test_turns_go_round_however_many_wait(self):
        assert self.order("aaaaaabbc") == "aabcabaaa!"

    def test_who_is_cancelled_while_waiting_is_passed_over(self):
        assert self.order("aabbcc", cancelled="b") == "aacc!"

    def test_who_is_cancelled_with_its_turn_gives_it_on(self):
        assert self.order("abc", cancelled="a") == "abc!"

    def test_who_is_cancelled_in_the_moment_it_is_called_gives_it_on(self):
        async def work() -> None:
            turns, had = Turns(), []

            async def one(name: str) -> None:
                async with turns.of(name):
                    had.append(name)

            async with turns.of("first"):
                called = asyncio.create_task(one("called"))
                after = asyncio.create_task(one("after"))
                await asyncio.sleep(1)
            called.cancel()
            await asyncio.wait([called, after], timeout=1)
            assert had == ["after"]
            assert called.cancelled()

        virtually(work)


class TestShares:
    def test_who_holds_the_fewest_is_next(self):
        async def work() -> None:
            shares, got = Shares(4), []

            async def one(name: str) -> None:
                await shares.take(name)
                got.append(name)

            for name in "aaab":
                await one(name)
            waiting = [asyncio.create_task(one(name)) for name in "aabbc"]
            await asyncio.sleep(0)
            for name in "aabac":
                shares.give_back(name)
                await asyncio.sleep(0)
            assert "".join(got) == "aaab" + "cabab"
            await asyncio.gather(*waiting)

        virtually(work)

    def test_one_name_alone_may_hold_all(self):
        async def work() -> None:
            shares = Shares(7)
            for _ in range(7):
                await shares.take("a")
            assert shares.free == 0

        virtually(work)

    @pytest.mark.parametrize("seed", range(5))
    def test_never_more_are_held_than_there_are_and_none_is_lost_whoever_is_cancelled(self, seed: int):
        chance, held, most = random.Random(seed), Counter[str](), 5

        async def work() -> None:
            shares = Shares(most)

            async def one(name: str) -> None:
                await asyncio.sleep(chance.random())
                await shares.take(name)
                held[name] += 1
                assert held.total() <= most
                try:
                    await asyncio.sleep(chance.random())
                finally:
                    held[name] -= 1
                    shares.give_back(name)

            tasks = [asyncio.create_task(one(chance.choice("abc"))) for _ in range(200)]
            for task in chance.sample(tasks, 60):
                asyncio.get_running_loop().call_later(5 * chance.random(), task.cancel)
            await asyncio.gather(*tasks, return_exceptions=True)
            assert all(task.cancelled() or task.exception() is None for task in tasks)
            assert shares.free == most

        virtually(work)


class TestAhead:
    def test_a_single_model_is_read_on_for_when_all_of_the_last_slice_are_out(self):
        ahead = Ahead({"a": 6})
        line = ahead.line(["a", "a"])
        assert not ahead.is_wanted
        line.started("a")
        assert not line.is_out
        assert not ahead.is_wanted
        line.started("a")
        assert line.is_out

    def test_it_is_wanted_as_soon_as_one_model_has_nothing_left_to_start(self):
        ahead = Ahead({"a": 4, "b": 2})
        line = ahead.line(["a", "b"])
        line.started("b")
        assert ahead.is_wanted
        another = ahead.line(["a", "b"])
        another.started("b")
        assert not ahead.is_wanted  # of b there is no more

    def test_nothing_is_read_for_a_model_that_was_given_up(self):
        ahead = Ahead({"a": 4, "b": 4})
        line = ahead.line(["a", "b"])
        ahead.give_up("b")
        line.started("b")
        assert not ahead.is_wanted

    def test_not_more_is_read_than_fits(self):
        for due, size in (({"a": 10 * ROWS_MAX, "b": 1}, ROWS_MAX), ({"a": 10 * SLICES_MAX, "b": 1}, 1)):
            ahead, lines = Ahead(due), 0
            while ahead.is_wanted:
                ahead.line(["a"] * size)
                lines += 1
            assert lines == max(1, ROWS_MAX // size if size > 1 else SLICES_MAX)

    def test_what_dies_with_its_slice_waits_no_more(self):
        ahead = Ahead({"a": 4, "b": 4})
        line = ahead.line(["a", "a", "b"])
        line.close()
        assert line.is_out
        assert ahead.is_wanted
