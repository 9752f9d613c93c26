"""A few rows that show how far a sweep reaches: the ends of its axes in all combinations, the widest apart first."""

from __future__ import annotations

from collections.abc import Iterator

from fluxbatch.manifest.sweep.segment import Segment
from fluxbatch.manifest.sweep.survey import Survey

TRIES_PER_CORNER = 64


def corner_rows(survey: Survey, count: int) -> list[int]:
    """At most `count` row numbers (from 0, ascending): corners of each block in turn, then evenly spread rows.

    The first two corners of a block are opposite, so two pictures show both ends of every axis. What is excluded or
    asked for before is passed over.
    """
    found: dict[int, None] = {}
    lines = [_rows(survey, number) for number in range(len(survey.segments))]
    while lines and len(found) < count:
        for line in list(lines):
            row = next((row for row in line if row not in found), None)
            if row is None:
                lines.remove(line)
            elif len(found) < count:
                found[row] = None
    wanted = min(count, survey.rows)
    for step in range(2 * wanted):
        if len(found) < wanted:
            found[step * max(0, survey.rows - 1) // max(1, 2 * wanted - 1)] = None
    for row in range(survey.rows if len(found) < wanted else 0):
        if len(found) < wanted:
            found[row] = None
    return sorted(found)


def _rows(survey: Survey, number: int) -> Iterator[int]:
    segment = survey.segments[number]
    tried = 0
    for cell in corner_cells(segment):
        tried += 1
        row = survey.row_of(number, cell)
        if row is not None:
            tried = 0
            yield row
        elif tried > TRIES_PER_CORNER:
            return


def corner_cells(segment: Segment) -> Iterator[int]:
    """The corners of the box of axes, each followed by the opposite one."""
    long = [index for index, size in enumerate(segment.sizes) if size > 1]
    pairs = 1 << max(0, len(long) - 1)
    for pattern in range(pairs):
        ends = pattern ^ (pattern >> 1)  # Gray's order: from one pair of corners to the next, one axis turns
        yield _corner(segment, long, ends)
        if long:
            yield _corner(segment, long, ~ends)


def _corner(segment: Segment, long: list[int], ends: int) -> int:
    places = [0] * len(segment.sizes)
    for bit, index in enumerate(long):
        if ends >> bit & 1:
            places[index] = segment.sizes[index] - 1
    return segment.cell(places)
