"""Keys name what was paid for: datasets exist, so the key of a request is the same for ever."""

from __future__ import annotations

import pytest

from fluxbatch.manifest.request import Reference, content_digest, request_key
from fluxbatch.models.catalogue import FLUX_2_DEV, PHOENIX_1_0

LAMP, DOOR = Reference("ab" * 32, 100, 100, 100, 100), Reference("cd" * 32, 9, 9, 9, 9)

# As fluxbatch gave them before any other model could be asked.
PINNED = {
    "909bd8ad82f869131a10919d28dc24e7329ff6c0229fc6c5b20df8cd814a50c1": (
        ("a lighthouse", 1024, 1024, 25, None, None, ()),
        0,
    ),
    "5e91a2bf292329236677134a8a72077a4f91148c498d48ca0ef631108884d639": (
        ("a lighthouse", 1024, 1024, 25, None, None, ()),
        3,
    ),
    "009f87fd85f4f6d7646656db25acf2f444ca169ebdc419bf9a849786bd18df12": (
        ("a lighthouse at dusk", 1024, 768, 40, 3.5, None, ()),
        0,
    ),
    "9fd5642a4302bc26ff1ea10b9a435660c68be0e07c32128fa83d37548781eb50": (
        ("ein Leuchtturm, grün", 512, 512, 1, None, 7, ()),
        0,
    ),
    "d814ebe43b77aa0a8b53eaebac84b255db5b161ff87bf481dbc6f419fab0b280": (
        ("put image 0 beside image 1", 1920, 1072, 50, 2.0, 2**63 - 1, (LAMP, DOOR)),
        2,
    ),
}


@pytest.mark.parametrize("key", PINNED)
def test_a_key_is_what_it_was(key: str) -> None:
    asked, sample = PINNED[key]
    assert request_key(content_digest(FLUX_2_DEV, *asked), sample) == key


def test_each_of_the_later_parameters_makes_another_key_only_where_it_is_given() -> None:
    asked = (PHOENIX_1_0, "a lighthouse", 1024, 1024, 25, None, None, (LAMP,))
    without = content_digest(*asked)
    assert content_digest(*asked, None, None) == without
    others = [
        content_digest(*asked, "fog", None),
        content_digest(*asked, None, 0.5),
        content_digest(*asked, "fog", 0.5),
    ]
    assert len({without, *others}) == 4
    assert content_digest(*asked, None, 0.0) != without  # nothing is changed, which is something that is asked
