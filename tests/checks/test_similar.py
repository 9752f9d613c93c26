"""Near-duplicates, held against a plain loop over all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxbatch.checks import similar
from fluxbatch.checks.similar import DISTANCE, DISTANCE_MAX, Hashes, group
from tests.soak import soak


def plainly(hashes: list[int], distance_max: int) -> list[tuple[int, int]]:
    """Representative and distance of each, one after the other; equal ones go with the first of them."""
    leaders: list[int] = []
    found: dict[int, tuple[int, int]] = {}
    for place, value in enumerate(hashes):
        if value in found:
            continue
        near = [((hashes[leader] ^ value).bit_count(), leader) for leader in leaders]
        distance, leader = min(near, default=(similar.BITS, -1))
        if distance > distance_max:
            distance, leader = 0, place
            leaders.append(place)
        found[value] = (leader, distance)
    return [found[value] for value in hashes]


def grouped(hashes: list[int], distance_max: int) -> list[tuple[int, int]]:
    groups = group(np.array(hashes, np.uint64), distance_max)
    return list(zip(groups.representative.tolist(), groups.distance.tolist(), strict=True))


@st.composite
def clustered(draw: st.DrawFn) -> list[int]:
    """Hashes around a few centres, so that many are near each other, in chains and in clumps."""
    centres = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4))
    moves = st.lists(st.integers(0, 63), max_size=9)
    many = draw(st.lists(st.tuples(st.sampled_from(centres), moves), max_size=60))
    return [centre ^ sum(1 << bit for bit in set(bits)) for centre, bits in many]


@settings(max_examples=soak(150, 5_000), deadline=None)
@given(clustered(), st.integers(0, DISTANCE_MAX), st.sampled_from([2, 16, similar._FEW]))
def test_they_are_the_groups_that_a_loop_over_all_pairs_finds(hashes: list[int], distance: int, few: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similar, "_FEW", few)  # so that few hashes are halved as well
        assert grouped(hashes, distance) == plainly(hashes, distance)


@pytest.mark.parametrize("distance", [1, 4, 10])
def test_thousands_of_them_as_well(distance: int) -> None:
    hashes = near_duplicates(np.random.default_rng(distance), soak(2_500, 8_000))
    assert grouped(hashes.tolist(), distance) == plainly(hashes.tolist(), distance)


@pytest.mark.parametrize("pairs", [1, 7, 1_000])
def test_however_few_candidates_are_in_memory_at_a_time(pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = near_duplicates(np.random.default_rng(5), 1_500)
    monkeypatch.setattr(similar, "_PAIRS_MAX", pairs)
    assert grouped(hashes.tolist(), DISTANCE) == plainly(hashes.tolist(), DISTANCE)


def test_pictures_that_come_later_change_no_group_that_was_there() -> None:
    hashes = near_duplicates(np.random.default_rng(2), 2_000)
    assert grouped(hashes.tolist(), DISTANCE)[:700] == grouped(hashes[:700].tolist(), DISTANCE)


def test_a_chain_is_no_group() -> None:
    chain = [(1 << 3 * step) - 1 for step in range(6)]  # each 3 bits from the next
    assert grouped(chain, 3) == [(0, 0), (0, 3), (2, 0), (2, 3), (4, 0), (4, 3)]


def test_of_two_representatives_the_nearer_one_is_chosen_and_of_equally_near_ones_the_earlier() -> None:
    assert grouped([0b11111, 0b1111100000, 0b1100000000], 7) == [(0, 0), (1, 0), (1, 3)]
    assert grouped([0b0011, 0b1100, 0b0000], 2) == [(0, 0), (1, 0), (0, 2)]


def test_the_same_hash_is_never_in_two_groups() -> None:
    assert grouped([6, 0, 1, 0], 2) == [(0, 0), (0, 2), (2, 0), (0, 2)]  # the last one is nearer to the third


def test_a_group_of_one_is_not_shared() -> None:
    groups = group(np.array([7, 2**63, 7, 2**40 - 1], np.uint64), 2)
    assert groups.is_shared.tolist() == [True, False, True, False]
    assert groups.distance.tolist() == [0, 0, 0, 0]


def test_no_hashes_at_all() -> None:
    assert group(np.array([], np.uint64)).representative.tolist() == []


@pytest.mark.parametrize("distance", [-1, DISTANCE_MAX + 1])
def test_a_distance_that_means_nothing_is_refused(distance: int) -> None:
    with pytest.raises(ValueError, match=f"distance of {distance}"):
        group(np.array([1], np.uint64), distance)


def candidates_of(hashes: Hashes, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many pairs were compared in all."""
    compared = 0
    spans = similar._spans

    def counting(counts):  # type: ignore[no-untyped-def]
        nonlocal compared
        compared += int(counts.sum())
        yield from spans(counts)

    monkeypatch.setattr(similar, "_spans", counting)
    group(hashes, DISTANCE)
    return compared


@pytest.mark.parametrize("kind", ["identical", "two kinds of blank", "one bit off", "all alike in half of their bits"])
def test_no_skew_makes_it_look_at_all_pairs(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, count = np.random.default_rng(3), soak(30_000, 300_000)
    free = rng.integers(0, 2**63, count).astype(np.uint64)
    hashes = {
        "identical": np.full(count, 12345, np.uint64),
        "two kinds of blank": np.where(free % np.uint64(2) == 0, np.uint64(0), np.uint64(2**63)),
        "one bit off": np.uint64(12345) ^ (np.uint64(1) << free % np.uint64(64)),
        "all alike in half of their bits": free & np.uint64(0x5555555555555555),
    }[kind]
    assert candidates_of(hashes, monkeypatch) < count * count / 50  # all pairs are half of the square


def near_duplicates(rng: np.random.Generator, count: int) -> Hashes:
    """A third of them are up to six bits from another."""
    hashes = rng.integers(0, 2**63, count).astype(np.uint64)
    moved = rng.integers(0, count, count // 3)
    origin = hashes[rng.integers(0, count, len(moved))]
    for _ in range(6):
        origin ^= np.uint64(1) << rng.integers(0, 64, len(moved)).astype(np.uint64)
    hashes[moved] = origin
    return hashes
