"""What a budget that does not cover everything buys: the order of the due pictures, in rounds. Pure.

A *round* is one reading of the manifest. It takes only so many pictures that they fit in whatever order they are sent,
when charges are as expected: `expected of all + the largest (bound - expected) <= free`. What is saved, and what had to
wait because of a dear bound, is found by the next round, from what is really left; the ledger's guard alone decides.
No picture is taken by two rounds of a run.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np

from fluxbatch.budget.axes import PLACES, Axes, Places
from fluxbatch.budget.selection import OnBudget, Selection
from fluxbatch.manifest.request import ImageRequest
from fluxbatch.models.price import Quote

Price = tuple[int, int]
"""Expected and bound, in nano-dollars."""


@dataclass(frozen=True, slots=True)
class Round:
    """How many pictures a round takes, and what they should cost."""

    pictures: int
    nano_usd: int


class Rounds(Protocol):
    """The rounds of a run, one after the other."""

    @property
    def left(self) -> int:
        """How many due pictures no round has taken so far."""
        ...

    def begin(self, free_nano_usd: int) -> Round | None:
        """The next round, from what the budget has left; None when no picture fits any more."""
        ...

    def takes(self, request: ImageRequest, is_due: bool) -> bool:
        """Whether this round takes the picture. Asked once for each that is asked for, in the manifest's order."""
        ...

    def together(self) -> Rounds:
        """All rounds so far as one, begun: what the run takes in all."""
        ...


class Order(Protocol):
    """What is due, as the plan's reading meets it, in a few numbers."""

    def add(self, request: ImageRequest, is_due: bool) -> None:
        """Count one picture; each that is asked for, in the manifest's order."""
        ...

    def rounds(self) -> Rounds: ...


def order_of(selection: Selection) -> Order | None:
    """None: in the order of the manifest, as long as it fits."""
    match selection.on_budget:
        case OnBudget.CHEAPEST_FIRST:
            return CheapestFirst()
        case OnBudget.SPREAD:
            return Spread(selection.axes or Axes())
        case OnBudget.STOP:
            return None


class CheapestFirst:
    """As many pictures as there can be; among equally dear ones the first of the manifest."""

    def __init__(self) -> None:
        self._due: Counter[Price] = Counter()

    def add(self, request: ImageRequest, is_due: bool) -> None:
        if is_due:
            self._due[_price(request.quote)] += 1

    def rounds(self) -> Rounds:
        return _Cheapest(self._due.copy())


class _Cheapest:
    def __init__(self, left: Counter[Price]) -> None:
        self._left = left
        self._taking: Counter[Price] = Counter()
        self._taken: Counter[Price] = Counter()
        self._passed: dict[Price, tuple[int, int]] = {}

    @property
    def left(self) -> int:
        return self._left.total()

    def begin(self, free_nano_usd: int) -> Round | None:
        self._taking = Counter(next_round(self._left, free_nano_usd))
        self._left -= self._taking
        self._taken += self._taking
        cost = sum(count * expected for (expected, _), count in self._taking.items())
        return Round(self._taking.total(), cost) if self._taking else None

    def takes(self, request: ImageRequest, is_due: bool) -> bool:
        price, place = _price(request.quote), (request.row, request.sample)
        if not is_due or not self._taking[price] or place <= self._passed.get(price, (0, -1)):
            return False
        self._taking[price] -= 1
        self._passed[price] = place
        return True

    def together(self) -> Rounds:
        one = _Cheapest(Counter())
        one._taking = self._taken.copy()
        return one


def most_pictures(due: Mapping[Price, int], free_nano_usd: int) -> dict[Price, int]:
    """The most pictures that can be bought, and among the ways to buy so many the cheapest.

    The guard wants `expected of those before + bound <= free`, so `expected of all up to here <= free - spare`: jobs
    with deadlines, of which as many as possible shall be in time. They are taken by their deadlines, and whenever one
    would be late, the longest is given up (Moore and Hodgson, Management Science 15, 1968).
    """
    chosen: dict[Price, int] = {}
    cost = 0
    for price in sorted(due, key=_spare, reverse=True):
        expected, bound = price
        if bound > free_nano_usd:
            continue
        chosen[price] = due[price]
        cost += expected * due[price]
        while (over := cost + bound - expected - free_nano_usd) > 0:
            dearest = max(chosen)
            given_up = min(chosen[dearest], -(-over // dearest[0]))
            cost -= given_up * dearest[0]
            chosen[dearest] -= given_up
            if not chosen[dearest]:
                del chosen[dearest]
    return chosen


def next_round(due: Mapping[Price, int], free_nano_usd: int) -> dict[Price, int]:
    """Of the most pictures those that may be sent in any order; dear bounds first, the rest is for the next round."""
    chosen = most_pictures(due, free_nano_usd)
    in_order = sorted(chosen, key=lambda price: (-_spare(price), price))
    taken: dict[Price, int] = {}
    room = free_nano_usd - max(map(_spare, chosen), default=0)
    for price in in_order:
        expected = price[0]
        fit = chosen[price] if not expected else min(chosen[price], room // expected)
        room -= fit * expected
        if fit:
            taken[price] = fit
        if fit < chosen[price]:
            break
    return taken


class Spread:
    """An even sample over the axes: the pictures are bought in the order of their places, up to what fits."""

    def __init__(self, axes: Axes) -> None:
        self.axes = axes
        self._places = Places(axes)
        self.counts, self.costs, self.spares = (array("q", bytes(8 * PLACES)) for _ in range(3))

    def add(self, request: ImageRequest, is_due: bool) -> None:
        place, (expected, bound) = self._places.next(request), _price(request.quote)
        if not is_due:
            return
        self.counts[place] += 1
        self.costs[place] += expected
        if bound - expected > self.spares[place]:
            self.spares[place] = bound - expected

    def rounds(self) -> Rounds:
        return _Stretch(self)


class _Stretch:
    """A round takes the stretch of places from `_start` to before `_end`."""

    def __init__(self, due: Spread) -> None:
        self._due = due
        self._used = np.flatnonzero(np.frombuffer(due.counts, np.int64)).tolist()
        self._next = 0
        self._start = self._end = 0
        self._places = Places(due.axes)

    @property
    def left(self) -> int:
        return sum(self._due.counts[place] for place in islice(self._used, self._next, None))

    def begin(self, free_nano_usd: int) -> Round | None:
        due = self._due
        pictures = cost = spare = 0
        for place in islice(self._used, self._next, None):
            spare = max(spare, due.spares[place])
            if cost + due.costs[place] + spare > free_nano_usd:
                break
            pictures += due.counts[place]
            cost += due.costs[place]
            self._next += 1
        self._start, self._end = self._end, self._used[self._next - 1] + 1 if pictures else self._end
        self._places = Places(due.axes)
        return Round(pictures, cost) if pictures else None

    def takes(self, request: ImageRequest, is_due: bool) -> bool:
        return self._start <= self._places.next(request) < self._end and is_due

    def together(self) -> Rounds:
        one = _Stretch(self._due)
        one._end = self._end
        return one


def _price(price: Quote) -> Price:
    return price.expected.nano_usd, price.bound.nano_usd


def _spare(price: Price) -> int:
    return price[1] - price[0]
