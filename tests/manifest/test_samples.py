"""Sample numbers: the same content asked again is the next sample, whatever the chunks."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fluxbatch.manifest.samples import SampleNumbers, Tally
from fluxbatch.manifest.values import Trouble


def digest(name: object) -> bytes:
    return hashlib.sha256(str(name).encode()).digest()


def test_the_same_content_goes_on_counting_across_chunks() -> None:
    numbers = SampleNumbers()
    assert numbers.number([digest("a"), digest("b"), digest("a")], [2, 1, 1], [None] * 3) == [0, 0, 2]
    assert numbers.number([digest("b"), digest("a")], [3, 1], [None] * 2) == [1, 3]
    assert numbers.number([], [], []) == []


def test_a_pinned_sample_keeps_its_number() -> None:
    assert SampleNumbers().number([digest("a"), digest("a")], [1, 1], [5, 0]) == [5, 0]


def test_the_same_pinned_sample_twice_is_a_trouble_of_the_second() -> None:
    numbers = SampleNumbers()
    assert numbers.number([digest("a")], [1], [1]) == [1]
    (second,) = numbers.number([digest("a")], [1], [1])
    assert isinstance(second, Trouble)
    assert "same content and sample" in second.problem


def test_pinned_and_counted_rows_of_one_content_are_a_trouble_in_either_order() -> None:
    for pins in ([None, 1], [1, None]):
        numbers = SampleNumbers()
        assert isinstance(numbers.number([digest("a")], [1], pins[:1])[0], int)
        assert isinstance(numbers.number([digest("a")], [1], pins[1:])[0], Trouble)


def test_other_contents_of_the_chunk_are_not_touched_by_a_trouble() -> None:
    found = SampleNumbers().number(
        [digest("a"), digest("b"), digest("a"), digest("b")], [1, 1, 1, 1], [0, None, 0, None]
    )
    assert found[0] == 0
    assert isinstance(found[2], Trouble)
    assert (found[1], found[3]) == (0, 1)


@given(st.lists(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 4)), max_size=30), max_size=12))
def test_the_tally_counts_like_a_dictionary(chunks: list[list[tuple[int, int]]]) -> None:
    tally, expected = Tally(), Counter[int]()
    for chunk in chunks:
        names = np.array([name for name, _ in chunk], dtype=np.uint64)
        firsts = tally.take(names, np.array([wanted for _, wanted in chunk], dtype=np.int64)).tolist()
        for (name, wanted), first in zip(chunk, firsts, strict=True):
            assert first == expected[name]
            expected[name] += wanted
    everything = np.arange(21, dtype=np.uint64)
    assert tally.so_far(everything).tolist() == [expected[name] for name in range(21)]


def test_a_hundred_thousand_contents_take_twelve_bytes_each() -> None:
    tally = Tally()
    rng = np.random.default_rng(7)
    for _ in range(25):
        names = rng.integers(0, 2**64, 4000, dtype=np.uint64)
        assert not tally.take(names, np.ones(4000, dtype=np.int64)).any()
    runs = tally._runs
    assert sum(names.nbytes + counts.nbytes for names, counts in runs) == 12 * 100_000
    assert len(runs) <= 8
