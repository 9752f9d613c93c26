"""Work on a pool of threads, with a bound for each host: a slow one does not take every place."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """At most `at_once` calls run at the same time, at most `per_host` of them for one host; in order for each host.

    What a call raises is raised by its future's `result`.
    """

    def __init__(self, at_once: int, per_host: int) -> None:
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="fetch")
        self._per_host = per_host
        self._running: Counter[str] = Counter()
        self._waiting: dict[str, deque[tuple[Future[T], Callable[[], T]]]] = {}
        self._lock = threading.RLock()  # a call may have ended before its end is waited for: then by the same thread
        self._is_closed = False

    def submit(self, host: str, call: Callable[[], T]) -> Future[T]:
        promised: Future[T] = Future()
        with self._lock:
            self._waiting.setdefault(host, deque()).append((promised, call))
            self._start(host)
        return promised

    def close(self) -> None:
        """Start nothing more; what has not started is cancelled. Does not wait for what runs."""
        with self._lock:
            self._is_closed = True
            for queue in self._waiting.values():
                for promised, _ in queue:
                    promised.cancel()
            self._waiting.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _start(self, host: str) -> None:
        queue = self._waiting.get(host)
        while queue and not self._is_closed and self._running[host] < self._per_host:
            promised, call = queue.popleft()
            self._running[host] += 1
            try:
                started = self._pool.submit(call)
            except RuntimeError:  # the interpreter is on its way out
                promised.cancel()
                return
            started.add_done_callback(lambda done, promised=promised: self._ended(host, promised, done))  # type: ignore[misc]

    def _ended(self, host: str, promised: Future[T], done: Future[T]) -> None:
        if done.cancelled():
            promised.cancel()
        elif (failure := done.exception()) is not None:
            promised.set_exception(failure)
        else:
            promised.set_result(done.result())
        with self._lock:
            self._running[host] -= 1
            self._start(host)
            if not self._running[host]:
                del self._running[host]
                self._waiting.pop(host, None)
