"""A picture that is to be sent, its way through its attempts, and how it ended in this run."""

from __future__ import annotations

from dataclasses import dataclass

from fluxbatch.budget.entries import End, History
from fluxbatch.cloudflare.outcome import Delivered, Outcome
from fluxbatch.dataset.spool import Spooled
from fluxbatch.dispatch.lane import Lane
from fluxbatch.manifest.request import ImageRequest
from fluxbatch.models.money import ZERO, Money


@dataclass(frozen=True, slots=True)
class Due:
    """A picture that is to be sent, and how it has fared so far."""

    request: ImageRequest
    history: History


@dataclass(frozen=True, slots=True)
class Ended:
    """A picture's end in this run: `end` is None when it was not reached."""

    request: ImageRequest
    end: End | None
    attempts: int
    kept: Spooled | None = None
    code: str | None = None
    message: str | None = None
    unknown: Money = ZERO


@dataclass(slots=True)
class Course:
    """One picture's way through its attempts."""

    request: ImageRequest
    lane: Lane
    number: int
    tries: int = 0
    failed: int = 0
    lost: int = 0
    unknown: Money = ZERO

    def ended(self, end: End | None, outcome: Outcome | None = None, kept: Spooled | None = None) -> Ended:
        code = outcome.code if outcome is not None else None
        message = outcome.message if outcome is not None and not isinstance(outcome, Delivered) else None
        return Ended(self.request, end, self.number, kept, code, message, self.unknown)


def course_of(due: Due, lane: Lane) -> Course:
    """A picture's way begins where its past has ended."""
    history = due.history
    return Course(due.request, lane, history.attempts, 0, history.failed, history.lost, history.unknown)
