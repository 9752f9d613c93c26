"""The figures of a picture, held against sums made by hand and by numpy's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageFilter  # noqa: TID251 - tests paint their own pictures

from fluxbatch.dataset.image import BLANK_SPREAD, Measured, inspect
from fluxbatch.dataset.measures import SHARPNESS_SIDE_MAX, dominant_color, is_solid, luminance, sharpness, spread_of
from tests.dataset.dataset_kit import encoded, pixels

GREYS = arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=12))


def measured(image: Image.Image, kind: str = "PNG") -> Measured:
    found = inspect(encoded(image, kind), *image.size).measured
    assert found is not None
    return found


def test_one_bright_point_has_the_laplacian_that_is_worked_out_by_hand() -> None:
    grey = np.zeros((3, 3), np.uint8)
    grey[1, 1] = 9
    # -36 in the middle, 9 at each of its four neighbours, 0 in the corners: mean 0, variance (36² + 4*9²) / 9
    assert sharpness(grey) == (36**2 + 4 * 9**2) / 9


@given(GREYS)
def test_sharpness_is_the_variance_of_the_laplacian(grey: np.ndarray) -> None:
    kernel = {(0, 0): -4, (1, 0): 1, (-1, 0): 1, (0, 1): 1, (0, -1): 1}
    height, width = grey.shape
    laplacian = [
        sum(
            weight * int(grey[min(max(y + down, 0), height - 1), min(max(x + right, 0), width - 1)])
            for (down, right), weight in kernel.items()
        )
        for y in range(height)
        for x in range(width)
    ]
    assert sharpness(grey) == pytest.approx(np.var(laplacian), rel=1e-12, abs=1e-9)


@given(GREYS)
def test_mean_spread_and_range_are_those_of_the_pixels(grey: np.ndarray) -> None:
    histogram = np.bincount(grey.ravel(), minlength=256).tolist()
    mean, deviation = luminance(histogram)
    assert mean == pytest.approx(grey.mean(), rel=1e-12)
    assert deviation == pytest.approx(grey.std(), rel=1e-9, abs=1e-6)
    assert spread_of(histogram) == int(grey.max()) - int(grey.min())


def test_the_dominant_colour_is_the_mean_of_the_fullest_box() -> None:
    rgb = np.array([[(200, 30, 30), (210, 20, 20), (10, 10, 200), (0, 255, 0), (203, 31, 9)]], np.uint8)
    assert dominant_color(rgb) == "#cc1b14"  # 613 / 3, 81 / 3 and 59 / 3: 204, 27 and 20
    assert dominant_color(np.array([[(255, 0, 0), (0, 0, 255)]], np.uint8)) == "#0000ff"


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 8), st.integers(1, 8), st.just(3))))
def test_the_dominant_colour_lies_in_a_box_that_no_other_box_has_more_pixels_than(rgb: np.ndarray) -> None:
    boxes = [tuple(int(level) // 32 for level in pixel) for pixel in rgb.reshape(-1, 3)]
    color = dominant_color(rgb)
    box = tuple(int(color[at : at + 2], 16) // 32 for at in (1, 3, 5))
    assert boxes.count(box) == max(map(boxes.count, boxes))


@pytest.mark.parametrize(
    ("extrema", "solid"),
    [
        (((200, 200), (30, 30), (30, 30)), True),
        (((200, 208), (30, 30), (30, 38)), True),
        (((200, 209), (30, 30), (30, 30)), False),  # more than one colour
        (((20, 20), (20, 20), (20, 20)), False),  # a grey
        (((20, 20), (28, 28), (20, 20)), False),  # as good as a grey
        (((20, 20), (29, 29), (20, 20)), True),
    ],
)
def test_solid_is_one_colour_that_is_no_grey(extrema: tuple[tuple[int, int], ...], solid: bool) -> None:
    assert is_solid(extrema, BLANK_SPREAD) is solid


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("color", "check"),
    [((0, 0, 0), "blank"), ((255, 255, 255), "blank"), ((200, 30, 30), "solid"), ((0, 0, 90), "solid")],
)
def test_a_sheet_without_colour_is_blank_and_one_of_a_colour_is_solid(
    kind: str, color: tuple[int, int, int], check: str
) -> None:
    picture = inspect(encoded(Image.new("RGB", (80, 48), color), kind), 64, 64)
    assert picture.check == check
    assert picture.measured is not None
    nothing = 1 if kind == "WEBP" else 1e-9  # WebP is off by a level here and there
    assert max(picture.measured.sharpness, picture.measured.luminance_spread) < nothing
    told = [int(picture.measured.dominant_color[at : at + 2], 16) for at in (1, 3, 5)]
    assert max(abs(a - b) for a, b in zip(told, color, strict=True)) <= 2  # JPEG rounds


def test_two_colours_of_one_luminance_are_blank_and_no_solid_colour() -> None:
    image = Image.new("RGB", (64, 64), (150, 0, 0))
    image.paste((0, 76, 0), (0, 0, 32, 64))
    assert inspect(encoded(image, "PNG"), 64, 64).check == "blank"


def test_a_blurred_picture_is_less_sharp_and_the_figure_holds_at_every_size() -> None:
    ground = pixels(1024, 768).filter(ImageFilter.GaussianBlur(1))
    noise = np.random.default_rng(1).normal(0, 30, (768, 1024, 1))
    fine = Image.fromarray((np.asarray(ground) + noise).clip(0, 255).astype(np.uint8))
    blurred = fine.filter(ImageFilter.GaussianBlur(4))
    assert measured(fine).sharpness > 100 > 10 > measured(blurred).sharpness
    half = fine.resize((512, 384), Image.Resampling.BOX)
    assert max(half.size) == SHARPNESS_SIDE_MAX
    assert measured(half).sharpness == pytest.approx(measured(fine).sharpness, rel=0.02)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "RGB", "I;16"])
def test_every_kind_of_png_is_measured_and_nearly_alike(mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.asarray(pixels(64, 48).convert("L")).astype(np.uint16) * 257)
    else:
        image = pixels(64, 48).convert(mode, dither=Image.Dither.NONE)
    plain, found = measured(pixels(64, 48)), measured(image)
    if mode != "1":
        assert found.luminance_mean == pytest.approx(plain.luminance_mean, abs=3)
        assert found.luminance_spread == pytest.approx(plain.luminance_spread, abs=3)
    if mode in ("RGBA", "RGB"):
        assert found.dominant_color == plain.dominant_color
    assert math.isfinite(found.sharpness)


@pytest.mark.parametrize("size", [(1, 1), (1, 600), (2500, 1), (3, 2)])
def test_the_narrowest_pictures_are_measured(size: tuple[int, int]) -> None:
    assert inspect(encoded(pixels(64, 48).resize(size), "PNG"), *size).measured is not None


def test_a_cmyk_jpeg_is_measured() -> None:
    image = Image.new("CMYK", (64, 48), (0, 255, 255, 0))
    assert inspect(encoded(image), 64, 48).check == "solid"
    assert measured(image, "JPEG").dominant_color[1:3] > "e0"


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from(["L", "LA", "RGB", "RGBA", "1"]), st.integers(0, 99))
def test_any_size_and_mode_is_measured_within_bounds(width: int, height: int, mode: str, seed: int) -> None:
    found = measured(pixels(width, height, seed).convert(mode))
    assert 0 <= found.sharpness <= 1020**2
    assert 0 <= found.luminance_mean <= 255
    assert 0 <= found.luminance_spread <= 127.5
