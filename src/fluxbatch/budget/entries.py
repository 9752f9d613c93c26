"""What stands in the ledger, as values: an attempt, a balance, the answer to a reservation, how a key has fared."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fluxbatch.models.money import ZERO, Money


class State(StrEnum):
    """What an attempt's money is doing. `sent` is left once; the others are where it goes."""

    SENT = "sent"  # reserved, and on its way
    POSTED = "posted"  # the actual charge is booked
    VOID = "void"  # certainly not billed
    UNKNOWN = "unknown"  # perhaps billed: the bound stays spent


class End(StrEnum):
    """How an attempt, and so a row, ended. The last two are no end of a row: it is sent again."""

    MADE = "made"
    REFUSED = "refused"
    INVALID = "invalid"
    FAILED = "failed"
    LOST = "lost"
    THROTTLED = "throttled"
    NOT_SENT = "not_sent"


@dataclass(frozen=True, slots=True)
class AttemptId:
    """One try at one picture: the dataset's id, the request's key, and the number of the try from 1."""

    dataset: str
    key: str
    number: int

    def __str__(self) -> str:
        return f"attempt {self.number} of {self.key[:12]}"


@dataclass(frozen=True, slots=True)
class Resolution:
    """How an attempt is resolved. `actual` is only for a posted one."""

    state: State
    end: End
    actual: Money = ZERO
    code: str | None = None
    message: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person decides about an unknown attempt: POSTED (it was billed) or VOID (it was not).

    `actual` is what was billed; None: the bound, which is the most it can have been.
    """

    state: State
    actual: Money | None = None


@dataclass(frozen=True, slots=True)
class Settlement:
    """A decision as it stands in the ledger: about which attempt, when, what counts as spent by it, and why."""

    attempt: AttemptId
    state: State
    actual: Money
    why: str
    at_us: int


@dataclass(frozen=True, slots=True)
class Balance:
    """A dataset's money over all its runs. `spent + reserved + unknown <= cap` holds at every commit."""

    cap_nano_usd: int
    spent: Money
    reserved: Money
    unknown: Money

    @property
    def free_nano_usd(self) -> int:
        """What may still be reserved; negative when the cap was lowered below what is gone already."""
        return self.cap_nano_usd - self.spent.nano_usd - self.reserved.nano_usd - self.unknown.nano_usd

    @property
    def gone(self) -> Money:
        """What counts as spent for good: booked charges, and those that may have been billed."""
        return self.spent + self.unknown


@dataclass(frozen=True, slots=True)
class Reserved:
    """The guard said yes: the bound has left the budget and the attempt is marked as sent, durably."""

    attempt: AttemptId


@dataclass(frozen=True, slots=True)
class Denied:
    """The guard said no: the bound does not fit what the budget has left."""

    balance: Balance


@dataclass(frozen=True, slots=True)
class History:
    """How a key has fared so far, over all runs. `failed` and `lost` leave out what was settled as not billed."""

    attempts: int = 0
    made: bool = False
    end: End | None = None
    failed: int = 0
    lost: int = 0
    unknown: Money = ZERO
    code: str | None = None
    message: str | None = None


NEVER_SENT = History()


@dataclass(frozen=True, slots=True)
class OpenAttempt:
    """An attempt whose charge is not known: what `status` and `reconcile` list."""

    key: str
    number: int
    run: str
    model: str
    bound: Money
    sent_at_us: int
    end: End
    code: str | None
    message: str | None
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Learned:
    """What a run found out about a model on an account: pictures in flight, requests a minute, seconds a picture.

    `is_goal`: more in flight was refused; else the run simply never had more.
    """

    in_flight: int
    is_goal: bool
    rate_per_minute: float | None
    latency_s: float | None
