"""The price of every model, against each figure that was published or measured (CLOUDFLARE.md sections 1 and 3)."""

from __future__ import annotations

from decimal import Decimal
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxbatch.models.catalogue import (
    DREAMSHAPER_8_LCM,
    FLUX_1_SCHNELL,
    FLUX_2_DEV,
    FLUX_2_KLEIN_4B,
    FLUX_2_KLEIN_9B,
    LUCID_ORIGIN,
    MODELS,
    PHOENIX_1_0,
    SDXL_BASE_1_0,
    SDXL_LIGHTNING,
    Model,
)
from fluxbatch.models.money import ZERO, exact
from fluxbatch.models.price import quote

TILE = Decimal(512 * 512)
MEGAPIXEL = Decimal(1024 * 1024)

# What Cloudflare billed (seen on live accounts): size, steps, references, neurons.
MEASURED = [
    (FLUX_2_KLEIN_4B, 1920, 1080, 4, 0, "206.06"),
    (FLUX_2_KLEIN_4B, 1920, 1088, 4, 0, "207.59"),
    (FLUX_2_KLEIN_4B, 1024, 1024, 4, 0, "104.2"),
    (FLUX_2_KLEIN_4B, 1024, 1024, 4, 1, "109.57"),
    (FLUX_2_KLEIN_4B, 1024, 1024, 4, 4, "125.68"),
    (FLUX_1_SCHNELL, 1024, 1024, 4, 0, "172.8"),
    (LUCID_ORIGIN, 1120, 1120, 15, 0, "3904.69"),
    (PHOENIX_1_0, 1024, 1024, 25, 0, "3120"),
    (FLUX_2_DEV, 1024, 1024, 50, 0, "7500"),  # a call without steps
]

# The published price list, in neurons and in dollars, and the formula beside it, worked out by hand.
PUBLISHED = [
    (FLUX_2_DEV, 512, 512, 1, 0, "37.5", "0.0004125"),
    (FLUX_2_DEV, 512, 512, 1, 1, "56.25", "0.00062"),  # 0.00041 and 0.00021 are dearer than 56.25 neurons
    (FLUX_2_KLEIN_4B, 512, 512, 4, 0, "26.05", "0.000287"),
    (FLUX_2_KLEIN_4B, 512, 512, 4, 1, "31.42", "0.000346"),
    (FLUX_2_KLEIN_9B, 1024, 1024, 4, 0, "1363.64", "0.01500004"),
    (FLUX_2_KLEIN_9B, 1024, 2048, 4, 0, "1545.46", "0.01700006"),
    (FLUX_1_SCHNELL, 1024, 1024, 1, 0, "57.6", "0.0006336"),
    (FLUX_1_SCHNELL, 1024, 1024, 8, 0, "326.4", "0.0035904"),
    (LUCID_ORIGIN, 512, 512, 1, 0, "648", "0.007128"),
    (PHOENIX_1_0, 512, 512, 1, 0, "540", "0.00594"),
]

# klein-9b: at least the first megapixel, fractions past it; a reference is a tile, so a quarter of a megapixel.
NINE_B = [
    (256, 256, 0, "1363.64"),
    (1024, 1024, 0, "1363.64"),
    (1024, 1040, 0, "1366.48"),  # 1.015625 megapixels: 1363.64 + 2.8409…
    (1920, 1088, 0, "1544.04"),  # 1.9921875: 1363.64 + 180.3995…
    (1920, 1920, 0, "1821.03"),  # 3.515625: 1363.64 + 457.3909…
    (1024, 1024, 1, "1409.1"),  # 45.455 goes up: 1409.095 exactly
    (1024, 1024, 4, "1545.46"),
]

# What is reserved: started tiles or megapixels in each direction, and the dearer of the two lists.
BOUNDS = [
    (FLUX_2_KLEIN_4B, 1920, 1088, 4, 0, "312.6", "0.003444"),  # 4x3 tiles at $0.000287
    (FLUX_2_KLEIN_4B, 1024, 1024, 4, 4, "125.68", "0.001384"),
    (FLUX_2_KLEIN_9B, 1920, 1088, 4, 0, "1909.1", "0.0210001"),  # 2x2 megapixels
    (FLUX_2_KLEIN_9B, 1024, 1024, 4, 2, "1727.28", "0.01900008"),  # each reference begins a megapixel
    (LUCID_ORIGIN, 1120, 1120, 15, 0, "7344", "0.080784"),  # 3x3 tiles
    (PHOENIX_1_0, 1024, 1024, 25, 0, "3120", "0.03432"),
    (FLUX_1_SCHNELL, 1024, 1024, 4, 0, "172.8", "0.0019008"),
]


@pytest.mark.parametrize(("model", "width", "height", "steps", "references", "neurons"), MEASURED)
def test_the_expected_price_is_what_was_billed(
    model: Model, width: int, height: int, steps: int, references: int, neurons: str
) -> None:
    assert exact(quote(model, width, height, steps, references).expected.neurons) == neurons


@pytest.mark.parametrize(("model", "width", "height", "steps", "references", "neurons", "usd"), PUBLISHED)
def test_a_whole_tile_costs_what_is_published_in_neurons_and_at_most_the_dearer_list(
    model: Model, width: int, height: int, steps: int, references: int, neurons: str, usd: str
) -> None:
    price = quote(model, width, height, steps, references)
    assert exact(price.expected.neurons) == neurons
    assert exact(price.bound.usd) == usd


@pytest.mark.parametrize(("width", "height", "references", "neurons"), NINE_B)
def test_klein_9b_counts_a_whole_first_megapixel_and_fractions_past_it(
    width: int, height: int, references: int, neurons: str
) -> None:
    assert exact(quote(FLUX_2_KLEIN_9B, width, height, 4, references).expected.neurons) == neurons


@pytest.mark.parametrize(("model", "width", "height", "steps", "references", "neurons", "usd"), BOUNDS)
def test_the_bound_is_what_was_worked_out_by_hand(
    model: Model, width: int, height: int, steps: int, references: int, neurons: str, usd: str
) -> None:
    bound = quote(model, width, height, steps, references).bound
    assert (exact(bound.neurons), exact(bound.usd)) == (neurons, usd)


@pytest.mark.parametrize("model", [SDXL_LIGHTNING, SDXL_BASE_1_0, DREAMSHAPER_8_LCM], ids=lambda model: model.name)
def test_the_stable_diffusion_family_is_free(model: Model) -> None:
    price = quote(model, model.side_max, model.side_max, model.steps_max, model.references_max)
    assert price.expected == price.bound == ZERO


def test_no_other_model_is_free_at_its_smallest() -> None:
    free = [m.name for m in MODELS if quote(m, m.side_min, m.side_min, m.steps_min, 0).expected == ZERO]
    assert free == [SDXL_LIGHTNING.name, SDXL_BASE_1_0.name, DREAMSHAPER_8_LCM.name]


models = st.sampled_from(MODELS)


@st.composite
def shapes(draw: st.DrawFn) -> tuple[Model, int, int, int, int]:
    model = draw(models)
    sides = st.integers(model.side_min, model.side_max)
    steps = st.integers(model.steps_min, model.steps_max)
    return model, draw(sides), draw(sides), draw(steps), draw(st.integers(0, model.references_max))


@given(shapes())
def test_the_bound_is_never_below_what_is_expected(shape: tuple[Model, int, int, int, int]) -> None:
    price = quote(*shape)
    assert price.expected.nano_usd <= price.bound.nano_usd
    assert price.expected.centineurons <= price.bound.centineurons


@given(shapes(), st.data())
def test_a_larger_picture_of_more_steps_and_references_never_costs_less(
    shape: tuple[Model, int, int, int, int], more: st.DataObject
) -> None:
    model, width, height, steps, references = shape
    larger = (
        more.draw(st.integers(width, model.side_max)),
        more.draw(st.integers(height, model.side_max)),
        more.draw(st.integers(steps, model.steps_max)),
        more.draw(st.integers(references, model.references_max)),
    )
    less, greater = quote(*shape), quote(model, *larger)
    for smaller_amount, larger_amount in ((less.expected, greater.expected), (less.bound, greater.bound)):
        assert smaller_amount.nano_usd <= larger_amount.nano_usd
        assert smaller_amount.centineurons <= larger_amount.centineurons


@given(shapes())
def test_the_bound_covers_every_published_way_to_count(shape: tuple[Model, int, int, int, int]) -> None:
    """Neurons and dollars as published, areas by fraction, rounded up, and by started tiles or megapixels a side."""
    model, width, height, steps, references = shape
    bound = quote(*shape).bound
    tiles = {Decimal(width * height) / TILE, ceil(width * height / TILE), ceil(width / 512) * ceil(height / 512)}
    megapixels = {
        *(Decimal(width * height) / MEGAPIXEL, ceil(width * height / MEGAPIXEL)),
        *(ceil(width / 1024) * ceil(height / 1024), Decimal(ceil(width / 512) * ceil(height / 512)) / 4),
    }
    for neurons, usd in _published(model, tiles, megapixels, steps, references):
        assert bound.neurons >= neurons.quantize(Decimal("0.01"))
        assert bound.usd >= max(usd, neurons * Decimal("0.000011")).quantize(Decimal("0.0000001"), "ROUND_FLOOR")


def _published(
    model: Model, tiles: set[Decimal | int], megapixels: set[Decimal | int], steps: int, references: int
) -> list[tuple[Decimal, Decimal]]:
    """Section 3's table, line by line, in every way to count."""
    d = Decimal
    if model is FLUX_2_DEV:
        each = (d("37.5"), d("18.75"), d("0.00041"), d("0.00021"))
        return [
            (steps * (each[0] * t + each[1] * references), steps * (each[2] * t + each[3] * references)) for t in tiles
        ]
    if model is FLUX_2_KLEIN_4B:
        return [
            (d("26.05") * t + d("5.37") * references, d("0.000287") * t + d("0.000059") * references) for t in tiles
        ]
    if model is FLUX_2_KLEIN_9B:
        counted = [(max(d(0), d(m) - 1), references * part) for m in megapixels for part in (d("0.25"), d(1))]
        return [
            (d("1363.64") + d("181.82") * (more + inputs), d("0.015") + d("0.002") * (more + inputs))
            for more, inputs in counted
        ]
    tile_and_step = {
        FLUX_1_SCHNELL: ("4.8", "9.6", "0.0000528", "0.0001056"),
        LUCID_ORIGIN: ("636", "12", "0.006996", "0.000132"),
        PHOENIX_1_0: ("530", "10", "0.00583", "0.00011"),
    }
    if model not in tile_and_step:
        return [(d(0), d(0))]
    tile, step, tile_usd, step_usd = map(d, tile_and_step[model])
    each_tile = [(t * (tile + steps * step), t * (tile_usd + steps * step_usd)) for t in tiles]
    once = [(t * tile + steps * step, t * tile_usd + steps * step_usd) for t in tiles if t >= 1]
    return [*each_tile, *once]
