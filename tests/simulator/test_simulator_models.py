"""Every model of the platform as CLOUDFLARE.md section 1 has it: its body, what it refuses and ignores, its answer."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import httpx  # noqa: TID251 - tests talk to the simulator with it
import pytest
from PIL import Image  # noqa: TID251 - tests look at its pictures

from fluxbatch.simulator import SIMULATOR_ACCOUNT_ID
from tests.simulator.simulator_kit import (
    AT_ONCE,
    AUTHORIZATION,
    FORM_HEADERS,
    PIXEL,
    Client,
    TimeTold,
    form,
    picture,
    settle,
)

DEV = "@cf/black-forest-labs/flux-2-dev"
KLEIN_4B, KLEIN_9B = "@cf/black-forest-labs/flux-2-klein-4b", "@cf/black-forest-labs/flux-2-klein-9b"
SCHNELL = "@cf/black-forest-labs/flux-1-schnell"
LUCID, PHOENIX = "@cf/leonardo/lucid-origin", "@cf/leonardo/phoenix-1.0"
LIGHTNING = "@cf/bytedance/stable-diffusion-xl-lightning"
SDXL = "@cf/stabilityai/stable-diffusion-xl-base-1.0"
DREAMSHAPER = "@cf/lykon/dreamshaper-8-lcm"
FORMS, STABLE = (DEV, KLEIN_4B, KLEIN_9B), (LIGHTNING, SDXL, DREAMSHAPER)
JSONS = (SCHNELL, LUCID, PHOENIX, *STABLE)
ALL = (*FORMS, *JSONS)
SIZE = {"width": 512, "height": 512}


async def ask(client: Client, model: str, fields: Mapping[str, Any]) -> httpx.Response:
    """In the model's own kind of body."""
    path = f"/accounts/{SIMULATOR_ACCOUNT_ID}/ai/run/{model}"
    if model in FORMS:
        return await client.http.post(path, content=form(fields), headers=FORM_HEADERS)
    return await client.http.post(path, json=fields, headers=AUTHORIZATION)


def code_of(answer: httpx.Response) -> tuple[int, int]:
    return answer.status_code, answer.json()["errors"][0]["code"]


@dataclass(frozen=True)
class Seen:
    """A charge that CLOUDFLARE.md names, in neurons as the header has them."""

    model: str
    fields: Mapping[str, Any]
    neurons: str


PIXELS_4 = {f"input_image_{index}": PIXEL for index in range(4)}
SEEN = [
    Seen(DEV, {"width": 512, "height": 512, "steps": 25}, "937.50"),
    Seen(DEV, {"width": 1024, "height": 768, "steps": 25}, "2812.50"),
    Seen(DEV, {"width": 1024, "height": 1024, "steps": 25}, "3750.00"),
    Seen(DEV, {"width": 1024, "height": 1024, "steps": 25, "input_image_0": PIXEL}, "4218.75"),
    Seen(DEV, {"width": 1024, "height": 1024}, "7500.00"),
    Seen(KLEIN_4B, {"width": 1920, "height": 1080}, "206.06"),
    Seen(KLEIN_4B, {"width": 1920, "height": 1088}, "207.59"),
    Seen(KLEIN_4B, {"width": 1024, "height": 1024}, "104.20"),
    Seen(KLEIN_4B, {"width": 1024, "height": 1024, "input_image_0": PIXEL}, "109.57"),
    Seen(KLEIN_4B, {"width": 1024, "height": 1024, **PIXELS_4}, "125.68"),
    Seen(KLEIN_9B, {"width": 512, "height": 512}, "1363.64"),
    Seen(KLEIN_9B, {"width": 1024, "height": 1024}, "1363.64"),
    Seen(KLEIN_9B, {"width": 2048, "height": 1024}, "1545.46"),
    Seen(SCHNELL, {"steps": 4}, "172.80"),
    Seen(SCHNELL, {}, "172.80"),
    Seen(SCHNELL, {"steps": 8}, "326.40"),
    Seen(LUCID, {}, "3904.69"),
    Seen(LUCID, {"width": 1024, "height": 1024, "num_steps": 40}, "4464.00"),
    Seen(LIGHTNING, {"width": 1024, "height": 1024}, "0.00"),
    Seen(SDXL, {"width": 2048, "height": 2048, "num_steps": 20}, "0.00"),
    Seen(DREAMSHAPER, {"width": 512, "height": 512}, "0.00"),
]


@pytest.mark.parametrize("seen", SEEN, ids=lambda seen: f"{seen.model.rpartition('/')[2]} {seen.neurons}")
async def test_the_charge_is_what_the_contract_says(client: Client, seen: Seen) -> None:
    answer = await ask(client, seen.model, {"prompt": "a fox", **seen.fields})
    assert answer.headers["cf-ai-neurons"] == seen.neurons
    [charge] = client.platform.bill.charges
    assert (charge.model, charge.centineurons) == (seen.model, int(seen.neurons.replace(".", "")))


async def test_phoenix_is_charged_and_does_not_say_so(client: Client) -> None:
    answer = await ask(client, PHOENIX, {"prompt": "a fox"})
    assert "cf-ai-neurons" not in answer.headers
    assert client.charged == 312_000


@pytest.mark.parametrize("model", [DEV, KLEIN_4B, KLEIN_9B, SCHNELL, LUCID])
async def test_a_json_model_answers_with_a_base64_jpeg(client: Client, model: str) -> None:
    answer = await ask(client, model, {"prompt": "a fox"})
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"result", "success", "errors", "messages"}
    assert picture(answer).format == "JPEG"


@pytest.mark.parametrize("model", [PHOENIX, *STABLE])
async def test_a_binary_model_answers_with_a_bare_jpeg_whatever_its_header_says(client: Client, model: str) -> None:
    answer = await ask(client, model, {"prompt": "a fox", **SIZE})
    assert answer.headers["content-type"] == ("image/jpeg" if model == PHOENIX else "image/png")
    opened = Image.open(BytesIO(answer.content))
    opened.load()
    assert (opened.format, opened.size) == ("JPEG", (512, 512))


@pytest.mark.parametrize("model", ALL)
async def test_a_picture_can_come_in_the_other_form(client: Client, model: str) -> None:
    answer = await ask(client, model, {"prompt": "a fox [[fault:other-form]]"})
    bare = model not in (PHOENIX, *STABLE)
    content = answer.content if bare else b64decode(answer.json()["result"]["image"])
    assert Image.open(BytesIO(content)).format == "JPEG"


@pytest.mark.parametrize("model", JSONS)
@pytest.mark.parametrize(("fault", "starts"), [("cut-picture", b"\xff\xd8\xff"), ("false-200", b'{"errors"')])
async def test_a_spoilt_answer_is_spoilt_in_every_form(client: Client, model: str, fault: str, starts: bytes) -> None:
    answer = await ask(client, model, {"prompt": f"a fox [[fault:{fault}]]"})
    content = answer.content
    if fault == "cut-picture" and model in (SCHNELL, LUCID):
        content = b64decode(answer.json()["result"]["image"])
    assert content.startswith(starts)
    assert answer.status_code == 200


@pytest.mark.parametrize("model", FORMS)
async def test_json_to_a_form_model_is_refused(client: Client, model: str) -> None:
    path = f"/accounts/{SIMULATOR_ACCOUNT_ID}/ai/run/{model}"
    answer = await client.http.post(path, json={"prompt": "a fox"}, headers=AUTHORIZATION)
    assert code_of(answer) == (400, 5006)
    assert "multipart" in answer.text
    assert client.charged == 0


@pytest.mark.parametrize("model", JSONS)
@pytest.mark.parametrize("body", [form({"prompt": "a fox"}), b"prompt=a+fox", b"[]", b"\xff", b'{"prompt": "a fo', b""])
async def test_a_json_model_takes_nothing_but_a_json_object(client: Client, model: str, body: bytes) -> None:
    path = f"/accounts/{SIMULATOR_ACCOUNT_ID}/ai/run/{model}"
    headers = FORM_HEADERS if body.startswith(b"--") else AUTHORIZATION
    answer = await client.http.post(path, content=body, headers=headers)
    assert code_of(answer) == (400, 5006)
    assert client.charged == 0


@pytest.mark.parametrize("model", ALL)
async def test_a_missing_prompt_is_refused_by_every_model(client: Client, model: str) -> None:
    assert code_of(await ask(client, model, {"seed": 1} if model != SCHNELL else {})) == (400, 5006)


@pytest.mark.parametrize("key", ["width", "seed", "guidance", "num_steps", "negative_prompt"])
async def test_an_extra_key_is_refused_by_schnell(client: Client, key: str) -> None:
    answer = await ask(client, SCHNELL, {"prompt": "a fox", key: 1024})
    assert code_of(answer) == (400, 5006)
    assert key in answer.text


@pytest.mark.parametrize("model", [LUCID, PHOENIX, *STABLE])
async def test_an_unknown_key_is_ignored_by_the_other_json_models(client: Client, model: str) -> None:
    answer = await ask(client, model, {"prompt": "a fox", "steps": 99, "input_image_0": "?", **SIZE})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("model", "field", "value"),
    [
        (SCHNELL, "prompt", ""),
        (SCHNELL, "prompt", "x" * 2049),
        (SCHNELL, "steps", 9),
        (SCHNELL, "steps", 0),
        (SCHNELL, "steps", "4"),
        (SCHNELL, "steps", 4.0),
        (SCHNELL, "steps", True),
        (LUCID, "guidance", 10.5),
        (LUCID, "guidance", -1),
        (LUCID, "guidance", "4.5"),
        (LUCID, "width", 2501),
        (LUCID, "num_steps", 41),
        (LUCID, "seed", "1"),
        (PHOENIX, "guidance", 1.9),
        (PHOENIX, "guidance", 11),
        (PHOENIX, "height", 2049),
        (PHOENIX, "num_steps", 51),
        (PHOENIX, "negative_prompt", 7),
        *((model, "width", 255) for model in STABLE),
        *((model, "height", 2049) for model in STABLE),
        *((model, "num_steps", 21) for model in STABLE),
        *((model, "strength", 1.5) for model in STABLE),
    ],
)
async def test_what_is_out_of_range_is_refused(client: Client, model: str, field: str, value: object) -> None:
    answer = await ask(client, model, {"prompt": "a fox", field: value})
    assert code_of(answer) == (400, 5006)
    assert f"/{field}" in answer.text
    assert client.charged == 0


@pytest.mark.parametrize("image", ["no base64!", b64encode(b"no picture").decode()])
async def test_an_image_that_is_none_is_refused(client: Client, image: str) -> None:
    assert code_of(await ask(client, SDXL, {"prompt": "a fox", "image_b64": image})) == (400, 5004)


async def test_an_image_in_base64_is_a_reference(client: Client) -> None:
    answer = await ask(client, SDXL, {"prompt": "a fox", "image_b64": b64encode(PIXEL).decode(), "strength": 0.5})
    assert answer.status_code == 200
    assert [charge.references for charge in client.platform.bill.charges] == [1]


@pytest.mark.parametrize("model", FORMS)
async def test_a_fifth_image_is_refused_by_every_form_model(client: Client, model: str) -> None:
    answer = await ask(client, model, {"prompt": "a fox", **{f"input_image_{index}": PIXEL for index in range(5)}})
    assert code_of(answer) == (400, 3030)
    assert "too many input images" in answer.text


@pytest.mark.parametrize("model", [KLEIN_4B, KLEIN_9B])
@pytest.mark.parametrize("steps", [1, 25, 400, -3])
async def test_klein_ignores_steps_in_silence(client: Client, model: str, steps: int) -> None:
    plain = await ask(client, model, {"prompt": "a fox", **SIZE})
    with_steps = await ask(client, model, {"prompt": "a fox", **SIZE, "steps": steps})
    assert plain.headers["cf-ai-neurons"] == with_steps.headers["cf-ai-neurons"]
    assert [charge.steps for charge in client.platform.bill.charges] == [4, 4]


@pytest.mark.parametrize("model", [KLEIN_4B, KLEIN_9B])
async def test_klein_takes_sides_up_to_2048_and_cuts_them_to_sixteen(client: Client, model: str) -> None:
    assert picture(await ask(client, model, {"prompt": "a fox", "width": 2048, "height": 1087})).size == (2048, 1072)
    assert [charge.height for charge in client.platform.bill.charges] == [1087]
    answer = await ask(client, model, {"prompt": "a fox", "width": 2049})
    assert code_of(answer) == (400, 3030)
    assert "max width is 2048" in answer.text


async def test_schnell_is_always_1024_by_1024(client: Client) -> None:
    assert picture(await ask(client, SCHNELL, {"prompt": "a fox", "steps": 1})).size == (1024, 1024)


@pytest.mark.parametrize("model", ALL)
async def test_the_free_search_finds_every_model_by_its_name(client: Client, model: str) -> None:
    path = f"/accounts/{SIMULATOR_ACCOUNT_ID}/ai/models/search"
    answer = await client.http.get(path, params={"search": model.rpartition("/")[2]}, headers=AUTHORIZATION)
    assert [found["name"] for found in answer.json()["result"]] == [model]


async def test_a_model_can_be_down_while_another_is_not(open_client: Callable[..., Client]) -> None:
    client = open_client(replace(AT_ONCE, models={"flux-2-dev": {"faults": {"503": 1.0}}}))
    assert [(await ask(client, model, {"prompt": "a fox"})).status_code for model in (DEV, KLEIN_4B)] == [503, 200]
    client.platform.change(json.dumps({"models": {"flux-2-klein-4b": {"rate": 0}}}))
    assert [(await ask(client, model, {"prompt": "a fox"})).status_code for model in (DEV, KLEIN_4B)] == [200, 429]


async def test_a_models_own_capacity_and_rate_hold_beside_the_platforms(open_client: Callable[..., Client]) -> None:
    time = TimeTold()
    own = {"flux-2-dev": {"capacity": 1, "latency_s": 100}, "lucid-origin": {"rate": 1}}
    settings = replace(AT_ONCE, latency_s=10, latency_spread=0, capacity=3, models=own)
    client = open_client(settings, clock=time, sleep=time.sleep)
    asked = [asyncio.create_task(ask(client, model, {"prompt": "a fox"})) for model in (DEV, DEV, LUCID, LUCID)]
    await settle()
    assert [code_of(await asked[index]) for index in (1, 3)] == [(429, 3040), (429, 3021)]
    third = asyncio.create_task(ask(client, SDXL, {"prompt": "a fox"}))
    await settle()
    assert code_of(await ask(client, SDXL, {"prompt": "a hen"})) == (429, 3040), "three are in the making"
    await time.forward(10)
    assert [(await task).status_code for task in (asked[2], third)] == [200, 200]
    assert not asked[0].done()
    await time.forward(90)
    assert (await asked[0]).status_code == 200


async def test_models_take_as_long_as_was_seen_in_small(open_client: Callable[..., Client]) -> None:
    slept: list[float] = []

    async def note(seconds: float) -> None:
        slept.append(seconds)

    client = open_client(replace(AT_ONCE, seen_latency=0.01, latency_spread=0), sleep=note)
    for model in (DEV, KLEIN_4B, KLEIN_9B, SCHNELL, LUCID):
        await ask(client, model, {"prompt": "a fox"})
    spans = [(1.5, 2.35), (0.1, 0.31), (0.035, 0.04), (0.02, 0.02), (0.05, 0.05)]
    assert all(least <= seconds <= most for seconds, (least, most) in zip(slept, spans, strict=True)), slept


@pytest.mark.parametrize(("factor", "neurons"), [(1.0, "104.20"), (1.0101, "105.25"), (0.5, "52.10"), (0, "0.00")])
async def test_the_platform_can_charge_otherwise(
    open_client: Callable[..., Client], factor: float, neurons: str
) -> None:
    client = open_client(replace(AT_ONCE, models={"flux-2-klein-4b": {"price_factor": factor}}))
    answer = await ask(client, KLEIN_4B, {"prompt": "a fox", "width": 1024, "height": 1024})
    assert answer.headers["cf-ai-neurons"] == neurons
    assert client.charged == int(neurons.replace(".", ""))


async def test_what_came_is_told_as_it_came(client: Client) -> None:
    await ask(client, LUCID, {"prompt": "a fox", "num_steps": 15, "guidance": 4.5, "mood": None})
    await ask(client, DEV, {"prompt": "a hen", "steps": 4, "input_image_0": PIXEL})
    first, second = client.platform.traffic.bodies
    assert first == {
        "model": LUCID,
        "fields": {"prompt": "a fox", "num_steps": 15, "guidance": 4.5, "mood": None},
    }
    assert second["fields"].pop("input_image_0")["bytes"] == len(PIXEL)
    assert second == {"model": DEV, "fields": {"prompt": "a hen", "steps": "4"}}


async def test_the_analytics_tell_what_each_model_was_billed_also_where_the_answer_did_not(client: Client) -> None:
    for model in (KLEIN_4B, PHOENIX, SDXL, PHOENIX):
        await ask(client, model, {"prompt": "a fox", "width": 1024, "height": 1024})
    query = """{ viewer { accounts(filter: {accountTag: "ACCOUNT"}) { aiInferenceAdaptiveGroups(limit: 100,
        filter: {datetime_geq: "2000-01-01T00:00:00Z", datetime_lt: "2100-01-01T00:00:00Z"})
        { count dimensions { modelId } sum { totalNeurons totalInferenceSteps } } } } }"""
    body = {"query": query.replace("ACCOUNT", SIMULATOR_ACCOUNT_ID)}
    answer = (await client.http.post("/graphql", json=body, headers=AUTHORIZATION)).json()
    groups = answer["data"]["viewer"]["accounts"][0]["aiInferenceAdaptiveGroups"]
    told = {group["dimensions"]["modelId"]: (group["count"], *group["sum"].values()) for group in groups}
    assert told == {KLEIN_4B: (1, 104.2, 4), PHOENIX: (2, 6240.0, 50), SDXL: (1, 0.0, 20)}
