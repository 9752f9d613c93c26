"""Some of many, in any order: how many ways there are, which is the n-th, and which number has this one.

The items may themselves have several forms: `counts[i]` of them. Arrangements are numbered by size first, then by
their first item and its form, then by their second, and so on: the order of nested loops.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import comb, factorial

Place = tuple[int, int]
"""An item and its form."""


class Arrangements:
    """Arrangements of `low` to `high` items (at most as many as there are), without repeating one."""

    def __init__(self, counts: Sequence[int], low: int, high: int) -> None:
        self._counts = counts
        self._groups = Counter(counts)
        self._alike = len(self._groups) == 1
        self.high = min(high, len(counts))
        self.low = min(low, self.high)
        self._completions: dict[tuple[frozenset[tuple[int, int]], int], int] = {}
        self.total = sum(self._ways(self._groups, size) for size in range(self.low, self.high + 1))

    def at(self, number: int) -> tuple[Place, ...]:
        """The arrangement with this number."""
        assert 0 <= number < self.total
        size = self.low
        while number >= (ways := self._ways(self._groups, size)):
            number -= ways
            size += 1
        chosen: list[Place] = []
        groups = self._groups.copy()
        for position in range(size):
            for item, before, rest in self._firsts(groups, chosen, size - position - 1, number):
                form, number = divmod(number - before, rest)
                chosen.append((item, form))
                groups[self._counts[item]] -= 1
                break
        return tuple(chosen)

    def number(self, places: Sequence[Place]) -> int:
        """The number of an arrangement."""
        number = sum(self._ways(self._groups, size) for size in range(self.low, len(places)))
        groups = self._groups.copy()
        chosen: list[Place] = []
        for item, form in places:
            rest_size = len(places) - len(chosen) - 1
            number += self._before(groups, chosen, rest_size, item)
            groups[self._counts[item]] -= 1
            number += form * self._ways(groups, rest_size)
            chosen.append((item, form))
        return number

    def _firsts(
        self, groups: Counter[int], chosen: Sequence[Place], rest_size: int, number: int
    ) -> Iterator[tuple[int, int, int]]:
        """The item that comes next in arrangement `number`, how many arrangements come before, and how many follow for
        each of its forms. (At most one; none for a number that is out of range.)"""
        used = sorted(item for item, _ in chosen)
        if self._alike:
            count = self._counts[0]
            rest = self._rest(groups, count, rest_size)
            item = number // (count * rest)
            yield _nth_unused(item, used), item * count * rest, rest
            return
        before = 0
        taken = set(used)
        rests = {count: self._rest(groups, count, rest_size) for count, left in groups.items() if left}
        for item, count in enumerate(self._counts):
            if item in taken or not rests[count]:
                continue
            if number < before + count * rests[count]:
                yield item, before, rests[count]
                return
            before += count * rests[count]

    def _before(self, groups: Counter[int], chosen: Sequence[Place], rest_size: int, item: int) -> int:
        taken = {other for other, _ in chosen}
        if self._alike:
            count = self._counts[item]
            return (item - sum(other < item for other in taken)) * count * self._rest(groups, count, rest_size)
        rests = {count: self._rest(groups, count, rest_size) for count, left in groups.items() if left}
        return sum(self._counts[other] * rests[self._counts[other]] for other in range(item) if other not in taken)

    def _rest(self, groups: Counter[int], count: int, size: int) -> int:
        """In how many ways `size` more follow, once an item with `count` forms is taken."""
        left = groups.copy()
        left[count] -= 1
        return self._ways(left, size)

    def _ways(self, groups: Counter[int], size: int) -> int:
        """size! times the elementary symmetric polynomial of the counts: the coefficient of x^size in the product of
        (1 + count x), where alike items are taken together."""
        key = (frozenset(groups.items()), size)
        if key not in self._completions:
            polynomial = [1] + [0] * size
            for count, many in groups.items():
                powers = [comb(many, power) * count**power for power in range(size + 1)]
                polynomial = [
                    sum(polynomial[degree - power] * powers[power] for power in range(degree + 1))
                    for degree in range(size + 1)
                ]
            self._completions[key] = factorial(size) * polynomial[size]
        return self._completions[key]


def _nth_unused(index: int, used: Sequence[int]) -> int:
    for item in used:
        if item <= index:
            index += 1
    return index
