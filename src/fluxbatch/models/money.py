"""Money as integers: nano-dollars and hundredths of a neuron, never a float.

Cloudflare bills in neurons with two decimals (the `cf-ai-neurons` header) at $0.011 per 1,000 neurons
(developers.cloudflare.com/workers-ai/platform/pricing), so a hundredth of a neuron is exactly 110 nano-dollars and
every sum is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal, InvalidOperation

NANO_USD_PER_CENTINEURON = 110
NANO_PER_USD = 1_000_000_000
USD_MAX = 1_000_000_000
CENTINEURONS_PER_NEURON = 100
CENTINEURONS_MAX = 10**11
"""No picture comes near a billion neurons ($11,000); a charge beyond that is garbage, not money. The sum of as many as
can be in flight stays below 2**63 nano-dollars, where SQLite would go on with floats."""


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in both of Cloudflare's units: what is capped (nano-dollars) and what is counted (centineurons)."""

    nano_usd: int = 0
    centineurons: int = 0

    def __add__(self, other: Money) -> Money:
        return Money(self.nano_usd + other.nano_usd, self.centineurons + other.centineurons)

    def __sub__(self, other: Money) -> Money:
        return Money(self.nano_usd - other.nano_usd, self.centineurons - other.centineurons)

    def __mul__(self, count: int) -> Money:
        return Money(self.nano_usd * count, self.centineurons * count)

    @property
    def usd(self) -> Decimal:
        return decimal_usd(self.nano_usd)

    @property
    def neurons(self) -> Decimal:
        return decimal_neurons(self.centineurons)


ZERO = Money()


def charge(centineurons: int) -> Money:
    """What Cloudflare takes for that many hundredths of a neuron."""
    return Money(centineurons * NANO_USD_PER_CENTINEURON, centineurons)


def charge_of_header(text: str) -> Money | None:
    """The actual charge from a `cf-ai-neurons` header, or None when it is no plain, non-negative, sane number.

    More than two decimals are rounded up: the ledger may say too much by a hundredth, never too little.
    """
    text = text.strip()
    if len(text) > 32 or not text.replace(".", "", 1).isascii() or not text.replace(".", "", 1).isdigit():
        return None
    centineurons = int((Decimal(text) * CENTINEURONS_PER_NEURON).to_integral_value(ROUND_CEILING))
    return charge(centineurons) if centineurons <= CENTINEURONS_MAX else None


def parse_usd(text: str) -> int:
    """Nano-dollars from what a person types ("20", "$0.50"). ValueError says what is wrong with it."""
    try:
        amount = Decimal(text.strip().removeprefix("$").replace("_", ""))
    except InvalidOperation:
        raise ValueError(f"{text!r} is not an amount in US dollars; write it like 20 or 0.50") from None
    if not amount.is_finite() or not 0 <= amount <= USD_MAX:
        raise ValueError(f"{text!r} is not an amount that can be spent; write it like 20 or 0.50")
    nano_usd = int(amount * NANO_PER_USD)
    if decimal_usd(nano_usd) != amount:
        raise ValueError(f"{text!r} has more than nine decimals; a nano-dollar is the smallest amount there is")
    return nano_usd


def parse_amount(text: str) -> Money:
    """US dollars ("5", "$0.11") or neurons ("10000n", "10,000 neurons") as a person types them. ValueError says what is
    wrong with it. Dollars are given without neurons: what is capped is money."""
    word = text.strip().lower()
    neurons = word.removesuffix("neurons").removesuffix("n")
    if neurons == word:
        return Money(parse_usd(text))
    found = charge_of_header(neurons.replace(",", "").replace("_", ""))
    if found is None or exact(found.neurons) != exact(Decimal(neurons.replace(",", "").replace("_", ""))):
        raise ValueError(f"{text!r} is not an amount of neurons; write it like 10000n or 10000.5n")
    return found


def decimal_usd(nano_usd: int) -> Decimal:
    """Exact dollars, nine decimals."""
    return Decimal(nano_usd).scaleb(-9)


def decimal_neurons(centineurons: int) -> Decimal:
    """Exact neurons, two decimals."""
    return Decimal(centineurons).scaleb(-2)


def exact(amount: Decimal) -> str:
    """A decimal as text, exact, without exponent and without trailing zeros: 0.04125, 3750, 0."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
