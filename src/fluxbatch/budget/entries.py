"""What stands in the ledger, as values: an attempt, a balance, the answer to a reservation, how a key has fared."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from functools import lru_cache

from fluxbatch.models.money import ZERO, Money

US_PER_DAY = 86_400_000_000


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


class Period(StrEnum):
    """What an account's caps are for, beside the cap of each dataset."""

    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Window:
    """One UTC day or month of an account, by its first day: as Cloudflare counts."""

    account: str
    period: Period
    first_day: date

    @property
    def resets_on(self) -> date:
        """The day on which the next one begins, at 00:00 UTC."""
        days = 1 if self.period == Period.DAY else monthrange(self.first_day.year, self.first_day.month)[1]
        return self.first_day + timedelta(days=days)


def windows_at(account: str, at_us: int) -> tuple[Window, Window]:
    """The day and the month of the account in which that moment lies."""
    day = _day_of(at_us // US_PER_DAY)
    return Window(account, Period.DAY, day), Window(account, Period.MONTH, day.replace(day=1))


@lru_cache(maxsize=64)
def _day_of(days: int) -> date:
    return date(1970, 1, 1) + timedelta(days=days)


@dataclass(frozen=True, slots=True)
class Held:
    """What a window holds: charges that are booked, bounds on their way, and what may have been billed."""

    spent: Money = ZERO
    reserved: Money = ZERO
    unknown: Money = ZERO

    @property
    def gone_nano_usd(self) -> int:
        return self.spent.nano_usd + self.reserved.nano_usd + self.unknown.nano_usd


@dataclass(frozen=True, slots=True)
class Reserved:
    """The guard said yes: the bound has left the budget and the attempt is marked as sent, durably."""

    attempt: AttemptId


@dataclass(frozen=True, slots=True)
class Denied:
    """The guard said no: the bound does not fit what the budget has left. `balance` is of the budget that refused: the
    dataset's, or that of the account's day or month, which is `window` (the month, when both refuse)."""

    balance: Balance
    window: Window | None = None

    @property
    def reason(self) -> str:
        if self.window is None:
            return "the budget is used up"
        first = self.window.first_day
        name = f"{first:%Y-%m-%d}" if self.window.period == Period.DAY else f"{first:%Y-%m}"
        return (
            f"the account's budget for the {self.window.period} {name} is used up; "
            f"the next begins on {self.window.resets_on} at 00:00 UTC"
        )


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
