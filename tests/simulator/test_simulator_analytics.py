"""The GraphQL analytics: what was billed per model and quarter of an hour, and every way to be refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx  # noqa: TID251 - tests talk to the simulator with it
import pytest

from fluxbatch.simulator import SIMULATOR_ACCOUNT_ID
from tests.simulator.simulator_kit import AT_ONCE, AUTHORIZATION, MODEL, PIXEL, Client, TimeTold

NOON = 1_795_348_800.0
"""2026-11-22 12:00:00 UTC"""

QUERY = """
query Billed($account: string!, $since: Time!, $until: Time!, $models: [string!]) {
  viewer {
    accounts(filter: {accountTag: $account}) {
      # what CLOUDFLARE.md names
      aiInferenceAdaptiveGroups(limit: 100, filter: {datetime_geq: $since, datetime_lt: $until, modelId_in: $models}) {
        count
        dimensions { modelId datetimeFifteenMinutes }
        sum { totalNeurons totalTiles totalInferenceSteps }
      }
    }
  }
}
"""
VARIABLES = {
    "account": SIMULATOR_ACCOUNT_ID,
    "since": "2026-11-22T12:00:00Z",
    "until": "2026-11-22T13:00:00Z",
    "models": [MODEL],
}


async def query(
    client: Client, text: str = QUERY, headers: dict[str, str] = AUTHORIZATION, **variables: object
) -> httpx.Response:
    return await client.http.post("/graphql", json={"query": text, "variables": VARIABLES | variables}, headers=headers)


def groups(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200
    told = answer.json()
    assert told["errors"] is None, told
    found: list[dict[str, Any]] = told["data"]["viewer"]["accounts"][0]["aiInferenceAdaptiveGroups"]
    return found


def refused(answer: httpx.Response) -> str:
    assert answer.status_code == 200, "a refusal is a 200 with errors"
    told = answer.json()
    assert told["data"] is None
    [error] = told["errors"]
    assert set(error) == {"message", "path", "extensions"}
    return str(error["message"])


@pytest.fixture
def clock() -> TimeTold:
    return TimeTold()


@pytest.fixture
def noon(open_client: Callable[..., Client], clock: TimeTold) -> Client:
    """A platform at noon."""
    return open_client(clock=clock, sleep=clock.sleep, started_at=NOON)


async def test_the_bill_is_told_per_model_and_quarter_of_an_hour(noon: Client, clock: TimeTold) -> None:
    await noon.ask("one")
    await noon.ask("two", input_image_0=PIXEL)
    await clock.forward(899)
    await noon.ask("three", steps=8)
    await clock.forward(1)
    await noon.ask("four")
    await noon.ask("five [[fault:3040]]")
    later, first = groups(await query(noon))
    assert first == {
        "count": 3,
        "dimensions": {"modelId": MODEL, "datetimeFifteenMinutes": "2026-11-22T12:00:00Z"},
        "sum": {"totalNeurons": 37.5 + 112.5 + 75.0, "totalTiles": 1.75, "totalInferenceSteps": 16},
    }
    assert (later["count"], later["dimensions"]["datetimeFifteenMinutes"]) == (1, "2026-11-22T12:15:00Z")
    assert sum(group["sum"]["totalNeurons"] for group in (first, later)) * 100 == noon.charged


async def test_only_what_was_asked_for_is_counted(noon: Client, clock: TimeTold) -> None:
    await noon.ask("one")
    await clock.forward(3600)
    await noon.ask("two")
    assert [group["count"] for group in groups(await query(noon))] == [1], "the end is not part of the span"
    assert groups(await query(noon, models=["@cf/another"])) == []
    without = QUERY.replace(", modelId_in: $models", "")
    assert len(groups(await query(noon, without, until="2026-11-22T13:00:01Z"))) == 2


async def test_figures_come_late(open_client: Callable[..., Client], clock: TimeTold) -> None:
    settings = replace(AT_ONCE, analytics_lag_s=120.0)
    client = open_client(settings, clock=clock, sleep=clock.sleep, started_at=NOON)
    await client.ask("one")
    assert groups(await query(client)) == []
    await clock.forward(120)
    assert [group["count"] for group in groups(await query(client))] == [1]


async def test_fields_may_be_renamed_and_left_out(noon: Client) -> None:
    await noon.ask("one")
    await noon.ask("two")
    text = f"""{{ viewer {{ accounts(filter: {{accountTag: "{SIMULATOR_ACCOUNT_ID}"}}) {{
        all: aiInferenceAdaptiveGroups(limit: 1, filter: {{datetime_geq: "2026-11-22T00:00:00+00:00",
        datetime_lt: "2026-11-23T00:00:00Z"}}) {{ sum {{ neurons: totalNeurons }} }} }} }} }}"""
    told = (await query(noon, text)).json()
    assert told["data"] == {"viewer": {"accounts": [{"all": [{"sum": {"neurons": 75.0}}]}]}}


async def test_a_token_without_account_analytics_is_refused(noon: Client) -> None:
    noon.platform.change('{"analytics": false}')
    assert refused(await query(noon)) == "not authorized for that account"
    assert (await noon.ask("one")).status_code == 200, "it may still make pictures"


async def test_another_account_is_refused(noon: Client) -> None:
    assert refused(await query(noon, account="f" * 32)) == "not authorized for that account"


async def test_a_wrong_token_is_refused_as_everywhere(noon: Client) -> None:
    answer = await query(noon, headers={"Authorization": "Bearer wrong"})
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (401, 10000)
    got = await noon.http.get("/graphql", headers=AUTHORIZATION)
    assert (got.status_code, got.json()["errors"][0]["code"]) == (405, 7001)


async def test_too_many_queries_are_refused_until_five_minutes_have_passed(
    open_client: Callable[..., Client], clock: TimeTold
) -> None:
    client = open_client(replace(AT_ONCE, analytics_queries=2), clock=clock, sleep=clock.sleep, started_at=NOON)
    assert [groups(await query(client)) for _ in range(2)] == [[], []]
    assert "rate limiter budget depleted" in refused(await query(client))
    await clock.forward(300)
    assert groups(await query(client)) == []


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("totalNeurons", "totalNeutrons", 'unknown field "totalNeutrons"'),
        ("modelId date", "modelName date", 'unknown field "modelName"'),
        ("viewer", "visitor", 'unknown field "visitor"'),
        ("limit: 100, ", "", "error parsing args"),
        ("limit: 100", "limit: 10001", "limit must be positive number and not greater than 10000"),
        ("limit: 100", "limit: 0", "limit must be positive number"),
        ('limit: 100', 'limit: "100"', "error parsing args"),
        (", datetime_lt: $until", "", "filter needs datetime_geq and datetime_lt"),
        ("datetime_lt", "datetime_leq", "filter needs datetime_geq and datetime_lt"),
        ("$since,", '"yesterday",', "is no time"),
        ("$since,", '"2026-11-22T12:00:00",', "is no time"),
        ("$since,", "$nobody,", "variable nobody has no value"),
        ("accountTag:", "account:", "accountTag"),
        ("modelId_in: $models", 'modelId_in: "x"', "modelId_in is a list"),
        ("count\n", "count { all }\n", "scalar fields must have not selections"),
        ("sum { totalNeurons totalTiles totalInferenceSteps }", "sum", "objects must have selections"),
        ("sum { totalNeurons totalTiles totalInferenceSteps }", "sum { }", "a selection is empty"),
        ("sum {", "sum @skip {", "unexpected '@'"),
        ("count\n", "...all\n", "unexpected '.'"),
        ("query Billed", "mutation Billed", "expected 'query'"),
        ("      }\n    }\n  }\n}", "      }\n    }\n  }", "the end"),
        ("viewer {", "viewer { " + "a { " * 40, "nested more than"),
    ],
)  # fmt: skip
async def test_a_query_that_is_not_understood_is_refused_and_not_guessed(
    noon: Client, before: str, after: str, message: str
) -> None:
    assert before in QUERY
    assert message in refused(await query(noon, QUERY.replace(before, after, 1)))


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"query": 7}', b'{"query": "{a}", "variables": [1]}', b"[" * 9999]
)
async def test_a_body_that_is_no_query_is_refused(noon: Client, body: bytes) -> None:
    assert "error parsing body" in refused(await noon.http.post("/graphql", content=body, headers=AUTHORIZATION))
