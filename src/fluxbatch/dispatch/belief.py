"""A rate that follows what the platform says: what it let in, and from when to when it said "too many"."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from fluxbatch.dispatch.rate import WINDOW_S, Rate, grown, measured

USED = 0.8
"""A rate that was not used to this share proves nothing by being accepted."""


class Belief:
    """What is believed, and what was let in. Times are the wall clock's, in seconds."""

    def __init__(self, rate: Rate, now: Callable[[], float]) -> None:
        self.rate = rate
        self._now = now
        self._log: deque[float] = deque(maxlen=4096)

    def let_in(self, sent_at: float) -> None:
        """A request that was sent then was not refused for being too many."""
        self._log.append(sent_at)

    def grow(self) -> None:
        """The rate a step up, if it was used and kept clean for long enough."""
        now, rate = self._now(), self.rate
        if rate.per_second is None or now - rate.since_s < rate.stretch_s:
            return
        span_s = min(rate.stretch_s, WINDOW_S)
        used = sum(at > self._log[-1] - span_s for at in self._log)
        if used >= USED * rate.per_second * span_s:
            self.rate = grown(rate, now)
        else:
            # something else held the sending: nothing was learned about the rate
            self.rate = replace(rate, since_s=now)

    def learn(self, refused_at: float, refused_last: float, accepted_at: float) -> None:
        """It was refused from then to then, and let in again."""
        before = [at for at in self._log if refused_at - WINDOW_S <= at <= refused_at]
        # The window opened again somewhere between the last refusal and now: the middle is the best guess.
        opened_at = (refused_last + accepted_at) / 2
        span_s = opened_at - min(before, default=refused_at)
        self.rate = measured(self.rate, len(before), span_s, self._now())
