"""Where budgets stand, and how many nights a batch takes within them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from fluxbatch.budget.entries import Held, Payer, Period, Scope, Window, windows_of
from fluxbatch.models.price import Quote

NIGHTS_MAX = 3_660


@dataclass(frozen=True, slots=True)
class Standing:
    """What a window holds now, and its cap; None: it has none."""

    window: Window
    held: Held
    cap_nano_usd: int | None = None

    @property
    def left_nano_usd(self) -> int | None:
        """What may still be reserved; below 0 when the cap was lowered below what is gone."""
        return None if self.cap_nano_usd is None else self.cap_nano_usd - self.held.gone_nano_usd


def unspent(payer: Payer, at_us: int, run_cap_nano_usd: int | None) -> list[Standing]:
    """The budgets of a run on a ledger that is still to be made: only what the run itself asks for."""
    account_day, run = (Scope.ACCOUNT, Period.DAY), (Scope.RUN, Period.TOTAL)
    caps = {account_day: payer.account_day_nano_usd, run: run_cap_nano_usd}
    return [Standing(window, Held(), caps.get((window.scope, window.period))) for window in windows_of(payer, at_us)]


def tightest(standings: Iterable[Standing]) -> Standing | None:
    """The one with the least left; None when there is no cap."""
    capped = [one for one in standings if one.cap_nano_usd is not None]
    return min(capped, key=lambda one: one.left_nano_usd or 0, default=None)


@dataclass(frozen=True, slots=True)
class Nights:
    """One run a night, from tonight on: in how many of them pictures are made, how many, and when the last are."""

    count: int
    pictures: int
    last: date | None


def nights_of(
    pictures: Iterable[tuple[Quote, int]], standings: Sequence[Standing], free_nano_usd: int, today: date
) -> Nights:
    """How many nights it takes to make so many pictures at these prices, charged as expected, under the present caps.

    `free_nano_usd` is what the dataset's own budget has left; it and totals end the batch when they are used up.
    """
    ahead = _Ahead([one for one in standings if one.cap_nano_usd is not None], free_nano_usd, today)
    for price, count in pictures:
        left = count
        while left:
            made = ahead.make(price, left)
            if made is None:  # the first that never fits ends the buying, as it does in a run
                return Nights(ahead.nights, ahead.pictures, ahead.last)
            left -= made
    return Nights(ahead.nights, ahead.pictures, ahead.last)


@dataclass(slots=True)
class _Ahead:
    """The nights as they come. `room` is what each capped window has left in this one."""

    standings: list[Standing]
    free_nano_usd: int
    day: date
    nights: int = 0
    pictures: int = 0
    last: date | None = None
    room: dict[Window, int] = field(default_factory=dict)
    elapsed: int = 0

    def __post_init__(self) -> None:
        self.room = {one.window: one.left_nano_usd or 0 for one in self.standings}

    def make(self, price: Quote, count: int) -> int | None:
        """As many as fit into this night, or into the next in which one does; None when none ever will."""
        while (fit := self._fit(price, count)) == 0:
            if not self._next(price.bound.nano_usd):
                return None
        spent = fit * price.expected.nano_usd
        self.free_nano_usd -= spent
        self.room = {window: left - spent for window, left in self.room.items()}
        self.pictures += fit
        if self.last != self.day:
            self.nights, self.last = self.nights + 1, self.day
        return fit

    def _fit(self, price: Quote, count: int) -> int:
        """As the guard counts: the bound has to be free, the expected price is what is taken."""
        spare = min([self.free_nano_usd, *self.room.values()]) - price.bound.nano_usd
        if spare < 0:
            return 0
        expected = price.expected.nano_usd
        return count if expected == 0 else min(count, spare // expected + 1)

    def _next(self, bound_nano_usd: int) -> bool:
        """Go on to the next night; False when that cannot help."""
        full = [one for one in self.standings if self.room[one.window] < bound_nano_usd]
        is_for_ever = self.free_nano_usd < bound_nano_usd or any(_is_for_ever(one.window) for one in full)
        if is_for_ever or any((one.cap_nano_usd or 0) < bound_nano_usd for one in full) or self.elapsed > NIGHTS_MAX:
            return False
        before, self.day, self.elapsed = self.day, self.day + timedelta(days=1), self.elapsed + 1
        for one in self.standings:
            is_new_month = one.window.period == Period.MONTH and self.day.month != before.month
            if one.window.period == Period.DAY or one.window.scope == Scope.RUN or is_new_month:
                self.room[one.window] = one.cap_nano_usd or 0
        return True


def _is_for_ever(window: Window) -> bool:
    """Whether it is used up for good; a run's budget is new in each night's run."""
    return window.period == Period.TOTAL and window.scope != Scope.RUN
