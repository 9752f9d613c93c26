"""Every row of CLOUDFLARE.md section 5, and the answers that no table announces."""

from __future__ import annotations

import gzip
import json
from base64 import b64decode
from binascii import Error as Base64Error

import pytest
from PIL import UnidentifiedImageError  # noqa: TID251 - tests look at its pictures

from fluxbatch.errors import UsageError
from fluxbatch.simulator.faults import FAULTS, Kind, find_fault
from tests.simulator.simulator_kit import FORM_HEADERS, MODEL, RUN, Client, picture, picture_bytes, wanted

MODEL_ERRORS = [
    ("3021", 429, 3021, "inference request per min rate reached"),
    ("3040", 429, 3040, "apacity"),
    ("4002", 424, 4002, "route"),
    ("3036", 429, 3036, "daily free allocation"),
    ("4006", 429, 4006, "daily free allocation"),
    ("3046", 408, 3046, "Request timeout"),
    ("3007", 408, 3007, ""),
    ("3008", 408, 3008, "aborted"),
    ("3043", 500, 3043, ""),
    ("500", 500, 3043, ""),
    ("8004", 500, 8004, ""),
    ("4007", 500, 4007, ""),
    ("false-200", 200, 8004, ""),
    ("3030-flagged", 400, 3030, "flagged"),
    ("3030-nsfw", 400, 3030, "NSFW"),
    ("3030-width", 400, 3030, "max width"),
    ("3030-references", 400, 3030, "too many input images"),
    ("3030-internal", 400, 3030, "Internal Server Error"),
    ("8007", 400, 8007, "Input prompt contains NSFW content"),
    ("5006", 400, 5006, ""),
    ("5004", 400, 5004, ""),
    ("3003", 400, 3003, ""),
    ("3006", 413, 3006, "too large"),
    ("5007", 400, 5007, ""),
    ("3042", 404, 3042, ""),
    ("5018", 403, 5018, ""),
    ("3041", 403, 3041, ""),
    ("5016", 403, 5016, ""),
    ("3023", 403, 3023, ""),
    ("5035", 403, 5035, ""),
    ("5019", 405, 5019, ""),
    ("5005", 405, 5005, "LoRA"),
]
ROUTING_ERRORS = [
    ("7000", 400, 7000),
    ("7003", 404, 7003),
    ("10000", 401, 10000),
    ("10000-permission", 403, 10000),
    ("7001", 405, 7001),
]


@pytest.mark.parametrize(("name", "status", "code", "words"), MODEL_ERRORS)
async def test_a_model_error_has_an_empty_result_and_ends_in_the_request_id(
    client: Client, name: str, status: int, code: int, words: str
) -> None:
    answer = await client.ask(f"a fox [[fault:{name}]]")
    body = answer.json()
    assert (answer.status_code, body["success"], body["result"], body["messages"]) == (status, False, {}, [])
    [error] = body["errors"]
    assert error["code"] == code
    assert error["message"].startswith("AiError: AiError: ")
    assert error["message"].endswith(f"({answer.headers['cf-ai-req-id']})")
    assert words in error["message"]
    assert "cf-ai-neurons" not in answer.headers
    assert "cf-ray" in answer.headers
    assert "retry-after" not in answer.headers
    assert client.charged == 0


@pytest.mark.parametrize(("name", "status", "code"), ROUTING_ERRORS)
async def test_a_routing_error_has_a_null_result(client: Client, name: str, status: int, code: int) -> None:
    answer = await client.ask(f"a fox [[fault:{name}]]")
    body = answer.json()
    assert (answer.status_code, body["success"], body["result"]) == (status, False, None)
    assert [error["code"] for error in body["errors"]] == [code]
    assert client.charged == 0


def test_every_error_of_the_table_is_tried_above() -> None:
    tried = {row[0] for row in MODEL_ERRORS} | {row[0] for row in ROUTING_ERRORS}
    errors = {name for name, fault in FAULTS.items() if fault.kind in (Kind.ERROR, Kind.FALSE_SUCCESS)}
    assert errors - tried == {"402", "3021-retry-after", "3040-retry-after"}


async def test_no_balance_has_a_status_and_no_code(client: Client) -> None:
    answer = await client.ask("[[fault:402]]")
    assert (answer.status_code, answer.json()["errors"]) == (402, [])


@pytest.mark.parametrize("name", ["3021-retry-after", "3040-retry-after"])
async def test_a_refusal_can_say_when_to_come_back(client: Client, name: str) -> None:
    answer = await client.ask(f"[[fault:{name}]]")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")


@pytest.mark.parametrize(
    ("name", "status", "kind", "start"),
    [
        ("502", 502, "text/html", "<html>"),
        ("503", 503, "text/html", "<html>"),
        ("403", 403, "text/plain", "error code"),
    ],
)
async def test_the_edge_answers_without_json(client: Client, name: str, status: int, kind: str, start: str) -> None:
    answer = await client.ask(f"[[fault:{name}]]")
    assert (answer.status_code, answer.headers["content-type"]) == (status, kind)
    assert answer.text.startswith(start)
    assert client.charged == 0


async def test_half_of_the_json_is_billed_and_cannot_be_read(client: Client) -> None:
    answer = await client.ask("[[fault:truncated-json]]")
    assert answer.headers["content-length"] == str(len(answer.content))
    with pytest.raises(ValueError, match="Unterminated"):
        json.loads(answer.content)
    assert client.charged == 3750


async def test_bad_base64_is_billed_and_refused_by_a_strict_decoder(client: Client) -> None:
    answer = await client.ask("[[fault:bad-base64]]")
    with pytest.raises(Base64Error):
        b64decode(answer.json()["result"]["image"], validate=True)
    assert client.charged == 3750


async def test_something_that_is_no_picture_is_good_base64(client: Client) -> None:
    answer = await client.ask("[[fault:no-picture]]")
    with pytest.raises(UnidentifiedImageError):
        picture(answer)
    assert client.charged == 3750


async def test_half_a_jpeg_begins_well_and_does_not_decode(client: Client) -> None:
    answer = await client.ask("[[fault:cut-picture]]")
    assert picture_bytes(answer).startswith(b"\xff\xd8\xff")
    with pytest.raises(OSError, match="truncated"):
        picture(answer)
    assert client.charged == 3750


async def test_a_blank_picture_has_one_colour(client: Client) -> None:
    assert picture(await client.ask("[[fault:blank]]")).getextrema() == ((0, 0), (0, 0), (0, 0))


async def test_a_picture_can_have_the_wrong_size_or_format(client: Client) -> None:
    assert picture(await client.ask("[[fault:wrong-size]]")).size == (128, 128)
    assert picture(await client.ask("[[fault:png]]")).format == "PNG"
    assert client.charged == 2 * 3750


async def test_a_charge_can_go_unsaid(client: Client) -> None:
    answer = await client.ask("[[fault:no-header]]")
    assert picture(answer).size == (256, 256)
    assert "cf-ai-neurons" not in answer.headers
    assert client.charged == 3750


async def test_an_answer_can_be_compressed_though_nobody_asked(client: Client) -> None:
    async with client.http.stream("POST", RUN, content=wanted("[[fault:gzip]]"), headers=FORM_HEADERS) as answer:
        raw = b"".join([chunk async for chunk in answer.aiter_raw()])
    assert answer.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(raw))["success"] is True
    assert client.charged == 3750


@pytest.mark.parametrize("name", ["500", "3046", "502", "3030-flagged", "false-200"])
async def test_a_failure_that_perhaps_bills_does_so_when_asked(client: Client, name: str) -> None:
    free, billed = await client.ask(f"[[fault:{name}]]"), await client.ask(f"[[fault:{name}+billed]]")
    assert free.status_code == billed.status_code
    assert "cf-ai-neurons" not in billed.headers
    assert [charge.request_id for charge in client.platform.bill.charges] == [billed.headers["cf-ai-req-id"]]


@pytest.mark.parametrize("name", ["3021+billed", "nonsense", "500+paid", "lost-before+billed"])
def test_a_fault_that_cannot_be_is_refused_by_name(name: str) -> None:
    with pytest.raises(UsageError, match=name.replace("+", r"\+")):
        find_fault(name)


async def test_an_unknown_marker_is_said_and_not_painted(client: Client) -> None:
    answer = await client.ask("[[fault:nonsense]]")
    assert answer.status_code == 400
    assert "knows no fault 'nonsense'" in answer.text
    assert client.charged == 0


async def test_an_unknown_model_account_or_token_is_refused_in_cloudflares_order(client: Client) -> None:
    elsewhere = f"/accounts/{'f' * 32}/ai/run/@cf/no/model"
    here = client.platform.settings.account
    for path, token, status, code in [
        (elsewhere, "wrong", 401, 10000),
        (elsewhere, "simulator", 404, 7003),
        (f"/accounts/{here}/ai/run/@cf/no/model", "simulator", 400, 5007),
        (f"/accounts/{here}/ai/run/flux-2-dev", "simulator", 400, 7000),
        (f"/accounts/{here}/ai/run/{MODEL}", "", 401, 10000),
    ]:
        answer = await client.run(path=path, Authorization=f"Bearer {token}")
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (status, code), path
    assert client.charged == 0


async def test_a_missing_token_a_wrong_method_and_a_wrong_address_are_refused(client: Client) -> None:
    path = f"/accounts/{client.platform.settings.account}/ai/run/{MODEL}"
    assert (await client.http.post(path)).status_code == 401
    assert (await client.http.get(path)).json()["errors"][0]["code"] == 7001
    assert (await client.http.post("/elsewhere")).json()["errors"][0]["code"] == 7000


async def test_a_body_that_is_too_large_is_refused_after_it_was_read(client: Client) -> None:
    client.platform.change('{"body_bytes_max": 1000}')
    answer = await client.ask("x" * 2000)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (413, 3006)
