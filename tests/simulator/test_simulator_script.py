"""When a fault strikes: markers, chance, outages; and the settings that carry all that."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from fluxbatch.errors import UsageError
from fluxbatch.simulator import Outage, SimulatorSettings
from fluxbatch.simulator.faults import FaultScript
from fluxbatch.simulator.offers import OFFERS
from tests.simulator.simulator_kit import AT_ONCE, Client, TimeTold

DEV, KLEIN = OFFERS[0], OFFERS[2]


async def test_a_marker_with_a_count_strikes_that_often_for_its_prompt(client: Client) -> None:
    marked = "a fox [[fault:3040*2]]"
    assert [(await client.ask(marked)).status_code for _ in range(4)] == [429, 429, 200, 200]
    assert (await client.ask(marked + " again")).status_code == 429
    assert client.platform.traffic.prompts[marked] == 4


async def test_markers_strike_one_after_the_other(client: Client) -> None:
    marked = "[[fault:3040*1]] a fox [[fault:4002*2]] [[fault:8007]]"
    assert [(await client.ask(marked)).status_code for _ in range(5)] == [429, 424, 424, 400, 400]


async def test_a_marker_without_a_count_always_strikes(client: Client) -> None:
    assert {(await client.ask("a fox [[fault:500]]")).status_code for _ in range(5)} == {500}


def _struck(seed: int, rates: dict[str, float], prompts: int = 10_000) -> list[str | None]:
    script = FaultScript(random.Random(seed))
    struck = [script.choose(f"prompt {n}", 0, rates, ()) for n in range(prompts)]
    return [fault.name if fault else None for fault in struck]


def test_chance_strikes_as_often_as_it_is_told_and_the_same_for_the_same_seed() -> None:
    rates = {"3040": 0.2, "500": 0.1, "lost-after": 0.05}
    counts = Counter(_struck(1, rates))
    assert counts.keys() == {"3040", "500", "lost-after", None}
    for name, rate in rates.items():
        assert abs(counts[name] - rate * 10_000) < 200
    assert _struck(1, rates) == _struck(1, rates) != _struck(2, rates)
    assert Counter(_struck(1, {"500": 1.0})) == {"500": 10_000}


async def test_an_outage_strikes_from_its_beginning_to_its_end(open_client: Callable[..., Client]) -> None:
    time = TimeTold()
    settings = replace(AT_ONCE, outages=(Outage(10, 20, "503"), Outage(15, 30, "3040")))
    client = open_client(settings, clock=time)
    statuses = []
    for moment in (0, 9.9, 10, 19.9, 20, 29.9, 30):
        time.now = moment
        statuses.append((await client.ask()).status_code)
    assert statuses == [200, 200, 503, 503, 429, 429, 200]


def test_settings_travel_as_json_whole() -> None:
    settings = SimulatorSettings(
        latency_s=0.25,
        models={"flux-2-dev": {"latency_s": 3.0, "outages": [{"from": 1.0, "to": 2.0, "fault": "503"}]}},
        seen_latency=0.01,
        price_factor=1.05,
        rate=None,
        capacity=7,
        faults={"3040": 0.02, "500+billed": 0.01},
        outages=(Outage(1.0, 2.5, "502"),),
        paint="plain",
        picture_bytes=350_000,
        seed=9,
    )
    assert SimulatorSettings.from_json(settings.to_json()) == settings
    assert SimulatorSettings.from_json("{}") == SimulatorSettings()
    assert settings.of(DEV).latency_s == 3.0
    assert settings.of(DEV).outages == (Outage(1.0, 2.0, "503"),)
    assert settings.of(KLEIN).latency_s == pytest.approx(0.037)
    assert replace(settings, seen_latency=None).of(KLEIN).latency_s == 0.25


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "no JSON object"),
        ("{", "no JSON"),
        ('{"fault": {}}', "unknown simulator setting fault"),
        ('{"faults": {"3041x": 0.1}}', "knows no fault '3041x'"),
        ('{"faults": {"500": 1.5}}', "within 0 and 1"),
        ('{"faults": {"500": 0.6, "3040": 0.6}}', "add up to more than 1"),
        ('{"faults": {"500": "often"}}', "wrong type"),
        ('{"outages": [{"from": 1}]}', "an outage is written"),
        ('{"latency_s": -1}', "latency_s has to be 0 or more"),
        ('{"window_s": 0}', "window_s has to be more than 0"),
        ('{"price_factor": -1}', "price_factor has to be 0 or more"),
        ('{"models": {"flux-3": {}}}', "no model 'flux-3'; it has flux-2-dev, flux-2-klein-4b"),
        ('{"models": {"flux-2-dev": {"seed": 1}}}', "seed cannot be set for flux-2-dev alone"),
        ('{"models": {"flux-2-dev": {"faults": {"3041x": 1}}}}', "knows no fault '3041x'"),
        ('{"models": {"flux-2-dev": {"latency_s": -1}}}', "latency_s has to be 0 or more"),
        ('{"models": {"flux-2-dev": 3}}', "wrong type"),
        ('{"models": ["flux-2-dev"]}', "wrong type"),
        ('{"paint": "oil"}', "paint='oil' is unknown"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("[", r"\[")):
        SimulatorSettings.from_json(text)


async def test_a_bad_change_changes_nothing(client: Client) -> None:
    before = client.platform.settings
    for change in ('{"rate": 1, "windows": 2}', '{"seed": 4}', '{"bill_file": "elsewhere"}'):
        answer = await client.http.post("http://simulator/__simulator__/settings", content=change)
        assert answer.status_code == 400
        assert answer.json()["error"]
    assert client.platform.settings == before
