"""What the pixels of a decoded picture measure: sharpness, luminance, dominant colour. Pure, and in whole numbers up to
the last step, so that the same pixels give the same figures on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

SHARPNESS_SIDE_MAX = 512
"""Sharpness is measured on the picture reduced so that its longer side is this, in pixels: so it compares over sizes. A
smaller picture is measured as it is, never enlarged: an enlarged one is blurred, whatever it shows."""
DOMINANT_SIDE = 64
"""The dominant colour is looked for in the picture reduced to this many pixels a side."""

_BIN_BITS = 3


def sharpness(grey: Pixels) -> float:
    """The variance of the Laplacian of the luminance (height x width): 0 for one even shade, single figures for a
    blurred picture, hundreds and thousands for one with fine detail, or noise.

    The focus measure LAPV of Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy: a comparative
    study" (ICPR 2000), with the 4-neighbour kernel 0 1 0 / 1 -4 1 / 0 1 0; at its borders a picture goes on as it ends.
    """
    around = np.pad(grey.astype(np.int16), 1, mode="edge")
    laplacian = around[:-2, 1:-1] + around[2:, 1:-1]
    laplacian += around[1:-1, :-2]
    laplacian += around[1:-1, 2:]
    laplacian -= 4 * around[1:-1, 1:-1]
    wide = laplacian.astype(np.int64).ravel()  # not floats: a sum of them depends on the order, so on the machine
    return _variance(wide.size, int(wide.sum()), int(wide @ wide))


def luminance(histogram: Sequence[int]) -> tuple[float, float]:
    """Mean and standard deviation (both 0 to 255) of a luminance of which each of the 256 levels is so frequent."""
    total = sum(histogram)
    levels = sum(level * count for level, count in enumerate(histogram))
    squares = sum(level * level * count for level, count in enumerate(histogram))
    return levels / total, math.sqrt(_variance(total, levels, squares))


def spread_of(histogram: Sequence[int]) -> int:
    """How many levels lie between the lowest and the highest that occur."""
    occurring = [level for level, count in enumerate(histogram) if count]
    return occurring[-1] - occurring[0]


def dominant_color(rgb: Pixels) -> str:
    """The most frequent colour (height x width x 3) as #rrggbb: the mean of the pixels in the fullest of 512 equal
    boxes of the RGB cube (8 a side); of several that are as full, the lowest by red, then green, then blue."""
    pixels = rgb.reshape(-1, 3)
    high = (pixels >> (8 - _BIN_BITS)).astype(np.intp)
    boxes = (high[:, 0] << 2 * _BIN_BITS) | (high[:, 1] << _BIN_BITS) | high[:, 2]
    counts = np.bincount(boxes)
    fullest = int(counts.argmax())
    sums = pixels[boxes == fullest].sum(axis=0, dtype=np.int64).tolist()
    size = int(counts[fullest])
    return "#" + "".join(f"{(2 * one + size) // (2 * size):02x}" for one in sums)


def is_solid(extrema: Sequence[tuple[int, int]], spread: int) -> bool:
    """Whether a picture is of one colour that is no grey: each of red, green and blue, of which the lowest and the
    highest level are given, lies within `spread` levels, and they lie further from each other."""
    middles = [(low + high) / 2 for low, high in extrema]
    return max(high - low for low, high in extrema) <= spread < max(middles) - min(middles)


def _variance(count: int, total: int, squares: int) -> float:
    return (count * squares - total * total) / (count * count)
