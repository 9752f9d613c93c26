"""What a run tells the others of its account, and hears from them: it travels with the leases of the pace.

So it costs no statement of its own but when there is something new. A refusal is told once an episode, by who was
refused; who hears of it tells nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fluxbatch.budget.lessons import Lease, Lesson, Taken, take_lease

ROOM = "room"
"""The platform had no room for one more in flight (3040, 4002)."""


class News:
    """One run's."""

    def __init__(self, account: str, learner: str, now: Callable[[], float]) -> None:
        self._account = account
        self._learner = learner
        self._now = now
        self._telling: tuple[Lesson, ...] = ()
        self._news: int | None = None
        self._known: frozenset[Lesson] = frozenset()

    def tell(self, model: str, kind: str) -> None:
        """To be told with the next lease."""
        self._telling += (Lesson(model, kind, self._learner, round(self._now() * 1e6)),)

    def lease(self, wanted: Lease) -> Callable[[Any], Taken]:
        """An operation that takes a lease, tells and hears. It may be run again: it changes nothing here."""
        account, learner, telling, known = self._account, self._learner, self._telling, self._news
        return lambda tx: take_lease(tx, account, learner, wanted, telling, known)

    def took(self, taken: Taken) -> frozenset[Lesson]:
        """The lease stands: what is new. What was there before this run began is old."""
        self._telling = self._telling[len(taken.told) :]  # more may have come to be told meanwhile
        is_first, self._news = self._news is None, taken.news
        if taken.found is None:
            return frozenset()
        before, self._known = self._known, taken.found
        return frozenset() if is_first else taken.found - before
