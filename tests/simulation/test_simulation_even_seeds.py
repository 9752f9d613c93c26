"""The even seeds of the world; the others are played in another file, by another worker."""

from __future__ import annotations

import pytest

from tests.simulation.seeds import CHUNK, Reached, chunks

REACHED = Reached()
CHUNKS = chunks(2)


@pytest.mark.parametrize("seeds", CHUNKS, ids=lambda seeds: f"from {seeds[0]}")
def test_every_promise_is_kept_in_the_world_of_a_seed(seeds: range):
    REACHED.play(seeds)


def test_the_seeds_have_reached_what_they_are_there_for():
    if REACHED.seeds < CHUNK * (len(CHUNKS) - 1):
        pytest.skip("only some of the seeds were played")
    assert REACHED.missing() == []
