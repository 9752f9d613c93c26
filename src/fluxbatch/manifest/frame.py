"""How a reference comes under the side that a model takes: whole, cut, or stretched. Sizes only. Pure.

| fit     | what is sent                                                                              |
|---------|-------------------------------------------------------------------------------------------|
| contain | the whole picture, made smaller where it is too large                                     |
| cover   | the largest part from the middle that has the output's shape, made smaller where needed   |
| exact   | the whole picture, stretched to the output's shape and size, that made smaller where needed |
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

Size = tuple[int, int]


class Fit(StrEnum):
    CONTAIN = "contain"
    COVER = "cover"
    EXACT = "exact"


class Frame(NamedTuple):
    """How references are fitted, and the size of the picture that is asked for, whose shape they are given."""

    fit: Fit = Fit.CONTAIN
    width: int = 0
    height: int = 0


class Fitted(NamedTuple):
    """`size` is what is sent, of the middle of the picture that has the size `crop`."""

    fit: Fit
    size: Size
    crop: Size


def fitted(size: Size, frame: Frame, side_max: int) -> Fitted:
    """What is sent of an upright picture of this size. Where cutting or stretching would change nothing, the fit is
    contain: what is sent is the same, and so is the key."""
    whole = Fitted(Fit.CONTAIN, under(size, side_max), size)
    shape = (frame.width, frame.height)
    if frame.fit is Fit.CONTAIN or min(shape) < 1:
        return whole
    if frame.fit is Fit.COVER:
        crop = middle(size, shape)
        cut = Fitted(Fit.COVER, under(crop, side_max), crop)
    else:
        cut = Fitted(Fit.EXACT, under(shape, side_max), size)
    return whole if cut[1:] == whole[1:] else cut


def under(size: Size, side_max: int) -> Size:
    """The size, made smaller in its shape so that no side is over `side_max`; never larger."""
    longest = max(size)
    if longest <= side_max:
        return size
    width, height = (max(1, round(side * side_max / longest)) for side in size)
    return width, height


def middle(size: Size, shape: Size) -> Size:
    """The largest size of this shape that lies within `size`."""
    (width, height), (across, down) = size, shape
    if width * down > height * across:
        return max(1, round(height * across / down)), height
    return width, max(1, round(width * down / across))
