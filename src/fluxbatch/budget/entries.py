"""What stands in the ledger, as values: an attempt, a balance, the answer to a reservation, how a key has fared."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from functools import lru_cache

from fluxbatch.models.money import ZERO, Money, charge, decimal_usd, exact

FREE_A_DAY = charge(1_000_000)
"""10,000 neurons are free in each UTC day of an account (developers.cloudflare.com/workers-ai/platform/pricing)."""
US_PER_DAY = 86_400_000_000
USED_UP = "the budget is used up"


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


class Scope(StrEnum):
    """Whose a budget is, beside that of each dataset."""

    ACCOUNT = "account"
    PROJECT = "project"
    RUN = "run"


class Period(StrEnum):
    """What time a budget is for: a UTC day or month, as Cloudflare counts, or all of it."""

    DAY = "day"
    MONTH = "month"
    TOTAL = "total"


PERIODS_OF = {
    Scope.ACCOUNT: (Period.DAY, Period.MONTH),
    Scope.PROJECT: (Period.DAY, Period.MONTH, Period.TOTAL),
    Scope.RUN: (Period.TOTAL,),
}


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time of an account, a project or a run, by its first day; a total has none."""

    name: str
    period: Period
    first_day: date | None = None
    scope: Scope = Scope.ACCOUNT

    @property
    def resets_on(self) -> date | None:
        """The day on which the next one begins, at 00:00 UTC; None for a total, which has no next."""
        if self.first_day is None:
            return None
        days = 1 if self.period == Period.DAY else monthrange(self.first_day.year, self.first_day.month)[1]
        return self.first_day + timedelta(days=days)

    @property
    def told(self) -> str:
        """Which budget it is, in words; names from outside are made plain by whoever shows them."""
        whose = {
            Scope.ACCOUNT: "the account's budget",
            Scope.PROJECT: f"the budget of project {self.name}",
            Scope.RUN: "this run's budget",
        }[self.scope]
        if self.first_day is None:
            return whose
        return f"{whose} for the {self.period} {self.first_day.isoformat()[: 10 if self.period == Period.DAY else 7]}"


@dataclass(frozen=True, slots=True)
class Payer:
    """Who pays for what a run sends. It is written down before the run sends anything, and never changed.

    `holder` is the run, or the parent of several that share one budget. `account_day_nano_usd`: so much may be gone of
    the account's day before this run, and no other, is refused.
    """

    account: str
    run: str
    project: str | None = None
    holder: str | None = None
    account_day_nano_usd: int | None = None


def windows_at(account: str, at_us: int) -> tuple[Window, Window]:
    """The day and the month of the account in which that moment lies."""
    day, month = _spans_at(Scope.ACCOUNT, account, at_us)
    return day, month


def windows_of(payer: Payer, at_us: int) -> tuple[Window, ...]:
    """Every window that an attempt enters which is sent at that moment; the one that is told of first, when several
    refuse it, is the one that stays closed for longest."""
    windows = [*_spans_at(Scope.ACCOUNT, payer.account, at_us)]
    if payer.project is not None:
        windows += [
            *_spans_at(Scope.PROJECT, payer.project, at_us),
            Window(payer.project, Period.TOTAL, None, _PROJECT),
        ]
    windows += [Window(name, Period.TOTAL, None, Scope.RUN) for name in {payer.holder or payer.run, payer.run}]
    return tuple(sorted(windows, key=_rank))


_PROJECT = Scope.PROJECT
_RANKS = (
    (Scope.PROJECT, Period.TOTAL),
    (Scope.PROJECT, Period.MONTH),
    (Scope.ACCOUNT, Period.MONTH),
    (Scope.PROJECT, Period.DAY),
    (Scope.ACCOUNT, Period.DAY),
    (Scope.RUN, Period.TOTAL),
)


def _rank(window: Window) -> tuple[int, str]:
    return _RANKS.index((window.scope, window.period)), window.name


def _spans_at(scope: Scope, name: str, at_us: int) -> tuple[Window, Window]:
    day = _day_of(at_us // US_PER_DAY)
    return Window(name, Period.DAY, day, scope), Window(name, Period.MONTH, day.replace(day=1), scope)


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
    dataset's, or that of `window` (of several that refuse, the one that stays closed for longest)."""

    balance: Balance
    window: Window | None = None

    @property
    def reason(self) -> str:
        """Which budget it is, what is left of it, and when the next one begins."""
        if self.window is None:
            return USED_UP
        cap = self.balance.cap_nano_usd
        is_free = (self.window.scope, self.window.period) == (Scope.ACCOUNT, Period.DAY) and cap == FREE_A_DAY.nano_usd
        whole = f"the free allocation, ${_usd(cap)}" if is_free else f"${_usd(cap)}"
        used = f"{self.window.told} is used up (${_usd(max(0, self.balance.free_nano_usd))} left of {whole})"
        if self.window.resets_on is not None:
            return f"{used}; the next begins on {self.window.resets_on} at 00:00 UTC"
        if self.window.scope == Scope.RUN:
            return f"{used}; the next run has one of its own"
        return f"{used}; raise it with `fluxbatch budget set --project`"


def _usd(nano_usd: int) -> str:
    return exact(decimal_usd(nano_usd))


@dataclass(frozen=True, slots=True)
class Fenced:
    """The guard said no: another run has taken this one's dataset over, and nothing that it sends counts any more."""

    by: str


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
