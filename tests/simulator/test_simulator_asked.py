"""What a body asks for: the strict form, the defaults, the ranges, the price and the size of what comes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxbatch.simulator.multipart import MalformedForm, parse_form
from tests.simulator.simulator_kit import (
    AUTHORIZATION,
    BOUNDARY,
    PIXEL,
    RUN,
    SMALL,
    Client,
    centineurons,
    form,
    picture,
    wanted,
)


@pytest.mark.parametrize(
    ("fields", "charge"),
    [
        ({"width": 512, "height": 512, "steps": 25}, 93750),
        ({"width": 1024, "height": 768, "steps": 25}, 281250),
        ({"width": 1024, "height": 1024, "steps": 25}, 375000),
        ({"steps": 25}, 281250),
        ({"width": 1024, "height": 1024}, 750000),
        ({"width": 512, "height": 512, "steps": 25, "input_image_0": PIXEL}, 93750 + 46875),
        ({"width": 512, "height": 512, "steps": 25} | {f"input_image_{i}": PIXEL for i in range(4)}, 93750 + 4 * 46875),
    ],
)
async def test_the_header_says_the_published_price(client: Client, fields: dict[str, object], charge: int) -> None:
    answer = await client.run(form({"prompt": "a fox"} | fields))
    assert centineurons(answer) == charge
    assert client.charged == charge
    [entry] = client.platform.bill.charges
    assert entry.references == sum(name.startswith("input_image") for name in fields)


async def test_the_default_is_four_by_three(client: Client) -> None:
    assert picture(await client.run(form({"prompt": "a fox", "steps": 1}))).size == (1024, 768)


async def test_sides_are_cut_to_sixteen_and_billed_uncut(client: Client) -> None:
    answer = await client.ask(width=1920, height=1080, steps=1)
    assert picture(answer).size == (1920, 1072)
    assert centineurons(answer) == 29663  # 37.5 x 1920 x 1080 / 262144 = 296.63
    assert client.platform.bill.charges[0].height == 1080


async def test_an_empty_prompt_is_accepted_and_billed(client: Client) -> None:
    assert picture(await client.ask("")).size == (256, 256)
    assert client.charged == 3750


async def test_a_json_body_is_refused_because_a_form_is_required(client: Client) -> None:
    answer = await client.http.post(RUN, json={"prompt": "a fox"}, headers=AUTHORIZATION)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, 5006)
    assert "multipart" in answer.text
    assert client.charged == 0


async def test_a_form_without_its_boundary_fails(client: Client) -> None:
    answer = await client.run(**{"Content-Type": "multipart/form-data"})
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, 3003)
    assert "boundary" in answer.text


async def test_unknown_fields_and_wrong_image_names_are_ignored_in_silence(client: Client) -> None:
    answer = await client.ask(stepz=50, num_steps=50, image_0=PIXEL, input_image=PIXEL, input_image_4=PIXEL)
    assert centineurons(answer) == 3750


async def test_a_fifth_image_is_refused(client: Client) -> None:
    answer = await client.ask(**{f"input_image_{index}": PIXEL for index in range(5)})
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, 3030)
    assert "too many input images" in answer.text
    assert client.charged == 0


@pytest.mark.parametrize(
    ("field", "value", "code", "words"),
    [
        ("width", 255, 3030, "min width"),
        ("height", 4000, 3030, "max height"),
        ("width", "wide", 5006, "/width"),
        ("width", "512.0", 5006, "/width"),
        ("steps", 0, 5006, "/steps"),
        ("steps", 51, 5006, "/steps"),
        ("guidance", "nan", 5006, "/guidance"),
        ("seed", "1.5", 5006, "/seed"),
        ("input_image_0", "no bytes", 5004, "picture"),
        ("input_image_0", b"no picture", 5004, "picture"),
    ],
)
async def test_what_is_out_of_range_is_refused_by_name(
    client: Client, field: str, value: object, code: int, words: str
) -> None:
    answer = await client.ask(**{field: value})
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, code)
    assert words in answer.text
    assert client.charged == 0


async def test_a_missing_prompt_is_refused(client: Client) -> None:
    answer = await client.run(form(SMALL))
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, 5006)


async def test_a_prompt_that_is_no_text_is_refused(client: Client) -> None:
    answer = await client.run(form({"prompt": b"\xff\xfe"} | SMALL))
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, 5006)


@pytest.mark.parametrize(("width", "height", "status"), [(1408, 2112, 200), (1536, 2304, 500), (1920, 1920, 200)])
async def test_print_sizes_do_what_was_seen(client: Client, width: int, height: int, status: int) -> None:
    assert (await client.ask(width=width, height=height, steps=1)).status_code == status


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"prompt=a+fox",
        wanted()[:-4],
        wanted() + b"more",
        b"\r\n" + wanted(),
        wanted().replace(b"form-data; ", b"attachment; "),
        wanted().replace(b' name="prompt"', b""),
        wanted().replace(b"\r\n", b"\n"),
        f"--{BOUNDARY}\r\nno headers\r\n--{BOUNDARY}--\r\n".encode(),
    ],
)
async def test_a_malformed_form_is_refused_and_not_guessed(client: Client, body: bytes) -> None:
    answer = await client.run(body)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, 3003)
    assert client.charged == 0


@given(st.dictionaries(st.from_regex(r"[a-z_0-9]{1,12}", fullmatch=True), st.one_of(st.text(), st.binary())))
def test_what_goes_into_a_form_comes_out_of_it(fields: dict[str, str | bytes]) -> None:
    parts = parse_form(f"multipart/form-data; boundary={BOUNDARY}".encode(), form(fields))
    sent = {name: value if isinstance(value, bytes) else value.encode() for name, value in fields.items()}
    assert {part.name: part.content for part in parts} == sent
    assert {part.name for part in parts if part.is_file} == {n for n, v in fields.items() if isinstance(v, bytes)}


@given(st.binary(max_size=200))
def test_garbage_is_a_malformed_form_and_nothing_else(garbage: bytes) -> None:
    with pytest.raises(MalformedForm):
        parse_form(b'multipart/form-data; boundary="simulator-test"', garbage)


async def test_the_forms_of_two_http_libraries_are_understood(client: Client) -> None:
    import aiohttp

    answer = await client.http.post(
        RUN, files={"prompt": (None, "ein Fuchs, ä"), "input_image_0": ("a.png", PIXEL)} | _no_files(SMALL),
        headers=AUTHORIZATION,
    )  # fmt: skip
    assert answer.status_code == 200
    writer = aiohttp.FormData({"prompt": "ein Fuchs, ä"} | {k: str(v) for k, v in SMALL.items()})
    writer.add_field("input_image_0", PIXEL, filename="a.png")
    payload = writer()
    answer = await client.run(await payload.as_bytes(), **{"Content-Type": payload.headers["Content-Type"]})
    assert answer.status_code == 200
    first, second = client.platform.bill.charges
    assert (first.prompt, first.references) == (second.prompt, second.references) == ("ein Fuchs, ä", 1)


def _no_files(fields: dict[str, int]) -> dict[str, tuple[None, str]]:
    return {name: (None, str(value)) for name, value in fields.items()}
