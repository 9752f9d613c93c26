"""Whether what is charged is still what was expected: a price list grows old. Pure, and exact integers.

A model is judged by its last `PICTURES` pictures that said what they cost, by their sums: so sizes may be mixed, and a
price that changes in the middle of a night is seen within as many. An answer without a charge says nothing: for it the
bound is booked, which is no news about the price.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from fluxbatch.models.catalogue import Model
from fluxbatch.models.money import Money, charge

PICTURES = 20
PERCENT_MAX = 1
"""More than this, above or below, is drift."""


@dataclass(frozen=True, slots=True)
class Record:
    """The last pictures of a model that named their charge, oldest first: expected and charged, in centineurons."""

    charges: tuple[tuple[int, int], ...] = ()

    @property
    def expected(self) -> int:
        return sum(expected for expected, _ in self.charges)

    @property
    def actual(self) -> int:
        return sum(actual for _, actual in self.charges)


@dataclass(frozen=True, slots=True)
class Drift:
    """What was found, once for a model: so many pictures, what they should have cost and what they did."""

    model: str
    pictures: int
    expected: Money
    actual: Money
    prices_read: date

    @property
    def percent(self) -> Decimal | None:
        """How far off, to a hundredth of a percent; None when nothing was expected."""
        if not self.expected.centineurons:
            return None
        more = Decimal(self.actual.centineurons - self.expected.centineurons)
        return (100 * more / self.expected.centineurons).quantize(Decimal("0.01"))

    def __str__(self) -> str:
        off = "" if self.percent is None else f" ({self.percent:+} %)"
        return (
            f"the price of {self.model} has changed: its last {self.pictures} pictures were charged "
            f"{self.actual.neurons:f} neurons, expected were {self.expected.neurons:f}{off}; the list was read on "
            f"{self.prices_read}: give the new price in a models.toml (--models), or update fluxbatch"
        )


def noted(record: Record, expected: int, actual: int) -> Record:
    """The record with one more picture; what is older than the last `PICTURES` is forgotten."""
    return Record((*record.charges, (expected, actual))[-PICTURES:])


def has_drifted(record: Record) -> bool:
    """Whether the sums are more than `PERCENT_MAX` apart, over as many pictures as it takes to say so."""
    apart = abs(record.actual - record.expected)
    return len(record.charges) >= PICTURES and 100 * apart > PERCENT_MAX * record.expected


def beyond_bound(model: str, actual: Money, bound: Money) -> str:
    """Why a run ends when a charge is above what was reserved for it."""
    return (
        f"a picture of {model} was charged ${actual.usd:f}, more than its bound ${bound.usd:f}: the price has changed, "
        "so the budget can no longer be promised; give the new price in a models.toml (--models), or update fluxbatch"
    )


@dataclass(slots=True)
class Watch:
    """One run's records, by model, and what was said of them."""

    said: dict[str, Drift] = field(default_factory=dict)
    """By model id: each drift is said once."""
    _records: dict[str, Record] = field(default_factory=dict)

    def note(self, model: Model, expected: Money, actual: Money) -> Drift | None:
        """A picture came that named its charge. The drift that is to be said now, if there is one."""
        record = self._records[model.id] = noted(
            self._records.get(model.id, Record()), expected.centineurons, actual.centineurons
        )
        if model.id in self.said or not has_drifted(record):
            return None
        sums = charge(record.expected), charge(record.actual)
        drift = self.said[model.id] = Drift(model.name, len(record.charges), *sums, model.prices_read)
        return drift
