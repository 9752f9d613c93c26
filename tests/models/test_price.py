from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fluxbatch.models.catalogue import FLUX_2_DEV, MODELS, PRICES_READ, find_model
from fluxbatch.models.money import NANO_USD_PER_CENTINEURON, exact
from fluxbatch.models.price import quote

# CLOUDFLARE.md section 3, "flux-2-dev, 25 steps, expected".
EXPECTED = [
    (512, 512, 0, "937.5", "0.0103125"),
    (1024, 768, 0, "2812.5", "0.0309375"),
    (1024, 1024, 0, "3750", "0.04125"),
    (512, 512, 1, "1406.25", "0.01546875"),
    (1024, 768, 2, "3750", "0.04125"),
    (1024, 1024, 4, "5625", "0.061875"),
]

# What is reserved: whole tiles, and the larger of the two published prices, which in dollars is the neuron price
# (37.5 neurons are $0.0004125, published $0.00041) unless references weigh ($0.00021 against $0.00020625).
BOUNDS = [
    (512, 512, 0, "937.5", "0.0103125"),
    (768, 512, 0, "1875", "0.020625"),
    (1024, 768, 0, "3750", "0.04125"),
    (1024, 1024, 0, "3750", "0.04125"),
    (1920, 1072, 0, "11250", "0.12375"),
    (256, 256, 4, "2812.5", "0.03125"),
]

sides = st.integers(FLUX_2_DEV.side_min, FLUX_2_DEV.side_max)
steps = st.integers(FLUX_2_DEV.steps_min, FLUX_2_DEV.steps_max)
references = st.integers(0, FLUX_2_DEV.references_max)


@pytest.mark.parametrize(("width", "height", "count", "neurons", "usd"), EXPECTED)
def test_expected_price_is_the_published_one_at_25_steps(width: int, height: int, count: int, neurons: str, usd: str):
    expected = quote(FLUX_2_DEV, width, height, 25, count).expected
    assert (exact(expected.neurons), exact(expected.usd)) == (neurons, usd)


@pytest.mark.parametrize(("width", "height", "count", "neurons", "usd"), BOUNDS)
def test_bound_counts_started_tiles_whole_and_takes_the_dearer_price(
    width: int, height: int, count: int, neurons: str, usd: str
):
    bound = quote(FLUX_2_DEV, width, height, 25, count).bound
    assert (exact(bound.neurons), exact(bound.usd)) == (neurons, usd)


def test_each_reference_costs_what_is_published():
    with_one = quote(FLUX_2_DEV, 1024, 1024, 25, 1).expected - quote(FLUX_2_DEV, 1024, 1024, 25, 0).expected
    assert (exact(with_one.neurons), exact(with_one.usd)) == ("468.75", "0.00515625")


def test_price_table_holds_the_published_figures():
    price = FLUX_2_DEV.price
    assert (price.output_tile_centineurons, price.input_tile_centineurons) == (3750, 1875)  # 37.50 and 18.75 neurons
    assert (price.output_tile_nano_usd, price.input_tile_nano_usd) == (410_000, 210_000)  # $0.00041 and $0.00021
    assert NANO_USD_PER_CENTINEURON * 100 * 1000 == 11_000_000  # $0.011 per 1,000 neurons
    assert PRICES_READ.year >= 2026


@pytest.mark.parametrize(
    ("width", "height", "steps", "neurons"),
    [
        (1920, 1072, 25, "7360.84"),  # 7.8515625 tiles: 7360.8398…
        (1920, 1080, 25, "7415.77"),  # billed as asked, not as cut to 1072
        (256, 256, 1, "9.38"),  # 9.375: half a hundredth goes up
        (272, 256, 1, "9.96"),  # 9.9609375
    ],
)
def test_fractional_tiles_are_rounded_to_a_hundredth(width: int, height: int, steps: int, neurons: str):
    assert exact(quote(FLUX_2_DEV, width, height, steps, 0).expected.neurons) == neurons


@given(sides, sides, steps, references)
def test_expected_price_is_the_exact_fraction_rounded_half_up(width: int, height: int, count: int, images: int):
    tiles = Decimal(width * height) / (512 * 512)
    exactly = count * (Decimal("37.5") * tiles + Decimal("18.75") * images)
    expected = quote(FLUX_2_DEV, width, height, count, images).expected
    assert abs(expected.neurons - exactly) <= Decimal("0.005")
    assert expected.nano_usd == expected.centineurons * NANO_USD_PER_CENTINEURON


@given(sides, sides, steps, references)
@example(1920, 1920, 50, 4)
@example(256, 256, 1, 4)
def test_bound_is_never_below_expected_in_either_unit(width: int, height: int, count: int, images: int):
    price = quote(FLUX_2_DEV, width, height, count, images)
    assert price.expected.nano_usd <= price.bound.nano_usd
    assert price.expected.centineurons <= price.bound.centineurons


@given(sides, sides, steps, references)
def test_bound_covers_every_published_way_to_count(width: int, height: int, count: int, images: int):
    bound = quote(FLUX_2_DEV, width, height, count, images).bound
    by_area = -(-width * height // (512 * 512))
    by_side = -(-width // 512) * -(-height // 512)
    for tiles in (by_area, by_side):
        assert count * (3750 * tiles + 1875 * images) <= bound.centineurons
        assert count * (410_000 * tiles + 210_000 * images) <= bound.nano_usd
        assert count * (3750 * tiles + 1875 * images) * 110 <= bound.nano_usd


@given(sides, sides, steps, references)
def test_price_does_not_depend_on_which_side_is_which(width: int, height: int, count: int, images: int):
    assert quote(FLUX_2_DEV, width, height, count, images) == quote(FLUX_2_DEV, height, width, count, images)


def test_another_price_row_is_another_price():
    doubled = replace(
        FLUX_2_DEV, price=replace(FLUX_2_DEV.price, output_tile_centineurons=7500, output_tile_nano_usd=820_000)
    )
    assert quote(doubled, 512, 512, 25, 0).expected.centineurons == 2 * 93_750


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_models_are_found_by_short_name_and_full_id(model: object):
    assert find_model(f" {model.name} ") is model  # type: ignore[attr-defined]
    assert find_model(model.id) is model  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["", "flux", "FLUX-2-DEV ", "@cf/black-forest-labs"])
def test_a_name_that_is_not_in_the_table_finds_nothing(name: str):
    assert find_model(name) is None
