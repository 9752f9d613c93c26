"""Near-duplicates over a whole dataset, by the 64-bit perceptual hashes of its pictures. Pure.

A group is a representative and the pictures within a Hamming distance of it: never a chain in which each picture is
like the next and the last unlike the first (single linkage makes such ones, the longer the larger the dataset). In
the order given, a picture near no representative becomes one; every other belongs to the nearest of the earlier ones,
and pictures of the very same hash to that of the first of them.
So no two representatives are near each other: whoever keeps one of each group has no near-duplicates left. And pictures
that are added behind change no group that was there.

Nearness is found without looking at all pairs. Of the d + k bands that a hash is cut into, two hashes within d bits of
each other share at least k (the pigeonhole principle), so only those that share k bands are compared. All of them are
found: it is a filter, not a guess. (For k = 1: Manku, Jain, Das Sarma, "Detecting near-duplicates for web crawling",
WWW 2007, which also takes more bands than that.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

BITS = 64
DISTANCE = 4
"""The default. A hash is compared with its own median, so half of its bits are set, and two of them differ in an even
number. In `python -m bench.similar` re-encoding, scaling, noise, blur, light and a cut of 1 % move it by 4 bits or less
in 99 of 100 pictures, a cut of 3 % in 82. By chance 0.1 pairs of a million unrelated pictures (of 5e11 pairs) are as
near; 12 would be at 6 bits, 630 at 8."""
DISTANCE_MAX = 16
"""Beyond it pictures have nothing to do with each other."""

Hashes = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]
Pairs = tuple[Indices, Indices, npt.NDArray[np.uint8]]

_FEW = 1024
"""So many are compared each with each: quicker than cutting them into bands."""
_PAIRS_MAX = 1 << 20
"""So many candidates are in memory at a time, some 40 bytes each."""
_TABLE_BITS_MAX = 20
_SHARED_MAX = 4


@dataclass(frozen=True, slots=True)
class Groups:
    """For each hash, in the order given, where its group's representative stands (its own place when that is itself),
    and the Hamming distance to it (bits). A hash that is near no other is a group of its own."""

    representative: Indices
    distance: npt.NDArray[np.uint8]

    @property
    def is_shared(self) -> npt.NDArray[np.bool_]:
        """Which of them are in a group of two or more."""
        sizes = np.bincount(self.representative, minlength=len(self.representative))
        return sizes[self.representative] > 1


def group(hashes: Hashes, distance_max: int = DISTANCE) -> Groups:
    """Group hashes within `distance_max` bits of a representative. Equal ones are looked at once."""
    if not 0 <= distance_max <= DISTANCE_MAX:
        raise ValueError(f"a distance of {distance_max} bits is not between 0 and {DISTANCE_MAX}")
    distinct, first, which = np.unique(hashes, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    leader, distance = _grouped(distinct[order], distance_max)
    mine = place[which]
    return Groups(first[order][leader[mine]], distance[mine])


def _grouped(hashes: Hashes, distance_max: int) -> tuple[Indices, npt.NDArray[np.uint8]]:
    """The same for hashes of which no two are equal."""
    itself = np.arange(len(hashes))
    if distance_max == 0 or len(hashes) < 2:
        return itself, np.zeros(len(hashes), np.uint8)
    bands = _Bands.for_these(hashes, distance_max)
    dealt = bands.deal(hashes)
    leaders = _leaders(dealt, bands)
    followers = np.setdiff1d(itself, leaders, assume_unique=True)
    nearest, distance = itself.copy(), np.zeros(len(hashes), np.uint8)
    best = np.full(len(hashes), BITS * len(hashes))
    for query, leader, bits in bands.near(dealt[followers], dealt[leaders]):
        at, of = followers[query], leaders[leader]
        earlier = of < at
        np.minimum.at(best, at[earlier], bits[earlier].astype(np.int64) * len(hashes) + of[earlier])
    nearest[followers], distance[followers] = best[followers] % len(hashes), best[followers] // len(hashes)
    return nearest, distance


def _leaders(hashes: Hashes, bands: _Bands) -> Indices:
    """Where those stand that have no earlier one of them near: the first half's, and of what is near none of these the
    second half's. What is left to compare is never dense: leaders keep a distance from each other."""
    if len(hashes) <= _FEW:
        return _leaders_of_few(hashes, bands.distance_max)
    half = len(hashes) // 2
    early = _leaders(hashes[:half], bands)
    rest = half + np.flatnonzero(~_is_near(hashes[half:], hashes[early], bands))
    return np.concatenate([early, rest[_leaders(hashes[rest], bands)]])


def _leaders_of_few(hashes: Hashes, distance_max: int) -> Indices:
    near = np.bitwise_count(hashes[:, None] ^ hashes[None, :]) <= distance_max
    leads = np.ones(len(hashes), bool)
    for index in np.flatnonzero(near.sum(axis=1) > 1):
        if leads[index]:
            leads[index + 1 :] &= ~near[index, index + 1 :]
    return np.flatnonzero(leads)


def _is_near(queries: Hashes, leaders: Hashes, bands: _Bands) -> npt.NDArray[np.bool_]:
    """Which of the queries have a leader near."""
    found = np.zeros(len(queries), bool)
    for chosen in bands.choices:
        left = np.flatnonzero(~found)
        for query, _, _ in bands.sharing(chosen, queries[left], leaders):
            found[left[query]] = True
    return found


@dataclass(frozen=True, slots=True)
class _Bands:
    """Hashes are cut into `count` bands; those that are near share `shared` of them."""

    distance_max: int
    shared: int

    @classmethod
    def for_these(cls, hashes: Hashes, distance_max: int) -> _Bands:
        """As many shared bands as cost least: more of them make fewer candidates and more rounds."""
        ones = _bits(hashes).mean(axis=0)
        telling = float(-np.log2(ones**2 + (1 - ones) ** 2).sum())  # two differ in so many bits' worth
        several = (cls(distance_max, shared) for shared in range(1, _SHARED_MAX + 1))
        return min(several, key=lambda bands: bands.cost_ns(len(hashes), telling))

    @property
    def count(self) -> int:
        return self.distance_max + self.shared

    @property
    def width(self) -> int:
        """Bits a band; a few are in none."""
        return min(BITS // self.count, _TABLE_BITS_MAX // self.shared)

    @property
    def choices(self) -> Iterator[tuple[int, ...]]:
        return combinations(range(self.count), self.shared)

    def cost_ns(self, hashes: int, telling: float) -> float:
        """Roughly: what each round takes for a hash, and for a candidate."""
        key_bits = min(telling * self.shared / self.count, self.width * self.shared)
        candidates: float = hashes * hashes / 2 / 2.0**key_bits
        rounds = math.comb(self.count, self.shared)
        return rounds * (1_000.0 * hashes + 40.0 * candidates)

    def deal(self, hashes: Hashes) -> Hashes:
        """The same hashes with their bits in another order, which changes no distance: those that tell most (half of
        the hashes have them) come first in each band, those that nearly all have, or none, come last."""
        bits = _bits(hashes)
        telling = np.argsort(np.abs(bits.mean(axis=0) - 0.5), kind="stable")
        order = np.concatenate([telling[first :: self.count][: self.width] for first in range(self.count)])
        order = np.concatenate([order, np.setdiff1d(telling, order)])
        dealt = np.ascontiguousarray(np.packbits(bits[:, order], axis=1))
        return dealt.view(np.dtype(">u8")).astype(np.uint64).ravel()

    def near(self, queries: Hashes, leaders: Hashes) -> Iterator[Pairs]:
        """Query, leader and distance of all that are near each other; some more than once."""
        for chosen in self.choices:
            yield from self.sharing(chosen, queries, leaders)

    def sharing(self, chosen: tuple[int, ...], queries: Hashes, leaders: Hashes) -> Iterator[Pairs]:
        """Those that are near each other and share the chosen bands."""
        if not len(queries) or not len(leaders):
            return
        width = min(self.width, 1 + len(leaders).bit_length() // self.shared)  # a larger table would be mostly empty
        wanted, keys = self._keys(queries, chosen, width), self._keys(leaders, chosen, width)
        order = np.argsort(keys)
        counts = np.bincount(keys, minlength=1 << width * self.shared)
        starts = np.cumsum(counts) - counts
        for span in _spans(counts[wanted]):
            mine = wanted[span]
            many = counts[mine]
            ends = np.cumsum(many)
            query = np.repeat(np.arange(span.start, span.stop), many)
            leader = order[np.arange(ends[-1]) + np.repeat(starts[mine] - ends + many, many)]
            bits = np.bitwise_count(queries[query] ^ leaders[leader])
            close = bits <= self.distance_max
            yield query[close], leader[close], bits[close]

    def _keys(self, hashes: Hashes, chosen: tuple[int, ...], width: int) -> Indices:
        """The first `width` bits of each chosen band, side by side."""
        keys = np.zeros(len(hashes), np.uint64)
        for band in chosen:
            bits = (hashes >> np.uint64(BITS - self.width * band - width)) & np.uint64((1 << width) - 1)
            keys = (keys << np.uint64(width)) | bits
        return keys.astype(np.int64)


def _bits(hashes: Hashes) -> npt.NDArray[np.uint8]:
    """One row of 64 zeros and ones each."""
    return np.unpackbits(hashes.view(np.uint8).reshape(-1, BITS // 8), axis=1)


def _spans(counts: Indices) -> Iterator[slice]:
    """Neighbours together, with at most `_PAIRS_MAX` candidates, or one of them with more."""
    ends = np.cumsum(counts)
    start = 0
    while start < len(counts):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + _PAIRS_MAX, side="right")))
        if ends[stop - 1] > done:
            yield slice(start, stop)
        start = stop
