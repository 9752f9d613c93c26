"""The ledger as a dictionary: what every operation should answer and leave behind, said without any SQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from fluxbatch.budget.entries import (
    AttemptId,
    Balance,
    Denied,
    End,
    Held,
    History,
    Payer,
    Period,
    Resolution,
    Scope,
    Settlement,
    State,
    Window,
    windows_of,
)
from fluxbatch.models.money import ZERO, Money


@dataclass(frozen=True, slots=True)
class Entry:
    """One attempt."""

    payer: Payer
    sent_at_us: int
    bound: Money
    state: State = State.SENT
    end: End | None = None
    actual: Money = ZERO

    @property
    def run(self) -> str:
        return self.payer.run

    @property
    def account(self) -> str:
        return self.payer.account

    @property
    def holds(self) -> Money:
        return {State.POSTED: self.actual, State.VOID: ZERO}.get(self.state, self.bound)


@dataclass(slots=True)
class Model:
    """Everything that a ledger knows."""

    datasets: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Account and cap."""
    caps: dict[tuple[Scope, str, Period], int] = field(default_factory=dict)
    payers: dict[tuple[str, str], Payer] = field(default_factory=dict)
    """Of a dataset's run, where it was written down."""
    attempts: dict[AttemptId, Entry] = field(default_factory=dict)
    settled: dict[AttemptId, Settlement] = field(default_factory=dict)

    def copy(self) -> Model:
        return Model(dict(self.datasets), dict(self.caps), dict(self.payers), dict(self.attempts), dict(self.settled))

    def payer_of(self, dataset: str, run: str) -> Payer:
        """Who pays for a run: whoever did when it began."""
        if (dataset, run) in self.payers:
            return self.payers[dataset, run]
        known = (entry.payer for one, entry in self.attempts.items() if (one.dataset, entry.run) == (dataset, run))
        return next(known, Payer(self.datasets[dataset][0], run))

    def balance(self, dataset: str) -> Balance:
        held = _sum(entry for one, entry in self.attempts.items() if one.dataset == dataset)
        return Balance(self.datasets[dataset][1], held.spent, held.reserved, held.unknown)

    def held_in(self, window: Window) -> Held:
        return _sum(entry for entry in self.attempts.values() if window in windows_of(entry.payer, entry.sent_at_us))

    def windows(self) -> dict[Window, Held]:
        """Every window that holds anything."""
        names = {name for entry in self.attempts.values() for name in windows_of(entry.payer, entry.sent_at_us)}
        found = {name: self.held_in(name) for name in names}
        return {name: held for name, held in found.items() if held != Held()}

    def excess(self) -> dict[str | Window, int]:
        """By how many nano-dollars each budget is passed."""
        over: dict[str | Window, int] = {name: -self.balance(name).free_nano_usd for name in self.datasets}
        for window, held in self.windows().items():
            cap = self.caps.get((window.scope, window.name, window.period))
            if cap is not None:
                over[window] = held.gone_nano_usd - cap
        return {name: amount for name, amount in over.items() if amount > 0}

    def denial(self, dataset: str, run: str, bound: Money, now_us: int) -> Denied | None:
        """Who would refuse this bound."""
        balance = self.balance(dataset)
        if bound.nano_usd > balance.free_nano_usd:
            return Denied(balance)
        payer = self.payer_of(dataset, run)
        for window in windows_of(payer, now_us):
            caps = [self.caps.get((window.scope, window.name, window.period))]
            if (window.scope, window.period) == (Scope.ACCOUNT, Period.DAY):
                caps.append(payer.account_day_nano_usd)
            held, cap = self.held_in(window), min((one for one in caps if one is not None), default=None)
            if cap is not None and held.gone_nano_usd + bound.nano_usd > cap:
                return Denied(Balance(cap, held.spent, held.reserved, held.unknown), window)
        return None

    def resolve(self, attempt: AttemptId, resolution: Resolution) -> None:
        actual = resolution.actual if resolution.state == State.POSTED else ZERO
        known = self.attempts[attempt]
        self.attempts[attempt] = replace(known, state=resolution.state, end=resolution.end, actual=actual)

    def history(self, dataset: str, key: str) -> History | None:
        """How a key has fared, from its attempts in their order."""
        mine = sorted(
            (one.number, entry) for one, entry in self.attempts.items() if (one.dataset, one.key) == (dataset, key)
        )
        if not mine:
            return None
        ends = [End.LOST if entry.state == State.SENT else entry.end for _, entry in mine]
        counted = [end for end, (_, entry) in zip(ends, mine, strict=True) if entry.state != State.VOID]
        final = [end for end in ends if end not in (End.THROTTLED, End.NOT_SENT)]
        return History(
            attempts=mine[-1][0],
            made=any((entry.state, entry.end) == (State.POSTED, End.MADE) for _, entry in mine),
            end=final[-1] if final else None,
            failed=counted.count(End.FAILED),
            lost=counted.count(End.LOST),
            unknown=sum((entry.bound for _, entry in mine if entry.state == State.UNKNOWN), ZERO),
        )


def _sum(entries: Iterator[Entry]) -> Held:
    sums = {State.POSTED: ZERO, State.SENT: ZERO, State.UNKNOWN: ZERO, State.VOID: ZERO}
    for entry in entries:
        sums[entry.state] += entry.holds
    return Held(spent=sums[State.POSTED], reserved=sums[State.SENT], unknown=sums[State.UNKNOWN])
