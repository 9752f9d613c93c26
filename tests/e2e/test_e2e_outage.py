"""A platform on which everything fails: few sends, each counted, and the run ends and says why."""

from __future__ import annotations

import pytest

from tests.e2e.e2e_kit import Desk, assert_adds_up, centineurons, rows

PATIENCE = ("--patience", "0.02")
PICTURES = 19
MOST = PICTURES + max(1, PICTURES // 10)
"""1.1 sends a picture: each once, and a tenth of them once more. Twenty failures in a row would stop the sending."""
BOUND_CENTINEURONS = 15_000


@pytest.mark.parametrize("fault", ["500", "3046", "502", "lost-after"])
def test_when_everything_fails_at_most_a_tenth_is_sent_again(desk: Desk, fault: str) -> None:
    """All are out before the first has failed, and too few for the breaker: only the quota keeps them from going out
    once more."""
    desk.simulator.change(faults={fault: 1.0}, latency_s=0.7)
    said = desk.run(desk.manifest(rows(PICTURES)), "--max-in-flight", str(PICTURES), *PATIENCE, budget="50").ended(4)
    assert_adds_up(said.json)
    assert desk.requests == (PICTURES if fault == "lost-after" else MOST) <= 1.1 * PICTURES
    assert said.json["requests"] == desk.requests
    assert centineurons(said.json["unknown_neurons"]) == desk.requests * BOUND_CENTINEURONS, "each may be billed"
    assert desk.billed <= desk.requests * BOUND_CENTINEURONS


@pytest.mark.parametrize("fault", ["3040", "4002", "3021"])
def test_a_platform_that_refuses_everything_at_once_is_asked_seldom_and_costs_nothing(desk: Desk, fault: str) -> None:
    desk.simulator.change(faults={fault: 1.0})
    said = desk.run(desk.manifest(rows(300)), "--max-in-flight", "256", *PATIENCE).ended(5)
    assert_adds_up(said.json)
    assert said.json["left"] == 300
    assert said.json["unknown_usd"] == said.json["spent_usd"] == "0"
    assert 3 <= desk.requests <= 60, "a burst at the start, then single probes"


@pytest.mark.parametrize("fault", ["500+billed", "lost-after"])
def test_a_nightly_job_during_an_outage_buys_no_picture_a_third_time(desk: Desk, fault: str) -> None:
    manifest = desk.manifest(rows(40))
    desk.simulator.change(faults={fault: 1.0}, latency_s=0.2)
    for _ in range(3):
        desk.run(manifest, *PATIENCE, budget="50")
    asked = desk.simulator.stats()["prompts"]
    assert max(asked.values()) <= (2 if fault == "500+billed" else 1)
    desk.simulator.change(faults={})
    told = desk.run(manifest, budget="50").json
    assert told["asked"] == 40
    assert desk.billed <= centineurons(told["spent_neurons"]) + centineurons(told["unknown_neurons"])
