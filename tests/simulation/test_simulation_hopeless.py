"""When everything fails, nothing is bought again and again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.simulation import provider, scenario
from tests.simulation.lives import play_scenario
from tests.simulation.scenario import Life, Scenario, Spell
from tests.soak import soak

PICTURES = 100
HOPELESS = {
    "answers that say failed": {"500": 0.6, "502 html": 0.2, "200 truncated": 0.2},
    "answers that never come": {"lost before": 0.4, "lost after": 0.4, "silent": 0.2},
    "time-outs": {"408": 1.0},
    "all of these": {"500": 0.3, "408": 0.3, "lost after": 0.4},
}


def hopeless(seed: int) -> Scenario:
    """A run in which all fails, by somebody who would have all sent again; then a fair one."""
    first = Life(
        max_in_flight=(1, 8, 64)[seed % 3],
        rate=720.0,
        budget_nano_usd=10 * PICTURES * scenario.BOUND_NANO_USD,
        rows_per_shard=25,
        resend_failed=5,
        resend_lost=5,
        resend_refused=True,
        patience=600.0,
        spells=(Spell(1e9, "hopeless", None, False, 2.0),),
        endings=(),
        down_s=0.0,
        rows=tuple(range(1, PICTURES + 1)),
    )
    return Scenario(seed, PICTURES, 1, None, (first, replace(first, spells=(), resend_lost=0, resend_failed=0)))


@pytest.mark.parametrize("faults", HOPELESS.values(), ids=HOPELESS)
@pytest.mark.parametrize("seed", range(soak(3, 30)))
def test_sends_stay_within_1_1_a_picture(seed: int, faults: dict[str, float], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(provider.FAULTS, "hopeless", faults)
    played = play_scenario(hopeless(seed))
    assert played.broken == []
    first = played.log[: played.log.index(next(line for line in played.log if "life 2: start" in line))]
    sends = sum("  send p" in line for line in first)
    assert PICTURES <= sends <= 1.1 * PICTURES
    assert not any("picture" in line for line in first if "answer" in line)
