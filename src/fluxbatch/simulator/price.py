"""What the simulated platform charges, from the price list of CLOUDFLARE.md section 3; exact, then to a hundredth.

Written apart from `models/price.py`, which is the client's idea of the same: a test holds both against the figures that
were seen, so that neither can be wrong alone. Areas are counted as asked for, as a fraction, never rounded up; the sum
is rounded once, half up.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

TILE_PIXELS = 512 * 512
MEGAPIXEL = 1024 * 1024

Price = Callable[[int, int, int, int], Fraction]
"""Width and height in pixels, steps, references -> neurons."""


def centineurons(neurons: Fraction) -> int:
    """As the header says it: two decimals."""
    return int(neurons * 100 + Fraction(1, 2))


def tile_steps(output: str, of_input: str) -> Price:
    """Neurons per output tile and step, and per input tile and step; a reference is one input tile."""
    a_tile, an_input = Fraction(output), Fraction(of_input)

    def price(width: int, height: int, steps: int, references: int) -> Fraction:
        return steps * (a_tile * _tiles(width, height) + an_input * references)

    return price


def tiles(output: str, of_input: str) -> Price:
    """Neurons per output tile and per input tile, however many steps."""
    a_tile, an_input = Fraction(output), Fraction(of_input)

    def price(width: int, height: int, steps: int, references: int) -> Fraction:
        return a_tile * _tiles(width, height) + an_input * references

    return price


def megapixels(first: str, further: str, of_input: str) -> Price:
    """Neurons for the first megapixel, however little of it, for each further one as a fraction, and for each of input.
    A reference counts as one tile, a quarter of a megapixel: seen on klein-4b, and not published for this one."""
    at_least, more = Fraction(first), Fraction(further)
    a_reference = Fraction(of_input) * TILE_PIXELS / MEGAPIXEL

    def price(width: int, height: int, steps: int, references: int) -> Fraction:
        beyond = max(Fraction(0), Fraction(width * height, MEGAPIXEL) - 1)
        return at_least + more * beyond + a_reference * references

    return price


def tiles_by_steps(tile: str, step: str) -> Price:
    """Neurons per tile, and per step of each tile."""
    a_tile, a_step = Fraction(tile), Fraction(step)

    def price(width: int, height: int, steps: int, references: int) -> Fraction:
        return _tiles(width, height) * (a_tile + steps * a_step)

    return price


def nothing(width: int, height: int, steps: int, references: int) -> Fraction:
    return Fraction(0)


def _tiles(width: int, height: int) -> Fraction:
    return Fraction(width * height, TILE_PIXELS)
