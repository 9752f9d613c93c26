"""Sample numbers: the same content asked again is the next sample of it, so another picture.

Which content was asked how often is kept as sorted arrays, 12 bytes a content, so that a manifest of millions of rows
fits. A content is known by the first 8 bytes of its digest: in a million contents the chance that any two share them
is 3 in a hundred million, and the price of it a sample number too high.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fluxbatch.manifest.request import request_key
from fluxbatch.manifest.values import Trouble

Names = NDArray[np.uint64]
Counts = NDArray[np.int64]


class Tally:
    """How often each name was counted so far: a few sorted runs, each at least twice as long as the next."""

    def __init__(self) -> None:
        self._runs: list[tuple[Names, NDArray[np.int32]]] = []

    def so_far(self, names: Names) -> Counts:
        """The count of each name."""
        total = np.zeros(len(names), dtype=np.int64)
        for known, counts in self._runs:
            at = np.minimum(np.searchsorted(known, names), len(known) - 1)
            total += np.where(known[at] == names, counts[at], 0)
        return total

    def take(self, names: Names, wanted: Counts) -> Counts:
        """Count each name up by what is wanted, in order; returns the count of each just before its turn."""
        if not len(names):
            return np.zeros(0, dtype=np.int64)
        order = np.argsort(names, kind="stable")
        unique, start, times = np.unique(names[order], return_index=True, return_counts=True)
        in_order = wanted[order]
        before = np.cumsum(in_order) - in_order
        first = np.empty(len(names), dtype=np.int64)
        first[order] = before + np.repeat(self.so_far(unique) - before[start], times)
        self._count(unique, np.add.reduceat(in_order, start).astype(np.int32))
        return first

    def _count(self, names: Names, counts: NDArray[np.int32]) -> None:
        for known, so_far in self._runs:
            at = np.minimum(np.searchsorted(known, names), len(known) - 1)
            found = known[at] == names
            so_far[at[found]] += counts[found]
            names, counts = names[~found], counts[~found]
        while self._runs and len(self._runs[-1][0]) < 2 * len(names):
            known, so_far = self._runs.pop()
            at = np.searchsorted(known, names)
            names, counts = np.insert(known, at, names), np.insert(so_far, at, counts)
        if len(names):
            self._runs.append((names, counts))


class SampleNumbers:
    """Gives every asked picture of a manifest its sample number, chunk by chunk, in the order of the rows."""

    def __init__(self) -> None:
        self._counted = Tally()
        self._pinned = Tally()
        self._pictures = Tally()

    def number(
        self, contents: Sequence[bytes], samples: Sequence[int], pinned: Sequence[int | None]
    ) -> list[int | Trouble]:
        """The first sample number of each row (the others follow it), or why it gets none.

        `contents` are digests, `samples` how many pictures are wanted, `pinned` the sample number that a row insists
        on. Rows of one content either all pin their sample or none does: else the numbers would depend on the order.
        """
        names = np.frombuffer(b"".join([digest[:8] for digest in contents]), dtype="<u8").astype(np.uint64)
        wanted = np.array(samples, dtype=np.int64)
        is_pinned = np.array([sample is not None for sample in pinned], dtype=bool)
        numbers: list[int | Trouble] = [0] * len(contents)
        if is_pinned.any():
            self._pin(np.flatnonzero(is_pinned), names, contents, pinned, numbers)
        rest = np.flatnonzero(~is_pinned)
        mixed = self._pinned.so_far(names[rest]) > 0
        for index in rest[mixed].tolist():
            numbers[index] = _MIXED
        rest = rest[~mixed]
        for index, first in zip(rest.tolist(), self._counted.take(names[rest], wanted[rest]).tolist(), strict=True):
            numbers[index] = first
        return numbers

    def _pin(
        self,
        indexes: NDArray[np.intp],
        names: Names,
        contents: Sequence[bytes],
        pinned: Sequence[int | None],
        numbers: list[int | Trouble],
    ) -> None:
        keys = [request_key(contents[index], pinned[index] or 0) for index in indexes.tolist()]
        pictures = np.array([int(key[:16], 16) for key in keys], dtype=np.uint64)
        ones = np.ones(len(indexes), dtype=np.int64)
        again = self._pictures.take(pictures, ones) > 0
        mixed = self._counted.so_far(names[indexes]) > 0
        self._pinned.take(names[indexes], ones)
        for index, is_again, is_mixed in zip(indexes.tolist(), again.tolist(), mixed.tolist(), strict=True):
            sample = pinned[index]
            numbers[index] = _MIXED if is_mixed else _ASKED_TWICE if is_again else sample or 0


_MIXED = Trouble(
    "sample",
    "another row asks for the same content, and only one of the two says which sample",
    "give the sample in all rows of this content, or in none",
)
_ASKED_TWICE = Trouble("sample", "another row asks for the same content and sample", "remove one of the two rows")
