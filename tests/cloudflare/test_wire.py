from __future__ import annotations

from email import message_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxbatch.cloudflare.wire import fields_of, multipart
from fluxbatch.manifest.request import ImageRequest
from fluxbatch.models.catalogue import FLUX_2_DEV

JPEG, PNG = b"\xff\xd8\xff\r\n--x", b"\x89PNG\r\n\x1a\n\x00"


def request(**more: object) -> ImageRequest:
    fields: dict[str, object] = {
        "row": 1, "id": None, "model": FLUX_2_DEV, "prompt": "a fox", "width": 1024, "height": 768, "steps": 25,
        "guidance": None, "seed": None, "references": (), "sample": 0, "key": "0" * 64,
    }  # fmt: skip
    return ImageRequest(**{**fields, **more})  # type: ignore[arg-type]


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
    assert fields_of(request()) == {"prompt": "a fox", "width": "1024", "height": "768", "steps": "25"}


def test_guidance_and_seed_are_said_when_given() -> None:
    fields = fields_of(request(guidance=3.5, seed=0))
    assert (fields["guidance"], fields["seed"]) == ("3.5", "0")


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
