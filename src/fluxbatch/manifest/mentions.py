"""Where a prompt speaks of a reference ("image 0", "images 1 and 2") that the row has not. Pure.

What reads as an address of a picture is refused when there are references and not this one: the model would make up
the rest, and bill it. What may be meant otherwise, or stands in a row without references, is only said.

| the prompt says                                                       | no reference | fewer than that |
|-----------------------------------------------------------------------|--------------|-----------------|
| image 2, image #2, image2, input_image_2, reference image 2; images 1 and 2 | said   | refused         |
| the image 2, image-2, image 12, image 2 of 5, and 2 in "image 1 and 2" | nothing     | said            |
| image 1024x768, image 16:9, image 4k, image 2.5, image 3 meters wide  | nothing      | nothing         |
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_ADDRESS_MAX = 9
"""No model takes so many references: a higher number counts something else."""

_UNITS = "px|pixels?|dpi|mp|megapixels?|mb|kb|mm|cm|km|m|met(?:er|re)s?|inch(?:es)?|feet|ft|by|percent|times|years?"
_NUMBER = rf"\d+(?![\w%°]|[.,:/]\w|[ \t]*[x\xd7][ \t]*\d|[ \t-]+(?:{_UNITS})\b)"
_MENTION = re.compile(
    rf"""
    (?<![\w.-]) (?P<article> (?:an?|the|this|that|each|every|per|one) [ \t]+ )?
    (?: (?:input|reference|ref|source) [ \t_-] )?
    image (?P<plural> s )? (?P<join> [ \t]*\#[ \t]* | [ \t_]* | - )
    (?P<first> {_NUMBER} ) (?P<others> (?: [ \t]* (?: ,[ \t]*and|,|and|or|&|to|-|\u2013) [ \t]* {_NUMBER} )* )
    (?P<of> [ \t]+ of \b )?
    """,
    re.IGNORECASE | re.VERBOSE,
)
_DIGITS = re.compile(r"\d+")


class Absent(NamedTuple):
    """Pictures that a prompt speaks of and the row has not, counted from 0: surely meant, and perhaps."""

    surely: tuple[int, ...] = ()
    perhaps: tuple[int, ...] = ()


_NONE = Absent()


def absent(prompt: str, references: int) -> Absent:
    """What the prompt speaks of that is not among so many references."""
    if "image" not in prompt and "image" not in prompt.lower():
        return _NONE
    found = [(number, is_sure) for number, is_sure in _mentions(prompt) if number >= references]
    sure = {number for number, is_sure in found if is_sure}
    return Absent(tuple(sorted(sure)), tuple(sorted({number for number, _ in found} - sure)))


def _mentions(prompt: str) -> Iterator[tuple[int, bool]]:
    for match in _MENTION.finditer(prompt):
        first = int(match["first"][:9])
        is_address = not match["article"] and not match["of"] and match["join"] != "-"
        yield first, is_address and first <= _ADDRESS_MAX
        for digits in _DIGITS.findall(match["others"]):
            number = int(digits[:9])
            yield number, is_address and bool(match["plural"]) and number <= _ADDRESS_MAX
