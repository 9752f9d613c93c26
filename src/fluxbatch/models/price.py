"""A request's price before it is sent: what it is expected to cost, and what it can cost at most. Pure.

- *expected*: the published price in neurons over the requested area as a fraction of a tile or megapixel, for
  flux-2-dev `steps x (output price x width x height / 262144 + input price x references)`, rounded once, half up, to a
  hundredth as Cloudflare bills it.
- *bound*: the same with whole tiles and megapixels, a started one counting in each direction (so 768x768 is 2x2), and
  the larger of the neuron and the dollar price list. It is what the guard reserves; it holds under every published way
  to count.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from fluxbatch.models.catalogue import Model
from fluxbatch.models.money import NANO_USD_PER_CENTINEURON, Money, charge
from fluxbatch.models.tariff import exact_count, started_count


@dataclass(frozen=True, slots=True)
class Quote:
    """The price before: `expected` is shown, `bound` is reserved. `expected <= bound` in both units."""

    expected: Money
    bound: Money


@lru_cache(maxsize=4096)
def quote(model: Model, width: int, height: int, steps: int, references: int) -> Quote:
    """The price of one picture, by its size in pixels, its steps and its number of reference images."""
    asked = (width, height, steps, references)
    price, started = model.price, started_count(*asked)
    at_most = price.centineurons(started)
    return Quote(
        expected=charge(price.centineurons(exact_count(*asked))),
        bound=Money(max(at_most * NANO_USD_PER_CENTINEURON, price.nano_usd(started)), at_most),
    )
