"""What was billed, read back: exact figures, and for everything else a reason with what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from fluxbatch.cloudflare import analytics
from fluxbatch.cloudflare.analytics import Billed, NoFigures, Span, billed, query_body, read_billed
from fluxbatch.cloudflare.client import Client, Credentials
from fluxbatch.cloudflare.outcome import Broken, Reply
from fluxbatch.models.catalogue import FLUX_2_DEV
from fluxbatch.models.money import charge
from fluxbatch.simulator import Simulator, SimulatorSettings
from tests.cloudflare.cloudflare_kit import asked

MODEL = FLUX_2_DEV.id
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SPAN = Span([MODEL], NOON, NOON + timedelta(hours=1))


def group(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "count": 3,
        "dimensions": {"modelId": MODEL, "datetimeFifteenMinutes": "2026-11-22T12:15:00Z"},
        "sum": {"totalNeurons": 11250.0},
    }
    return found | changes


def reply(groups: object = (), *, status: int = 200, body: bytes | None = None, **top: object) -> Reply:
    whole = {"data": {"viewer": {"accounts": [{"aiInferenceAdaptiveGroups": groups}]}}, "errors": None} | top
    return Reply(status, {}, json.dumps(whole).encode() if body is None else body, 0.1)


def no_figures(found: object) -> NoFigures:
    assert isinstance(found, NoFigures), found
    return found


class TestFigures:
    def test_they_are_exact_hundredths(self) -> None:
        quarter = NOON + timedelta(minutes=15)
        assert read_billed(reply([group()]), SPAN) == (Billed(MODEL, quarter, 3, charge(1_125_000)),)

    @pytest.mark.parametrize(
        ("text", "centineurons"),
        [
            ("0.1", 10),
            ("206.06", 20606),
            ("206.05999999999997", 20606),
            ("206.0600000001", 20606),
            ("7", 700),
            ("1e3", 100_000),
            ("0", 0),
            ("90071992547.41", 9_007_199_254_741),
        ],
    )
    def test_a_float_of_json_is_the_hundredth_that_was_meant(self, text: str, centineurons: int) -> None:
        body = json.dumps({"data": {"viewer": {"accounts": [{analytics.NODE: [group()]}]}}}).replace("11250.0", text)
        [one] = read_billed(reply(body=body.encode()), SPAN)  # type: ignore[misc]
        assert one.actual == charge(centineurons)

    def test_none_at_all_is_an_answer(self) -> None:
        assert read_billed(reply([]), SPAN) == ()


class TestRefusals:
    @pytest.mark.parametrize(
        ("message", "kind", "remedy"),
        [
            ("not authorized for that account", "permission", "Account Analytics: Read"),
            ("account 'x' does not have access to the path. Refer to …", "permission", "Account Analytics: Read"),
            ("rate limiter budget depleted, try again after 5 minutes", "rate", "in 5 minutes"),
            ("cannot request data older than 2678400s", "age", "limited time"),
            ("Unauthorized", "token", "CLOUDFLARE_API_TOKEN"),
            ('unknown field "totalNeurons"', "unreadable", "dashboard"),
        ],
    )
    def test_each_says_what_to_do(self, message: str, kind: str, remedy: str) -> None:
        found = no_figures(read_billed(reply(data=None, errors=[{"message": message}]), SPAN))
        assert found.kind == kind
        assert remedy in found.remedy

    def test_figures_beside_an_error_are_not_trusted(self) -> None:
        assert no_figures(read_billed(reply([group()], errors=[{"message": "node timed out"}]), SPAN))

    @pytest.mark.parametrize(
        ("status", "kind"), [(401, "token"), (403, "token"), (429, "rate"), (502, "network"), (301, "network")]
    )
    def test_a_status_is_heard_too(self, status: int, kind: str) -> None:
        assert no_figures(read_billed(reply(status=status, body=b"<html>no</html>"), SPAN)).kind == kind

    def test_nobody_answered(self) -> None:
        assert no_figures(read_billed(Broken("not_sent", "no route", 1.0), SPAN)).kind == "network"

    def test_an_answer_without_the_account(self) -> None:
        assert no_figures(read_billed(reply(data={"viewer": {"accounts": []}}), SPAN)).kind == "permission"

    def test_what_it_says_is_fit_for_a_terminal_and_keeps_no_token(self) -> None:
        told = "not \x1b[31mauthorized: cfut_" + "aB3" * 12 + "x" * 5000
        found = no_figures(read_billed(reply(data=None, errors=[{"message": told}]), SPAN))
        assert "\x1b" not in found.message
        assert "aB3aB3" not in found.message
        assert len(found.message) <= 300


STRANGE: list[tuple[str, object]] = [
    ("another model", group(dimensions={"modelId": "@cf/x", "datetimeFifteenMinutes": "2026-11-22T12:15:00Z"})),
    ("a time between", group(dimensions={"modelId": MODEL, "datetimeFifteenMinutes": "2026-11-22T12:16:00Z"})),
    ("a time before", group(dimensions={"modelId": MODEL, "datetimeFifteenMinutes": "2026-11-22T11:45:00Z"})),
    ("the end itself", group(dimensions={"modelId": MODEL, "datetimeFifteenMinutes": "2026-11-22T13:00:00Z"})),
    ("no zone", group(dimensions={"modelId": MODEL, "datetimeFifteenMinutes": "2026-11-22T12:15:00"})),
    ("no dimensions", group(dimensions=None)),
    ("a count as text", group(count="3")),
    ("a negative count", group(count=-1)),
    ("a true count", group(count=True)),
    ("neurons as text", group(sum={"totalNeurons": "12"})),
    ("negative neurons", group(sum={"totalNeurons": -0.01})),
    ("no neurons", group(sum={})),
    ("null neurons", group(sum={"totalNeurons": None})),
    ("true neurons", group(sum={"totalNeurons": True})),
    ("too many neurons", group(sum={"totalNeurons": 1e14})),
    ("a number", 7),
    ("null", None),
]


@pytest.mark.parametrize("strange", [one for _, one in STRANGE], ids=[name for name, _ in STRANGE])
def test_one_strange_figure_spoils_the_answer(strange: object) -> None:
    assert no_figures(read_billed(reply([group(), strange]), SPAN)).kind == "unreadable"


def test_a_quarter_that_stands_twice_spoils_the_answer() -> None:
    assert "twice" in no_figures(read_billed(reply([group(), group()]), SPAN)).message


def test_a_list_that_may_have_been_cut_is_not_taken_for_the_whole() -> None:
    assert "may be more" in no_figures(read_billed(reply([group()] * 10_000), SPAN)).message


ENDLESS = json.dumps({"data": {"viewer": {"accounts": [{analytics.NODE: [group()]}]}}}).replace(
    "11250.0", "1e999999999"
)
BODIES = (b"", b"null", b"[]", b"7", b'{"data": null}', b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000, b"9" * 5000)


@pytest.mark.parametrize(
    "body",
    [*BODIES, b'{"data": NaN}', b'{"data": {"viewer": {"accounts": {"0": 1}}}}', b"\x1f\x8b\x08gzip", ENDLESS.encode()],
)
def test_no_body_makes_it_raise(body: bytes) -> None:
    assert no_figures(read_billed(reply(body=body), SPAN)).kind == "unreadable"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=200)
@given(st.lists(_JSON, max_size=3), st.sampled_from(["groups", "group", "data", "errors"]))
def test_no_json_makes_it_raise(values: list[Any], where: str) -> None:
    found = {
        "groups": reply(values),
        "group": reply([group(**dict(zip(group(), values, strict=False)))]),
        "data": reply(data=values),
        "errors": reply([], errors=values),
    }[where]
    assert isinstance(read_billed(found, SPAN), tuple | NoFigures)


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator(SimulatorSettings(latency_s=0, paint="plain"), in_thread=True) as simulator:
        yield simulator


class TestAgainstTheSimulator:
    """The client's side was written from CLOUDFLARE.md, and so was the simulator's: here they meet."""

    @staticmethod
    async def ask(simulator: Simulator, **changes: str) -> analytics.Figures:
        now = datetime.now(UTC)
        since = now.replace(minute=0, second=0, microsecond=0)
        given = {"account_id": simulator.account, "base_url": simulator.base_url, "token": simulator.token} | changes
        who = Credentials(given["account_id"], SecretStr(given["token"]), given["base_url"])
        async with Client(who, connections=1) as client:
            return await billed(client, who.account_id, Span([MODEL], since, since + timedelta(hours=2)))

    async def test_they_agree_to_the_hundredth(self, simulator: Simulator) -> None:
        simulator.reset()
        who = Credentials(simulator.account, SecretStr(simulator.token), simulator.base_url)
        async with Client(who, connections=1) as client:
            for steps in (1, 7, 7):
                await client.send(asked(width=272, height=304, steps=steps), [])
        found = await self.ask(simulator)
        assert isinstance(found, tuple)
        assert sum(one.actual.centineurons for one in found) == simulator.total_centineurons() > 0
        assert sum(one.count for one in found) == 3

    async def test_a_token_without_the_permission(self, simulator: Simulator) -> None:
        simulator.change(analytics=False)
        assert no_figures(await self.ask(simulator)).kind == "permission"
        simulator.change(analytics=True)
        assert no_figures(await self.ask(simulator, account_id="f" * 32)).kind == "permission"

    async def test_a_wrong_token(self, simulator: Simulator) -> None:
        found = no_figures(await self.ask(simulator, token="cfut_wrong"))
        assert found.kind == "token"
        assert "cfut_wrong" not in str(found)

    async def test_too_many_questions(self, simulator: Simulator) -> None:
        simulator.change(analytics_queries=0)
        assert no_figures(await self.ask(simulator)).kind == "rate"
        simulator.change(analytics_queries=300)


def test_an_account_id_cannot_break_out_of_the_query() -> None:
    text = json.loads(query_body('x"}) { budget } #', SPAN))["query"]
    assert '{accountTag: "x\\"}) { budget } #"}' in text
