"""The models as one table: names, fields, limits and prices. A new model is a new row.

Limits and prices are Cloudflare's, read on the date in `PRICES_READ` from the model's page
(developers.cloudflare.com/workers-ai/models/flux-2-dev) and the price list (…/workers-ai/platform/pricing); where
nothing is published, the comment says what stands in for it. They change: a row here is the only place to follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

PRICES_READ = date(2026, 11, 22)

TILE_PIXELS = 512 * 512


@dataclass(frozen=True, slots=True)
class TileStepPrice:
    """Steps times (output tiles and input tiles). A tile is 512x512 pixels; one reference image is one input tile.

    Cloudflare publishes each price twice, in neurons and in (rounded) dollars; the two differ by under 2 %.
    """

    output_tile_centineurons: int
    input_tile_centineurons: int
    output_tile_nano_usd: int
    input_tile_nano_usd: int


@dataclass(frozen=True, slots=True)
class Model:
    """One text-to-image model: what it may be asked, and what it costs. Sides in pixels."""

    name: str
    id: str
    price: TileStepPrice
    side_min: int
    side_max: int
    side_multiple: int
    """Sides are cut down to a multiple of this by the platform, and billed uncut."""
    steps_min: int
    steps_max: int
    references_max: int
    reference_side_max: int
    requests_per_minute: int
    """Per account, over all text-to-image models; the published limit of the platform."""


FLUX_2_DEV = Model(
    name="flux-2-dev",
    id="@cf/black-forest-labs/flux-2-dev",
    # 37.50 and 18.75 neurons, $0.00041 and $0.00021, per tile and step.
    price=TileStepPrice(3750, 1875, 410_000, 210_000),
    side_min=256,
    side_max=1920,
    side_multiple=16,
    steps_min=1,
    steps_max=50,  # not published; what is accepted in practice
    references_max=4,
    reference_side_max=511,  # "smaller than 512x512"
    requests_per_minute=720,
)

MODELS = (FLUX_2_DEV,)
DEFAULT_MODEL = FLUX_2_DEV

_BY_NAME = {name: model for model in MODELS for name in (model.name, model.id)}


def find_model(name: str) -> Model | None:
    """The model with this short name or full id, or None."""
    return _BY_NAME.get(name.strip())
