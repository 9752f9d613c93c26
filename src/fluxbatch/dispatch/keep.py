"""An answer -> what it means; a picture -> on the disk, before it is booked; then a look at it. In worker threads."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pyarrow as pa

from fluxbatch.budget.entries import AttemptId, End, Resolution, State
from fluxbatch.cloudflare.outcome import (
    Broken,
    Delivered,
    Failed,
    Fatal,
    Invalid,
    Lost,
    NotSent,
    Outcome,
    Refused,
    Reply,
    Throttled,
    read_outcome,
)
from fluxbatch.dataset.image import inspect, sample
from fluxbatch.dataset.record import VERSION, Delivery, looked_at, picture_row
from fluxbatch.dataset.spool import Spool, Spooled
from fluxbatch.manifest.request import ImageRequest, content_digest, request_key
from fluxbatch.models.catalogue import DEFAULT_MODEL
from fluxbatch.models.money import ZERO, Money
from fluxbatch.provenance import Provenance, mark

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What an attempt brought: its outcome and, for a picture, where it lies and what it cost."""

    outcome: Outcome
    kept: Spooled | None
    actual: Money


@dataclass(frozen=True, slots=True)
class Keeper:
    """Reads answers and spools pictures, for one run of one dataset."""

    spool: Spool
    own: pa.Schema
    run: str
    version: int = VERSION
    """Of the dataset's columns."""
    marks: bool = False
    """Whether each picture says in its own bytes where it comes from."""

    def warm(self) -> None:
        """Load what a first picture would wait for: Pillow's plugins, scipy, what pyarrow imports for its first row."""
        content = sample()
        content_key = request_key(content_digest(DEFAULT_MODEL, "", 256, 256, 1, None, None, ()), 0)
        request = ImageRequest(1, None, DEFAULT_MODEL, "", 256, 256, 1, None, None, (), 0, content_key)
        delivery = Delivery(request, content, ZERO, 1, 0.0, None, datetime.now(UTC), self.run)
        looked_at(picture_row(delivery, self.own, self.version), inspect(content, 256, 256))

    def keep(self, request: ImageRequest, attempt: AttemptId, reply: Reply | Broken, at: datetime) -> Answer:
        """StorageError when the disk does not take the picture; everything else is an outcome."""
        outcome = read_outcome(reply, at, request.prompt)
        if not isinstance(outcome, Delivered):
            return Answer(outcome, None, Money())
        # Without the header the bound is booked: the guard may count too much, never too little.
        actual = request.quote.bound if outcome.charge is None else outcome.charge
        if self.marks:  # from here on it is the picture: hashed, spooled, looked at
            outcome = replace(outcome, content=_with_mark(outcome.content, request, at))
        delivery = Delivery(
            request=request,
            content=outcome.content,
            actual=actual,
            attempt=attempt.number,
            latency_s=reply.latency_s,
            request_id=outcome.request_id,
            created_at=at.astimezone(UTC),
            run_id=self.run,
        )
        row = picture_row(delivery, self.own, self.version)
        return Answer(outcome, self.spool.put(row, attempt.key, attempt.number), actual)


def _with_mark(content: bytes, request: ImageRequest, at: datetime) -> bytes:
    """What cannot be marked was paid for as well: it is kept as it came, and that is told."""
    found = mark(content, Provenance.of(request.model.id, request.prompt, request.key, at))
    if found.unmarked is not None:
        log.warning("picture %s has no mark of its provenance: it %s", request.key, found.unmarked)
    return found.content


def look(kept: Spooled, content: bytes, request: ImageRequest) -> Spooled:
    """The one full decode, behind the booking: what was paid for is safe before it is looked at."""
    return replace(kept, picture=inspect(content, request.width, request.height))


_RESOLUTIONS: dict[type, tuple[State, End]] = {
    Delivered: (State.POSTED, End.MADE),
    Throttled: (State.VOID, End.THROTTLED),
    NotSent: (State.VOID, End.NOT_SENT),
    Fatal: (State.VOID, End.NOT_SENT),
    Invalid: (State.VOID, End.INVALID),
    Refused: (State.VOID, End.REFUSED),
    Failed: (State.UNKNOWN, End.FAILED),
    Lost: (State.UNKNOWN, End.LOST),
}


def resolution_of(answer: Answer) -> Resolution:
    """What the ledger books for an answer. Pure."""
    outcome = answer.outcome
    state, end = _RESOLUTIONS[type(outcome)]
    if isinstance(outcome, Refused) and outcome.billed == "perhaps":
        state = State.UNKNOWN
    message = None if isinstance(outcome, Delivered) else outcome.message
    return Resolution(state, end, answer.actual, outcome.code, message, outcome.request_id)
