from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image  # noqa: TID251 - tests paint their own pictures

from fluxbatch.dataset.image import BLANK_SPREAD, CHECKS, expected_size, inspect
from tests.dataset.dataset_kit import encoded, jpeg, pixels


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_good_picture_is_ok_with_all_its_facts(kind: str) -> None:
    content = encoded(pixels(64, 48), kind)
    picture = inspect(content, 64, 48)
    assert (picture.check, picture.format, picture.width, picture.height) == ("ok", kind, 64, 48)
    assert picture.size_bytes == len(content)
    assert picture.sha256 == hashlib.sha256(content).hexdigest()
    assert picture.measured is not None
    assert picture.measured.phash == str(imagehash.phash(Image.open(io.BytesIO(content))))


def test_the_expected_size_is_the_asked_one_cut_to_multiples_of_sixteen() -> None:
    assert expected_size(1920, 1080) == (1920, 1072)
    assert inspect(jpeg(64, 48), 79, 63).check == "ok"


@pytest.mark.parametrize("asked", [(80, 48), (64, 64), (48, 64), (63, 48)])
def test_another_size_is_marked(asked: tuple[int, int]) -> None:
    assert inspect(jpeg(64, 48), *asked).check == "wrong_size"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("size", [(64, 48), (128, 128)])
def test_a_constant_picture_is_blank_whatever_its_size(kind: str, size: tuple[int, int]) -> None:
    assert inspect(encoded(Image.new("RGB", size, (20, 20, 20)), kind), 64, 48).check == "blank"


@pytest.mark.parametrize(("spread", "check"), [(BLANK_SPREAD, "blank"), (BLANK_SPREAD + 1, "ok")])
def test_blank_means_that_all_luminance_lies_within_the_spread(spread: int, check: str) -> None:
    image = Image.new("L", (64, 48), 100)
    image.putpixel((5, 5), 100 + spread)
    assert inspect(encoded(image, "PNG"), 64, 48).check == check


def test_fine_texture_is_not_blank() -> None:
    board = np.indices((48, 64)).sum(axis=0) % 2 * 255
    assert inspect(encoded(Image.fromarray(board.astype(np.uint8)), "PNG"), 64, 48).check == "ok"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_every_kind_of_png_is_looked_at(mode: str) -> None:
    if mode == "I;16":
        ramp = np.linspace(0, 65535, 64 * 48).reshape(48, 64)
        image = Image.fromarray(ramp.astype(np.uint16))
    else:
        image = pixels(64, 48).convert(mode)
    picture = inspect(encoded(image, "PNG"), 64, 48)
    assert (picture.check, picture.format) == ("ok", "PNG")


def test_a_palette_with_transparency_is_no_reason_to_refuse() -> None:
    content = encoded(pixels(64, 48).convert("P"), "PNG", transparency=bytes(range(256)))
    assert inspect(content, 64, 48).check == "ok"


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"\xff\xd8\xff", b"<html>502</html>", b"\x89PNG\r\n\x1a\n", b"\0" * 999]
)
def test_what_is_no_picture_is_undecodable(content: bytes) -> None:
    picture = inspect(content, 64, 48)
    assert (picture.check, picture.width, picture.format, picture.measured) == ("undecodable", None, None, None)
    assert picture.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "ICO"])
def test_other_formats_are_not_opened(kind: str) -> None:
    assert inspect(encoded(pixels(64, 48), kind), 64, 48).check == "undecodable"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_cut_picture_is_undecodable_wherever_it_is_cut(kind: str) -> None:
    content = encoded(pixels(64, 48), kind)
    # All pixels are there without JPEG's end marker, and without PNG's last chunk (12 bytes) and the 10 bytes before it
    # that end and check its compressed stream.
    whole_without = {"JPEG": 2, "PNG": 12 + 10, "WEBP": 1}[kind]
    checks = {inspect(content[:end], 64, 48).check for end in range(len(content) - whole_without)}
    assert checks == {"undecodable"}


def png_that_says(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes whose header claims any size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels_of_none = zlib.compress(b"\0" * 10_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels_of_none) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8193, 12_000, 20_000, 2**31 - 1])
def test_a_header_that_claims_too_much_is_not_decoded(side: int) -> None:
    assert inspect(png_that_says(side, side), 64, 48).check == "undecodable"


def test_a_warning_of_pillow_is_an_error_in_every_thread_and_leaves_no_trace() -> None:
    bomb = png_that_says(12_000, 12_000)  # between Pillow's warning and its error
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        checks = set(pool.map(lambda _: inspect(bomb, 64, 48).check, range(40)))
    assert checks == {"undecodable"}
    assert list(warnings.filters) == before


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["JPEG", "PNG", "WEBP"]),
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=12),
    cut=st.floats(0, 1),
)
def test_no_bytes_make_it_raise(kind: str, changes: list[tuple[float, int]], cut: float) -> None:
    content = bytearray(encoded(pixels(64, 48), kind))
    for place, value in changes:
        content[int(place * len(content))] = value
    picture = inspect(bytes(content[: int(cut * len(content)) or None]), 64, 48)
    assert picture.check in CHECKS
    assert (picture.measured is None) == (picture.check == "undecodable")


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_of_the_largest_size_is_looked_at_and_its_size_is_its_own(progressive: bool) -> None:
    image = Image.linear_gradient("L").resize((2500, 2500)).convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", progressive=progressive)
    content = buffer.getvalue()
    whole, half = inspect(content, 2500, 2500), inspect(content[: len(content) // 2], 2500, 2500)
    assert (whole.check, whole.width, whole.height) == ("ok", 2500, 2500)
    assert whole.measured is not None
    assert (half.check, half.width, half.height) == ("undecodable", 2500, 2500)


def test_a_picture_of_the_asked_size_is_right_and_so_is_one_that_was_cut() -> None:
    assert inspect(jpeg(1001, 333), 1001, 333).check == "ok"
    assert inspect(jpeg(992, 320), 1001, 333).check == "ok"
    assert inspect(jpeg(1000, 328), 1001, 333).check == "wrong_size"
