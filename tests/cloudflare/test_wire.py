from __future__ import annotations

import json
from email import message_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxbatch.cloudflare.wire import body_of, fields_of, multipart
from fluxbatch.models.catalogue import Model, find_model
from tests.cloudflare.cloudflare_kit import asked

JPEG, PNG = b"\xff\xd8\xff\r\n--x", b"\x89PNG\r\n\x1a\n\x00"


def parsed(body: bytes, content_type: str) -> list[tuple[str | None, str | None, str, bytes]]:
    """Name, filename, content type and content of each part, as the standard library's mail parser reads them."""
    message = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    assert message.is_multipart()
    found = []
    for part in message.get_payload():
        name = part.get_param("name", header="content-disposition")
        found.append((name, part.get_filename(), part.get_content_type(), part.get_payload(decode=True)))
    return found


def test_size_and_steps_are_always_said() -> None:
    assert fields_of(asked()) == {"prompt": "a fox", "width": 1024, "height": 768, "steps": 25}


def test_guidance_and_seed_are_said_when_given() -> None:
    fields = fields_of(asked(guidance=3.5, seed=0))
    assert (fields["guidance"], fields["seed"]) == (3.5, 0)


def test_the_body_reads_back_as_it_was_meant() -> None:
    body, content_type = multipart({"prompt": "a red fox", "steps": "25"}, [JPEG, PNG, b"?"])
    assert parsed(body, content_type) == [
        ("prompt", None, "text/plain", b"a red fox"),
        ("steps", None, "text/plain", b"25"),
        ("input_image_0", "image_0.jpg", "image/jpeg", JPEG),
        ("input_image_1", "image_1.png", "image/png", PNG),
        ("input_image_2", "image_2.bin", "application/octet-stream", b"?"),
    ]


def test_the_same_request_is_the_same_bytes() -> None:
    assert multipart({"prompt": "a"}, [JPEG]) == multipart({"prompt": "a"}, [JPEG])
    assert multipart({"prompt": "a"}, [JPEG])[1] != multipart({"prompt": "b"}, [JPEG])[1]


def test_a_prompt_cannot_end_its_own_part() -> None:
    first = multipart({"prompt": "x"}, [])
    boundary = first[1].partition("boundary=")[2]
    prompt = f'x\r\n--{boundary}\r\nContent-Disposition: form-data; name="steps"\r\n\r\n1'
    body, content_type = multipart({"prompt": prompt}, [])
    assert [name for name, *_ in parsed(body, content_type)] == ["prompt"]


@given(st.text(), st.lists(st.binary(max_size=50), max_size=4))
def test_any_prompt_and_image_arrive_byte_for_byte(prompt: str, images: list[bytes]) -> None:
    body, content_type = multipart({"prompt": prompt}, images)
    line = b"--" + content_type.partition("boundary=")[2].encode()
    head, *parts, tail = body.split(line)
    assert (head, tail) == (b"", b"--\r\n")
    contents = [part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in parts]
    assert contents == [prompt.encode(), *images]


def test_a_prompt_that_is_no_text_is_our_bug() -> None:
    with pytest.raises(UnicodeEncodeError):
        multipart({"prompt": "\ud800"}, [])


# The whole body, by model


def test_the_body_for_flux_2_dev_is_the_same_bytes_as_ever() -> None:
    body = body_of(asked(prompt="ein Fuchs, ä", guidance=4, seed=7), [b"\xff\xd8\xff."])
    boundary = "fluxbatch-61a1ede666bb18258f894d5e4b58724c"
    parts = [
        ('name="prompt"', "ein Fuchs, ä".encode()),
        ('name="width"', b"1024"),
        ('name="height"', b"768"),
        ('name="steps"', b"25"),
        ('name="guidance"', b"4.0"),
        ('name="seed"', b"7"),
        ('name="input_image_0"; filename="image_0.jpg"\r\nContent-Type: image/jpeg', b"\xff\xd8\xff."),
    ]
    lines = [
        f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + content + b"\r\n"
        for head, content in parts
    ]
    assert body.content == b"".join(lines) + f"--{boundary}--\r\n".encode()
    assert body.content_type == f"multipart/form-data; boundary={boundary}"


ALL_SAID = {"guidance": 5, "seed": 7, "negative_prompt": "blur", "strength": 0.4}
SIZE_AND_SEED = {"width": 1024, "height": 768, "seed": 7}
PHOENIX = {"prompt": "a fox", **SIZE_AND_SEED, "num_steps": 4, "guidance": 5.0, "negative_prompt": "blur"}
STABLE_DIFFUSION = {**PHOENIX, "strength": 0.4, "image_b64": "/9j/Lg=="}
SAID = {
    "flux-1-schnell": {"prompt": "a fox", "steps": 4},
    "lucid-origin": {"prompt": "a fox", **SIZE_AND_SEED, "num_steps": 4, "guidance": 5.0},
    "phoenix-1.0": PHOENIX,
    "stable-diffusion-xl-lightning": STABLE_DIFFUSION,
    "stable-diffusion-xl-base-1.0": STABLE_DIFFUSION,
    "dreamshaper-8-lcm": STABLE_DIFFUSION,
}
"""By CLOUDFLARE.md section 1: what goes out when everything is given."""


def model_of(name: str) -> Model:
    found = find_model(name)
    assert found is not None
    return found


@pytest.mark.parametrize("name", SAID)
def test_a_json_body_has_the_documented_keys_and_no_other(name: str) -> None:
    images = [b"\xff\xd8\xff."] if "image_b64" in SAID[name] else []
    body = body_of(asked(model=model_of(name), steps=4, **ALL_SAID), images)
    assert body.content_type == "application/json"
    said = json.loads(body.content)
    assert said == SAID[name]
    assert {key: type(value) for key, value in said.items()} == {key: type(value) for key, value in SAID[name].items()}


@pytest.mark.parametrize("name", SAID)
def test_what_is_not_given_is_left_to_the_platform(name: str) -> None:
    body = body_of(asked(model=model_of(name), steps=4), [])
    optional = {"guidance", "seed", "negative_prompt", "strength", "image_b64"}
    assert json.loads(body.content) == {key: value for key, value in SAID[name].items() if key not in optional}


@pytest.mark.parametrize("name", ["flux-2-klein-4b", "flux-2-klein-9b"])
def test_klein_is_asked_in_a_form_and_without_steps(name: str) -> None:
    body = body_of(asked(model=model_of(name), steps=4, **ALL_SAID), [JPEG])
    found = {part: content for part, _, _, content in parsed(*body)}
    assert found == {
        "prompt": b"a fox", "width": b"1024", "height": b"768", "guidance": b"5.0", "seed": b"7", "input_image_0": JPEG,
    }  # fmt: skip


@given(st.text(min_size=1))
def test_any_prompt_arrives_in_json_as_utf_8(prompt: str) -> None:
    body = body_of(asked(model=model_of("flux-1-schnell"), prompt=prompt, steps=4), [])
    assert json.loads(body.content.decode("utf-8"))["prompt"] == prompt


def test_a_prompt_that_is_no_text_is_our_bug_in_json_too() -> None:
    with pytest.raises(UnicodeEncodeError):
        body_of(asked(model=model_of("flux-1-schnell"), prompt="\ud800", steps=4), [])


def test_a_picture_for_a_model_that_takes_none_is_our_bug() -> None:
    with pytest.raises(AssertionError, match="lucid-origin takes no image 0"):
        body_of(asked(model=model_of("lucid-origin"), steps=4), [JPEG])
