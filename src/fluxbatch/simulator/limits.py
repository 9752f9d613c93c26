"""How much the platform takes: requests in a sliding window, and pictures at the same time."""

from __future__ import annotations

from collections import deque


class SlidingWindow:
    """Admits at most `limit` requests in any span of `window_s`; what is refused does not count.

    A request that was admitted exactly `window_s` ago has left the window.
    """

    def __init__(self) -> None:
        self._admitted: deque[float] = deque()

    def admit(self, now: float, limit: int | None, window_s: float) -> bool:
        """Whether a request at `now` (seconds, never going back) is admitted; limit and window may change freely."""
        if not self.has_room(now, limit, window_s):
            return False
        self._admitted.append(now)
        return True

    def has_room(self, now: float, limit: int | None, window_s: float) -> bool:
        """Whether `admit` would say yes."""
        while self._admitted and self._admitted[0] <= now - window_s:
            self._admitted.popleft()
        return limit is None or len(self._admitted) < limit


class Capacity:
    """Counts the pictures in the making."""

    def __init__(self) -> None:
        self.making = 0
        self.peak = 0

    def enter(self, limit: int | None) -> bool:
        """Whether there is room for one more; then it is taken, until `leave`."""
        if limit is not None and self.making >= limit:
            return False
        self.making += 1
        self.peak = max(self.peak, self.making)
        return True

    def leave(self) -> None:
        self.making -= 1
