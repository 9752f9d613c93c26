"""A request's price before it is sent: what it is expected to cost, and what it can cost at most. Pure.

- *expected*: the published price in neurons over the requested area as a fraction of a tile,
  `steps x (output price x width x height / 262144 + input price x references)`, rounded to a hundredth as Cloudflare
  bills it.
- *bound*: the same with whole tiles, a started tile counting in each direction (so 768x768 is 2x2), and the larger of
  the neuron and the dollar price list. It is what the guard reserves; it holds under every published way to count.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from fluxbatch.models.catalogue import TILE_PIXELS, Model
from fluxbatch.models.money import NANO_USD_PER_CENTINEURON, Money, charge

TILE_SIDE = 512


@dataclass(frozen=True, slots=True)
class Quote:
    """The price before: `expected` is shown, `bound` is reserved. `expected <= bound` in both units."""

    expected: Money
    bound: Money


@lru_cache(maxsize=4096)
def quote(model: Model, width: int, height: int, steps: int, references: int) -> Quote:
    """The price of one picture, by its size in pixels, its steps and its number of reference images."""
    return Quote(
        expected=charge(_fractional_centineurons(model, width, height, steps, references)),
        bound=_whole_tiles(model, width, height, steps, references),
    )


def _fractional_centineurons(model: Model, width: int, height: int, steps: int, references: int) -> int:
    price = model.price
    per_step = (
        price.output_tile_centineurons * width * height + price.input_tile_centineurons * references * TILE_PIXELS
    )
    return (2 * steps * per_step + TILE_PIXELS) // (2 * TILE_PIXELS)


def _whole_tiles(model: Model, width: int, height: int, steps: int, references: int) -> Money:
    price = model.price
    tiles = -(-width // TILE_SIDE) * -(-height // TILE_SIDE)
    centineurons = steps * (price.output_tile_centineurons * tiles + price.input_tile_centineurons * references)
    published_usd = steps * (price.output_tile_nano_usd * tiles + price.input_tile_nano_usd * references)
    return Money(max(centineurons * NANO_USD_PER_CENTINEURON, published_usd), centineurons)
