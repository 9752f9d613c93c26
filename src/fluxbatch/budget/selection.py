"""Which of a manifest's pictures a run asks for, and in which order the budget is spent on them. Pure.

A selection depends on the manifest alone and not on what is made already, so that the same command asks for the same
pictures again, and a larger one for these and more:

- `limit`: the first pictures of the manifest; the rest is not read.
- `sample`: those with the smallest lots. A picture's lot follows from the seed and its key, so neither the order of
  the rows nor the other rows matter to it, and a larger sample holds the smaller one.
- `preview`: the first picture of each of these rows (the corners of a sweep).
- `span`: the rows of a chunk, first and last; what lies outside is another chunk's, and not counted.
- `price_max_nano_usd`: what one request may cost at most, held against the bound: it is a promise about money.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from fluxbatch.budget.axes import Axes
from fluxbatch.manifest.reader import Rejected
from fluxbatch.manifest.request import ImageRequest

LOTS = 2**64


class OnBudget(StrEnum):
    """What is bought of a manifest that the budget does not cover."""

    STOP = "stop"
    """In the manifest's order, until the next picture does not fit."""
    CHEAPEST_FIRST = "cheapest-first"
    """As many pictures as there can be."""
    SPREAD = "spread"
    """An even sample over the axes of the manifest."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What is asked for. The last three are found by reading the manifest before it is planned."""

    on_budget: OnBudget = OnBudget.STOP
    price_max_nano_usd: int | None = None
    limit: int | None = None
    sample: int | None = None
    seed: int = 0
    preview: int | None = None
    span: tuple[int, int] | None = None
    lot_max: int | None = None
    rows: frozenset[int] | None = None
    axes: Axes | None = None

    @property
    def is_whole(self) -> bool:
        """Whether every picture of the manifest is asked for."""
        return self.limit is None and self.sample is None and self.preview is None

    def is_too_dear(self, request: ImageRequest) -> bool:
        """Whether one request of it may cost more than is allowed."""
        return self.price_max_nano_usd is not None and request.quote.bound.nano_usd > self.price_max_nano_usd


EVERYTHING = Selection()


def lot(seed: int, key: str) -> int:
    """The number below 2**64 that a picture draws."""
    return int.from_bytes(hashlib.blake2b(f"{seed} {key}".encode(), digest_size=8).digest())


def highest_lot(keys: Iterable[str], count: int, seed: int) -> int:
    """The highest lot among the `count` smallest; every lot is in when there are fewer keys. Holds `count` numbers."""
    kept: list[int] = []
    for key in keys:
        drawn = -lot(seed, key)
        if len(kept) < count:
            heapq.heappush(kept, drawn)
        elif drawn > kept[0]:
            heapq.heapreplace(kept, drawn)
    return LOTS if len(kept) < count else -kept[0]


class Picked:
    """The rows that a selection asks for, in order, and every row that cannot be sent; reading ends with the last.

    `outside` counts the pictures that were read and not asked for.
    """

    def __init__(self, rows: Iterable[ImageRequest | Rejected], selection: Selection) -> None:
        self._rows = rows
        self._selection = selection
        self.outside = 0

    def __iter__(self) -> Iterator[ImageRequest | Rejected]:
        selection = self._selection
        if selection.span is not None:
            return self._between(*selection.span)
        if selection.limit is not None:
            return self._first(selection.limit)
        if selection.rows is not None:
            return self._of_rows(selection.rows)
        if selection.lot_max is not None:
            return self._drawn(selection.lot_max, selection.seed)
        return iter(self._rows)

    def _between(self, first: int, last: int) -> Iterator[ImageRequest | Rejected]:
        for row in self._rows:
            if row.row > last:
                return
            if row.row >= first:
                yield row

    def _first(self, limit: int) -> Iterator[ImageRequest | Rejected]:
        for row in self._rows:
            yield row
            limit -= not isinstance(row, Rejected)
            if limit <= 0:
                return

    def _of_rows(self, wanted: frozenset[int]) -> Iterator[ImageRequest | Rejected]:
        last, before = max(wanted, default=0), 0
        for row in self._rows:
            if row.row > last:
                return
            if isinstance(row, Rejected) or (row.row in wanted and row.row != before):
                yield row
            else:
                self.outside += 1
            before = row.row

    def _drawn(self, lot_max: int, seed: int) -> Iterator[ImageRequest | Rejected]:
        for row in self._rows:
            if isinstance(row, Rejected) or lot(seed, row.key) <= lot_max:
                yield row
            else:
                self.outside += 1
