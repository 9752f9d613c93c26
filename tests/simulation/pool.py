"""Worker threads in virtual time: a few at once, first come, first served. What has begun cannot be called off."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

WORKERS = 4


class Pool(Executor):
    """A piece of work takes up to `slow_s` more, then is done at once: no two interleave within."""

    def __init__(self, rng: random.Random, slow_s: float, is_dead: Callable[[], bool]) -> None:
        self._rng = rng
        self._slow_s = slow_s
        self._is_dead = is_dead
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._begun: dict[Future[Any], Callable[[], Any]] = {}

    def submit(self, function: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._waiting.append((future, lambda: function(*args, **named)))
        self._begin()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """What has begun is finished; what has not is called off."""
        for future, _ in self._waiting:
            future.cancel()
        self._waiting.clear()
        for future in list(self._begun):
            if not self._is_dead():
                self._finish(future)

    def _begin(self) -> None:
        while self._waiting and len(self._begun) < WORKERS:
            future, work = self._waiting.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            self._begun[future] = work
            delay_s = self._rng.uniform(0.0005, 0.005) + self._slow_s * self._rng.random()
            asyncio.get_running_loop().call_later(delay_s, self._finish_and_go_on, future)

    def _finish_and_go_on(self, future: Future[Any]) -> None:
        if future in self._begun:
            self._finish(future)
            self._begin()

    def _finish(self, future: Future[Any]) -> None:
        work = self._begun.pop(future)
        try:
            result = work()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - as a thread does: whoever waits is told
            future.set_exception(error)
        else:
            future.set_result(result)
