"""How Cloudflare counts: one class for each kind of price in its list. Pure, integers only.

Each price is published twice, in neurons and in (rounded) dollars; the two differ by under 2 %. Fields are in
hundredths of a neuron and in nano-dollars.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import ClassVar, NamedTuple

from fluxbatch.models.money import decimal_neurons, decimal_usd, exact

TILE_SIDE = 512
TILE_PIXELS = TILE_SIDE * TILE_SIDE
MEGAPIXEL_SIDE = 1024
MEGAPIXEL_PIXELS = MEGAPIXEL_SIDE * MEGAPIXEL_SIDE


class Count(NamedTuple):
    """What one picture is billed by, areas in pixels: those of the output and of the references, as tiles and as
    megapixels count them (see `exact_count` and `started_count`)."""

    steps: int
    tiles_px: int
    megapixels_px: int
    input_tiles_px: int
    input_megapixels_px: int


def exact_count(width: int, height: int, steps: int, references: int) -> Count:
    """By the requested area, as fractions; a reference is one input tile whatever its size (seen on klein-4b)."""
    area, inputs = width * height, references * TILE_PIXELS
    return Count(steps, area, area, inputs, inputs)


def started_count(width: int, height: int, steps: int, references: int) -> Count:
    """Every started tile or megapixel whole, in each direction (768x768 is 2x2 tiles); so is that of a reference."""
    tiles = -(-width // TILE_SIDE) * -(-height // TILE_SIDE)
    megapixels = -(-width // MEGAPIXEL_SIDE) * -(-height // MEGAPIXEL_SIDE)
    return Count(
        steps,
        tiles * TILE_PIXELS,
        megapixels * MEGAPIXEL_PIXELS,
        references * TILE_PIXELS,
        references * MEGAPIXEL_PIXELS,
    )


@dataclass(frozen=True, slots=True)
class TileStepPrice:
    """Steps times (output tiles and input tiles). A tile is 512x512 pixels; one reference image is one input tile."""

    output_tile_centineurons: int
    input_tile_centineurons: int
    output_tile_nano_usd: int
    input_tile_nano_usd: int
    formula: ClassVar = "steps x (output_tile x tiles + input_tile x references)"

    def centineurons(self, count: Count) -> int:
        return self._sum(count, self.output_tile_centineurons, self.input_tile_centineurons)

    def nano_usd(self, count: Count) -> int:
        return self._sum(count, self.output_tile_nano_usd, self.input_tile_nano_usd)

    def _sum(self, count: Count, output: int, reference: int) -> int:
        return _over_tile(count.steps * (output * count.tiles_px + reference * count.input_tiles_px))


@dataclass(frozen=True, slots=True)
class TilePrice:
    """Output tiles and input tiles; steps do not count."""

    output_tile_centineurons: int
    input_tile_centineurons: int
    output_tile_nano_usd: int
    input_tile_nano_usd: int
    formula: ClassVar = "output_tile x tiles + input_tile x references"

    def centineurons(self, count: Count) -> int:
        return self._sum(count, self.output_tile_centineurons, self.input_tile_centineurons)

    def nano_usd(self, count: Count) -> int:
        return self._sum(count, self.output_tile_nano_usd, self.input_tile_nano_usd)

    def _sum(self, count: Count, output: int, reference: int) -> int:
        return _over_tile(output * count.tiles_px + reference * count.input_tiles_px)


@dataclass(frozen=True, slots=True)
class TileAndStepPrice:
    """Tiles times (a price of the tile, and one of each step); references are not billed."""

    tile_centineurons: int
    step_centineurons: int
    tile_nano_usd: int
    step_nano_usd: int
    formula: ClassVar = "tiles x (tile + step x steps)"

    def centineurons(self, count: Count) -> int:
        return _over_tile(count.tiles_px * (self.tile_centineurons + self.step_centineurons * count.steps))

    def nano_usd(self, count: Count) -> int:
        return _over_tile(count.tiles_px * (self.tile_nano_usd + self.step_nano_usd * count.steps))


@dataclass(frozen=True, slots=True)
class MegapixelPrice:
    """A first megapixel (1024x1024), which is always whole, each further one, and those of the references."""

    first_megapixel_centineurons: int
    further_megapixel_centineurons: int
    input_megapixel_centineurons: int
    first_megapixel_nano_usd: int
    further_megapixel_nano_usd: int
    input_megapixel_nano_usd: int
    formula: ClassVar = "first_megapixel + further_megapixel x further megapixels + input_megapixel x input megapixels"

    def centineurons(self, count: Count) -> int:
        further, inputs = self.further_megapixel_centineurons, self.input_megapixel_centineurons
        return self.first_megapixel_centineurons + self._rest(count, further, inputs)

    def nano_usd(self, count: Count) -> int:
        further, inputs = self.further_megapixel_nano_usd, self.input_megapixel_nano_usd
        return self.first_megapixel_nano_usd + self._rest(count, further, inputs)

    def _rest(self, count: Count, further: int, inputs: int) -> int:
        further_px = max(0, count.megapixels_px - MEGAPIXEL_PIXELS)
        return _half_up(further * further_px + inputs * count.input_megapixels_px, MEGAPIXEL_PIXELS)


@dataclass(frozen=True, slots=True)
class FreePrice:
    """Nothing is billed."""

    formula: ClassVar = "0"

    def centineurons(self, count: Count) -> int:
        return 0

    def nano_usd(self, count: Count) -> int:
        return 0


Price = TileStepPrice | TilePrice | TileAndStepPrice | MegapixelPrice | FreePrice

KINDS: Mapping[str, type[Price]] = MappingProxyType(
    {
        "tile-step": TileStepPrice,
        "tile": TilePrice,
        "tile-and-step": TileAndStepPrice,
        "megapixel": MegapixelPrice,
        "free": FreePrice,
    }
)
"""What each kind is called in `models.toml` and in a dataset's price list."""


def kind_of(price: Price) -> str:
    return next(name for name, kind in KINDS.items() if type(price) is kind)


def price_table(price: Price) -> dict[str, str]:
    """The price as it is written down: its kind, then neurons and dollars, exact decimals as text."""
    table = {"kind": kind_of(price)}
    for field in fields(price):
        amount = getattr(price, field.name)
        what, unit = split_unit(field.name)
        table[f"{what}_{unit}"] = exact(decimal_neurons(amount) if unit == "neurons" else decimal_usd(amount))
    return table


def split_unit(field_name: str) -> tuple[str, str]:
    """`tile_centineurons` is what people write as `tile_neurons`, `tile_nano_usd` as `tile_usd`."""
    if field_name.endswith("_centineurons"):
        return field_name.removesuffix("_centineurons"), "neurons"
    return field_name.removesuffix("_nano_usd"), "usd"


def _over_tile(amount: int) -> int:
    return _half_up(amount, TILE_PIXELS)


def _half_up(amount: int, pixels: int) -> int:
    return (2 * amount + pixels) // (2 * pixels)
