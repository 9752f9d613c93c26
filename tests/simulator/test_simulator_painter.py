"""The pictures: they decode, show what was asked for, differ, and carry their own label."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageStat  # noqa: TID251 - tests look at the pictures

from fluxbatch.simulator import jpeg, painter
from fluxbatch.simulator.painter import Sketch, picture_label
from tests.simulator.simulator_kit import AT_ONCE, Client, picture_bytes

SKETCH = Sketch("00000000-0000-4000-8000-000000000000", "flux-2-dev", "a red fox", 512, 384, 25, 7, 1, 0)


def _decoded(image: bytes) -> Image.Image:
    opened = Image.open(BytesIO(b64decode(image, validate=True)))
    opened.load()
    return opened


@pytest.mark.parametrize("paint", [painter.paint_text, painter.paint_plain])
@pytest.mark.parametrize("size", [(256, 256), (512, 384), (1920, 1072), (256, 1920)])
@pytest.mark.parametrize("padded", [None, 60_000])
def test_a_picture_decodes_at_its_size_and_is_not_blank(
    paint: Callable[[Sketch, int | None], bytes], size: tuple[int, int], padded: int | None
) -> None:
    image = _decoded(paint(replace(SKETCH, width=size[0], height=size[1]), padded))
    assert (image.format, image.size, image.mode) == ("JPEG", size, "RGB")
    assert max(ImageStat.Stat(image).stddev) > 5


def test_the_text_is_in_the_picture() -> None:
    shown, silent = (_decoded(painter.paint_text(replace(SKETCH, prompt=p), None)) for p in ("WWWWWWWW", " "))
    assert shown.crop((0, 0, 512, 100)).getextrema()[0][1] > 240
    assert silent.crop((0, 0, 512, 100)).getextrema()[0][1] < 200


def test_the_same_prompt_twice_is_not_the_same_picture() -> None:
    first, second = (_decoded(painter.paint_text(replace(SKETCH, variant=v), None)).tobytes() for v in (1, 2))
    assert first != second


async def test_every_picture_names_its_request_and_prompt(open_client: Callable[..., Client]) -> None:
    for paint in ("plain", "text"):
        client = open_client(replace(AT_ONCE, paint=paint))
        answers = {prompt: await client.ask(prompt) for prompt in ("a fox", "a hen")}
        for prompt, answer in answers.items():
            label = jpeg.read_label(picture_bytes(answer))
            assert label == picture_label(answer.headers["cf-ai-req-id"], prompt)


async def test_a_picture_is_padded_to_the_byte(open_client: Callable[..., Client]) -> None:
    for paint in ("plain", "text"):
        client = open_client(replace(AT_ONCE, paint=paint, picture_bytes=350_000))
        content = picture_bytes(await client.ask())
        assert len(content) == 350_000
        Image.open(BytesIO(content)).load()


@given(st.one_of(st.integers(0, 300), st.integers(65_500, 65_600), st.integers(131_000, 131_200)))
def test_filler_has_the_size_it_was_asked_for(size: int) -> None:
    assert len(jpeg.filler(size)) == (size if size >= 4 else 0)


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=400))
def test_any_prompt_can_be_painted(prompt: str) -> None:
    assert _decoded(painter.paint_text(replace(SKETCH, prompt=prompt, width=256, height=256), None)).size == (256, 256)


def test_a_jpeg_of_somebody_else_has_no_label() -> None:
    other = BytesIO()
    Image.new("RGB", (8, 8)).save(other, "JPEG")
    assert jpeg.read_label(other.getvalue()) is None
    with pytest.raises(ValueError, match="65533"):
        jpeg.comment(bytes(65_534))
