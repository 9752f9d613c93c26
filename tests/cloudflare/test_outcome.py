"""What each answer means: every row of CLOUDFLARE.md sections 2, 3 and 5, and whatever else may come."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import get_args

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from fluxbatch.cloudflare.answer import picture_type
from fluxbatch.cloudflare.outcome import (
    MESSAGE_MAX,
    Broken,
    Delivered,
    Failed,
    Fatal,
    Invalid,
    Lost,
    NotSent,
    Outcome,
    Refused,
    Reply,
    Throttled,
    read_outcome,
    read_preflight,
)
from fluxbatch.cloudflare.redact import plain, redact
from fluxbatch.cloudflare.when import next_reset, retry_after_s
from fluxbatch.models.catalogue import FLUX_2_DEV
from fluxbatch.models.money import Money

NOW = datetime(2026, 11, 22, 18, 30, tzinfo=UTC)
JPEG = b"\xff\xd8\xff\xe0" + b"jpeg" * 30
PNG = b"\x89PNG\r\n\x1a\n" + b"png" * 30
WEBP = b"RIFF\x10\x00\x00\x00WEBPVP8 "
HTML_502 = (
    b"<!DOCTYPE html>\n<html><head>\n<title>api.cloudflare.com | 502: Bad gateway</title></head><body></body></html>"
)


def error_body(*errors: tuple[object, object], result: object = None) -> bytes:
    listed = [{"code": code, "message": message} for code, message in errors]
    return json.dumps({"errors": listed, "success": False, "result": result, "messages": []}).encode()


def picture_body(content: bytes, **more: object) -> bytes:
    answer = {"result": {"image": base64.b64encode(content).decode()}, "success": True, "errors": [], "messages": []}
    return json.dumps({**answer, **more}).encode()


def outcome_of(status: int, body: bytes = b"", **headers: str) -> Outcome:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_outcome(Reply(status, named, body, 1.0), NOW)


def error_of(status: int, code: object, message: str = "AiError: AiError: something (id)") -> Outcome:
    return outcome_of(status, error_body((code, message)))


# The error table, section 5

NOT_BILLED = [
    (429, 3021, "inference request per min rate reached", Throttled("rate")),
    (429, 3040, "No more data centers to forward the request to", Throttled("room")),
    (424, 4002, "could not route", Throttled("room")),
    (400, 5006, "required properties at '/' are 'multipart'", Invalid()),
    (400, 5004, "Invalid data type for base64 input", Invalid()),
    (400, 3003, "Request is missing headers or body", Invalid()),
    (413, 3006, "Request is too large", Invalid()),
    (400, 3030, "AiError: AiError: max width is 1920 (id)", Invalid()),
    (400, 3030, "AiError: too many input images (id)", Invalid()),
    (400, 3030, "AiError: height must be at least 256 (id)", Invalid()),
    (400, 8007, "Input prompt contains NSFW content", Refused("no")),
    (400, 3030, "AiError: Input prompt contains NSFW content (id)", Refused("no")),
    (400, 3030, "AiError: AiError: Your prompt was flagged (id)", Refused("no")),
    (400, 3030, "AiError: The input image has been flagged (id)", Refused("no")),
]
FATAL = [
    (400, 7000, "No route for that URI", "model"),
    (404, 7000, "No route for that URI", "model"),
    (400, 5007, "No such model", "model"),
    (404, 3042, "The model name is invalid", "model"),
    (404, 7003, "Could not route to /accounts/x", "account"),
    (401, 10000, "Authentication error", "token"),
    (403, 10000, "Authentication error", "token"),
    (400, 6003, "Invalid request headers", "token"),
    (403, 5018, "The account is not allowed to access this model", "model"),
    (403, 3041, "The account is not allowed to access this model", "model"),
    (403, 5016, "User has not agreed to the model terms", "model"),
    (403, 5035, "not allowed", "model"),
    (403, 3023, "Service unavailable for account", "account"),
    (405, 7001, "Method not allowed", "method"),
    (405, 5019, "deprecated SDK version", "method"),
    (405, 5005, "does not support LoRA inference", "method"),
    (429, 3036, "You have used up your daily free allocation of 10,000 neurons", "allocation"),
    (429, 4006, "you have used up your daily free allocation", "allocation"),
]
PERHAPS_BILLED = [
    (408, 3046, "AiError: AiError: Request timeout (id)", Failed()),
    (408, 3007, "Request timeout", Failed()),
    (408, 3008, "Request was aborted", Failed()),
    (500, 3043, "Internal server error", Failed()),
    (500, 8004, "Internal server error", Failed()),
    (500, 4007, "Internal server error", Failed()),
    (200, 3043, "Internal server error", Failed()),
    (200, 8004, "Internal server error", Failed()),
    (200, 4007, "Internal server error", Failed()),
    (400, 3030, "AiError: AiError: Internal Server Error (id)", Failed()),
    (400, 3030, "AiError: Internal Server Error: the prompt was flagged (id)", Failed()),
    (400, 3030, "AiError: Internal Server Error: max width (id)", Failed()),
    (400, 3030, "AiError: something nobody has seen before (id)", Failed()),
    (400, 3030, "AiError: Output was flagged as NSFW (id)", Refused("perhaps")),
    (
        400,
        3030,
        "AiError: your output was flagged. Choose another prompt / input image combination",
        Refused("perhaps"),
    ),
    (400, 3030, "AiError: The request was flagged; please choose another prompt", Refused("perhaps")),
    (400, 3030, "AiError: flagged. The prompt was fine, the output was flagged (id)", Refused("perhaps")),
    (400, 3030, "AiError: the image generated from this prompt was flagged", Refused("perhaps")),
    # A code that is free elsewhere does not make a server error free.
    (500, 7000, "AI Gateway refuses multipart", Failed()),
    (503, 3040, "no capacity", Failed()),
    (500, 10000, "Authentication error", Failed()),
    (408, 5006, "bad input", Failed()),
    (200, 3040, "no capacity", Failed()),
    (400, 9999, "a code that nobody has published", Failed()),
    (418, 9999, "a status that nobody has published", Failed()),
    (302, 9999, "moved", Failed()),
]


@pytest.mark.parametrize(("status", "code", "message", "expected"), NOT_BILLED + PERHAPS_BILLED)
def test_error_table(status: int, code: int, message: str, expected: Outcome) -> None:
    outcome = error_of(status, code, message)
    assert type(outcome) is type(expected)
    assert outcome.code == str(code)
    assert outcome.billed == expected.billed
    assert getattr(outcome, "reason", None) == getattr(expected, "reason", None)
    assert message[:40] in outcome.message


@pytest.mark.parametrize(("status", "code", "message", "kind"), FATAL)
def test_what_stops_the_run(status: int, code: int, message: str, kind: str) -> None:
    outcome = error_of(status, code, message)
    assert isinstance(outcome, Fatal)
    assert (outcome.kind, outcome.code, outcome.billed) == (kind, str(code), "no")
    assert len(outcome.remedy) > 20


@pytest.mark.parametrize(("status", "code", "message", "expected"), PERHAPS_BILLED)
def test_what_may_be_billed_is_never_said_to_be_free(status: int, code: int, message: str, expected: Outcome) -> None:
    assert error_of(status, code, message).billed == "perhaps"


@pytest.mark.parametrize(("status", "code", "message", "expected"), [r for r in PERHAPS_BILLED if r[1] != 9999])
def test_of_several_errors_the_one_that_may_be_billed_is_heard(
    status: int, code: int, message: str, expected: Outcome
) -> None:
    outcome = outcome_of(status, error_body((1, "?"), (10000, "Authentication error"), (code, message)))
    assert outcome.billed == "perhaps"


def test_of_several_errors_one_that_is_known_is_heard_before_one_that_is_not() -> None:
    assert outcome_of(400, error_body((1, "?"), (5006, "bad input"))) == Invalid(code="5006", message="bad input")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (429, Throttled("room")),
        (424, Throttled("room")),
        (403, Throttled("room")),
        (413, Invalid()),
        (408, Failed()),
        (500, Failed()),
        (502, Failed()),
        (520, Failed()),
        (400, Failed()),
        (418, Failed()),
        (307, Failed()),
        (199, Failed()),
        (999, Failed()),
    ],
)
@pytest.mark.parametrize("body", [HTML_502, b"", b"error code: 1015", b"\xff\xfe", b"[" * 100_000])
def test_an_answer_of_the_edge_is_read_by_its_status(status: int, expected: Outcome, body: bytes) -> None:
    outcome = outcome_of(status, body)
    assert type(outcome) is type(expected)
    assert outcome.code == f"http {status}"
    assert outcome.message


@pytest.mark.parametrize(("status", "kind"), [(401, "token"), (402, "balance"), (404, "account"), (405, "method")])
def test_a_bare_status_that_stops_the_run(status: int, kind: str) -> None:
    outcome = outcome_of(status, b"nope")
    assert isinstance(outcome, Fatal)
    assert outcome.kind == kind


def test_a_403_in_cloudflares_shape_is_about_the_token_whatever_its_code() -> None:
    assert isinstance(error_of(403, 9109, "Unauthorized to access requested resource"), Fatal)


@pytest.mark.parametrize("body", [b"daily free allocation is used up", error_body((None, "Daily Free Allocation"))])
def test_a_bare_429_that_names_the_allocation_stops_the_run(body: bytes) -> None:
    outcome = outcome_of(429, body)
    assert isinstance(outcome, Fatal)
    assert outcome.kind == "allocation"


def test_only_a_429_is_searched_for_the_allocation() -> None:
    assert isinstance(error_of(400, 5006, "bad prompt: 'daily free allocation'"), Invalid)


@pytest.mark.parametrize("text", ["Input prompt contains NSFW content", "prompt must not be empty"])
def test_only_cloudflares_own_shape_is_believed_about_the_row(text: str) -> None:
    assert isinstance(outcome_of(400, text.encode()), Failed)
    assert isinstance(error_of(400, 9999, text), Refused | Invalid)


def test_the_allocation_says_when_it_resets() -> None:
    outcome = error_of(429, 3036)
    assert isinstance(outcome, Fatal)
    assert "2026-11-23 00:00 UTC (in 5 h 30 min)" in outcome.remedy


def test_the_reset_is_counted_in_utc_and_lies_ahead() -> None:
    assert next_reset(datetime(2026, 11, 23, tzinfo=UTC)) == datetime(2026, 11, 24, tzinfo=UTC)
    tokyo = timezone(timedelta(hours=9))
    assert next_reset(datetime(2026, 1, 1, 8, 59, tzinfo=tokyo)) == datetime(2026, 1, 1, tzinfo=UTC)


def test_no_answer() -> None:
    lost = read_outcome(Broken("lost", "ServerDisconnectedError\n" + "cfut_secret", 1.0), NOW)
    assert lost == Lost(message="ServerDisconnectedError\\n[redacted]")
    not_sent = read_outcome(Broken("not_sent", "refused", 1.0), NOW)
    assert not_sent == NotSent(message="refused")
    assert (lost.billed, not_sent.billed) == ("perhaps", "no")


def test_a_timeout_says_what_may_help() -> None:
    assert error_of(408, 3046).message.endswith("fewer steps or pixels may help")


# Success


@pytest.mark.parametrize("content", [JPEG, PNG, WEBP])
def test_a_picture_is_delivered_with_its_charge(content: bytes) -> None:
    outcome = outcome_of(200, picture_body(content), cf_ai_neurons="206.06", cf_ai_req_id="req-1", cf_ray="ray-1")
    assert outcome == Delivered(content, Money(20606 * 110, 20606), request_id="req-1")


@pytest.mark.parametrize("content", [JPEG, PNG, WEBP])
def test_raw_picture_bytes_are_delivered_whatever_their_content_type(content: bytes) -> None:
    outcome = outcome_of(200, content, content_type="application/json", cf_ray="ray-1")
    assert outcome == Delivered(content, None, request_id="ray-1")


@pytest.mark.parametrize("header", ["", "free", "-1", "NaN", "1e3", "1,000", "1.0, 2.0", "9" * 40, "1_0"])
def test_a_charge_that_cannot_be_read_is_no_charge(header: str) -> None:
    outcome = outcome_of(200, picture_body(JPEG), cf_ai_neurons=header)
    assert isinstance(outcome, Delivered)
    assert outcome.charge is None


def test_a_data_address_is_tolerated() -> None:
    image = "data:image/jpeg;base64," + base64.b64encode(JPEG).decode()
    outcome = outcome_of(200, picture_body(JPEG, result={"image": image}))
    assert isinstance(outcome, Delivered)
    assert outcome.content == JPEG


ENCODED = base64.b64encode(JPEG).decode()
UNREADABLE = {
    "empty": b"",
    "html": HTML_502,
    "truncated": picture_body(JPEG)[:60],
    "not UTF-8": b'{"result":"\xff"}',
    "UTF-16": picture_body(JPEG).decode().encode("utf-16"),
    "100,000 brackets": b"[" * 100_000,
    "100,000 nested objects": b'{"a":' * 100_000,
    "NaN": b'{"success":true,"result":{"image":NaN}}',
    "NaN beside a picture": b'{"x":NaN,' + picture_body(JPEG)[1:],
    "an int of 5,000 digits": b'{"x":' + b"9" * 5000 + b"," + picture_body(JPEG)[1:],
    "result twice": b'{"result":{},' + picture_body(JPEG)[1:],
    "image twice": json.dumps({"result": {"image": ENCODED}}).replace('{"image"', '{"image":"","image"').encode(),
    "a list": b"[1,2]",
    "a string": b'"' + ENCODED.encode() + b'"',
    "no result": b'{"success":true}',
    "result is null": b'{"success":true,"result":null}',
    "result is a list": b'{"success":true,"result":[]}',
    "result is the picture": picture_body(JPEG, result=ENCODED),
    "image is null": picture_body(JPEG, result={"image": None}),
    "image is a number": picture_body(JPEG, result={"image": 17}),
    "image is a list": picture_body(JPEG, result={"image": [ENCODED]}),
    "image is empty": picture_body(JPEG, result={"image": ""}),
    "image is a lone surrogate": b'{"success":true,"result":{"image":"\\ud800"}}',
    "a bad character instead": picture_body(JPEG, result={"image": ENCODED[:-8] + "*" + ENCODED[-7:]}),
    "a bad character more": picture_body(JPEG, result={"image": ENCODED[:-8] + "*" + ENCODED[-8:]}),
    "a line break": picture_body(JPEG, result={"image": ENCODED[:-8] + "\n" + ENCODED[-8:]}),
    "base64 cut off": picture_body(JPEG, result={"image": ENCODED[:-3]}),
    "base64 of text": picture_body(b"this is not a picture"),
    "base64 of a GIF": picture_body(b"GIF89a......."),
    "base64 of nothing": picture_body(JPEG, result={"image": "===="}),
    "success false beside a picture": picture_body(JPEG, success=False),
    "success null": picture_body(JPEG, success=None),
    "a GIF": b"GIF89a.......",
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_success_without_a_readable_picture_has_failed(name: str) -> None:
    outcome = outcome_of(200, UNREADABLE[name], cf_ai_neurons="37.50", cf_ai_req_id="req-1")
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.request_id, outcome.billed) == ("http 200", "req-1", "perhaps")
    assert outcome.message
    assert len(outcome.message) <= MESSAGE_MAX


def test_what_is_no_picture_is_named() -> None:
    assert "a GIF" in outcome_of(200, UNREADABLE["base64 of a GIF"]).message
    assert "HTML" in outcome_of(200, HTML_502).message
    assert "nested too deeply" in outcome_of(200, UNREADABLE["100,000 brackets"]).message


@pytest.mark.parametrize("encoding", ["gzip", "br", "GZIP", "identity, gzip"])
def test_an_encoded_success_has_failed(encoding: str) -> None:
    assert isinstance(outcome_of(200, picture_body(JPEG), content_encoding=encoding), Failed)
    assert isinstance(outcome_of(200, picture_body(JPEG), content_encoding="identity"), Delivered)


def test_an_encoded_error_is_read_by_its_status() -> None:
    assert isinstance(outcome_of(429, b"\x1f\x8b...", content_encoding="gzip"), Throttled)


def test_an_oversized_answer_is_read_by_its_status() -> None:
    assert isinstance(read_outcome(Reply(200, {}, b"", 1.0, oversized=True), NOW), Failed)
    assert isinstance(read_outcome(Reply(429, {}, b"", 1.0, oversized=True), NOW), Throttled)


def test_a_picture_larger_than_any_asked_for_has_failed() -> None:
    assert isinstance(outcome_of(200, JPEG + bytes(32 * 1024 * 1024)), Failed)
    assert isinstance(outcome_of(200, picture_body(JPEG + bytes(32 * 1024 * 1024))), Failed)


# Text from outside


def test_messages_are_redacted_escaped_and_short() -> None:
    outcome = error_of(400, 5006, "bad \x1b[31m token cfut_abcDEF123 \u202e \ud800 " + "x" * 1000)
    assert outcome.message.startswith("bad \\x1b[31m token [redacted] \\u202e \\ud800 xxx")
    assert len(outcome.message) == MESSAGE_MAX
    outcome.message.encode("utf-8")


def test_a_request_id_from_outside_is_made_fit() -> None:
    outcome = outcome_of(500, b"", cf_ai_req_id="a\x1b[2J" + "b" * 500)
    assert outcome.request_id is not None
    assert outcome.request_id.startswith("a\\x1b[2Jbbb")
    assert len(outcome.request_id) <= 100


@pytest.mark.parametrize("code", [True, 3.5, None, "x", -1, 10**12, [3040], "9" * 40])
def test_a_code_that_is_no_code_leaves_the_status(code: object) -> None:
    outcome = error_of(429, code)
    assert isinstance(outcome, Throttled)
    assert outcome.code == "http 429"


def test_a_code_as_text_is_a_code() -> None:
    assert error_of(429, "3021") == Throttled("rate", code="3021", message="AiError: AiError: something (id)")


@pytest.mark.parametrize("errors", [[], None, {}, "x", [None], [1, "x"], [{"code": {}}], [[]]])
def test_errors_of_any_shape_are_survived(errors: object) -> None:
    body = json.dumps({"success": False, "errors": errors}).encode()
    assert isinstance(outcome_of(429, body), Throttled)
    assert isinstance(outcome_of(400, body), Failed)
    assert isinstance(outcome_of(200, body), Failed)


# Retry-After


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        ("17", 17.0),
        (" 2.5 ", 2.5),
        ("999999", 3600.0),
        ("9" * 400, None),
        ("-5", None),
        ("soon", None),
        ("inf", None),
        ("nan", None),
        ("1e3", None),
        ("٣", None),
        ("Sun, 22 Nov 2026 18:30:30 GMT", 30.0),
        ("Sun, 22 Nov 2026 18:30:30 -0000", 30.0),
        ("Sun, 22 Nov 2026 18:29:30 GMT", None),
        ("Fri, 01 Jan 2027 00:00:00 GMT", 3600.0),
        ("Sun, 99 Nov 2026 18:30:30 GMT", None),
        ("Sun, 99999999999999999999 Nov 2026 18:30:30 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 -9999", None),
    ],
)
def test_retry_after(text: str | None, seconds: float | None) -> None:
    assert retry_after_s(text, NOW) == seconds


def test_throttled_carries_the_wait() -> None:
    assert outcome_of(429, error_body((3040, "full")), retry_after="7") == Throttled(
        "room", 7.0, code="3040", message="full"
    )


# The preflight


def listing(*names: object) -> Reply:
    return Reply(200, {}, json.dumps({"success": True, "result": [{"name": n} for n in names]}).encode(), 0.1)


def test_preflight_finds_the_model() -> None:
    assert read_preflight(listing("@cf/x/y", FLUX_2_DEV.id), FLUX_2_DEV, NOW) is None
    assert read_preflight(Reply(200, {}, b'{"result":[{"id":"1"}]}', 0.1), FLUX_2_DEV, NOW) is None


@pytest.mark.parametrize("names", [(), ("@cf/x/flux-2-dev-lora",)])
def test_preflight_misses_the_model(names: tuple[str, ...]) -> None:
    outcome = read_preflight(listing(*names), FLUX_2_DEV, NOW)
    assert isinstance(outcome, Fatal)
    assert outcome.kind == "model"
    assert FLUX_2_DEV.id in outcome.message


@pytest.mark.parametrize("body", [b"", HTML_502, b"[]", b'{"result":{}}', b"[" * 100_000])
def test_preflight_that_cannot_be_read_has_failed(body: bytes) -> None:
    assert isinstance(read_preflight(Reply(200, {}, body, 0.1), FLUX_2_DEV, NOW), Failed)


# Whatever comes

known = st.sampled_from([row[:3] for row in NOT_BILLED + PERHAPS_BILLED + FATAL])
codes = st.one_of(known.map(lambda row: row[1]), st.integers(), st.text(max_size=6))
messages = st.one_of(known.map(lambda row: row[2]), st.text(max_size=80))
junk = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.lists(st.integers()))
encoded = st.one_of(st.sampled_from([JPEG, PNG, WEBP]), st.binary(max_size=60)).map(
    lambda content: base64.b64encode(content).decode()
)
answers = st.fixed_dictionaries(
    {},
    optional={
        "result": st.one_of(st.fixed_dictionaries({"image": st.one_of(encoded, junk)}), junk),
        "success": st.one_of(st.booleans(), junk),
        "errors": st.one_of(st.lists(st.fixed_dictionaries({"code": codes, "message": messages}), max_size=3), junk),
    },
)
starts = st.sampled_from([b"", JPEG[:3], PNG[:8], b"RIFF....WEBP", b"{", b"<html>"])
bodies = st.one_of(
    st.binary(max_size=200),
    st.builds(bytes.__add__, starts, st.binary(max_size=60)),
    st.builds(lambda answer, cut: json.dumps(answer).encode()[:cut], answers, st.integers(0, 300)),
)
exchanges = st.one_of(
    known.map(lambda row: (row[0], error_body(row[1:]))),
    st.tuples(st.just(200), encoded.map(lambda image: json.dumps({"result": {"image": image}}).encode())),
    st.tuples(st.one_of(st.integers(-5, 1000), st.sampled_from([200, 400, 403, 408, 429, 500])), bodies),
)
headers = st.dictionaries(
    st.sampled_from(["cf-ai-neurons", "cf-ai-req-id", "cf-ray", "retry-after", "content-encoding", "content-type"]),
    st.one_of(
        st.text(max_size=60), st.sampled_from(["gzip", "identity", "37.50", "120", "Sun, 06 Nov 1994 08:49:37 GMT"])
    ),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # other work on the machine is no failure
@given(exchanges, headers)
def test_any_answer_has_a_meaning_that_keeps_the_money_safe(exchange: tuple[int, bytes], named: dict[str, str]) -> None:
    status, body = exchange
    outcome = read_outcome(Reply(status, named, body, 1.0), NOW)
    event(type(outcome).__name__)
    assert isinstance(outcome, get_args(Outcome))
    if isinstance(outcome, Delivered):
        assert 200 <= status < 300
        assert picture_type(outcome.content) is not None
    if outcome.billed == "no":
        assert 400 <= status < 500
        assert status != 408
    for text in (outcome.message, outcome.request_id or "", outcome.code or ""):
        assert plain(text, MESSAGE_MAX) == text
        assert redact(text) == text


@given(st.text(max_size=60))
def test_any_retry_after_is_none_or_within_the_hour(text: str) -> None:
    seconds = retry_after_s(text, NOW)
    assert seconds is None or 0 <= seconds <= 3600
