"""Reference images: what is accepted, what is sent in their place, and what is refused before it costs."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import warnings
import zlib
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image  # noqa: TID251 - the tests make the pictures they read

from fluxbatch.errors import UsageError
from fluxbatch.manifest import references
from fluxbatch.manifest.recent import Recent
from fluxbatch.manifest.references import fitted_bytes, read_reference, was_fitted
from fluxbatch.manifest.values import Unusable
from fluxbatch.models.catalogue import FLUX_2_DEV
from tests.manifest.manifest_kit import picture, written


def sent(content: bytes) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = Image.open(io.BytesIO(fitted_bytes(read_reference(content, FLUX_2_DEV), FLUX_2_DEV)))
        image.load()
    return image


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_that_fits_is_sent_as_it_is(tmp_path: Path, kind: str) -> None:
    content = picture(511, 300, kind)
    reference = read_reference(written(tmp_path, "a.bin", content), FLUX_2_DEV)
    assert (reference.width, reference.height, reference.fitted_width, reference.fitted_height) == (511, 300, 511, 300)
    assert reference.sha256 == hashlib.sha256(content).hexdigest()
    assert reference.path == str(tmp_path / "a.bin")
    assert reference.content is None
    assert not was_fitted(reference)
    assert fitted_bytes(reference, FLUX_2_DEV) == content


@pytest.mark.parametrize(("kind", "sent_as"), [("PNG", "PNG"), ("WEBP", "PNG"), ("JPEG", "JPEG")])
def test_a_picture_that_is_too_large_is_fitted(kind: str, sent_as: str) -> None:
    reference = read_reference(picture(1000, 512, kind), FLUX_2_DEV)
    assert was_fitted(reference)
    assert (reference.fitted_width, reference.fitted_height) == (511, 262)
    image = sent(picture(1000, 512, kind))
    assert (image.format, image.size) == (sent_as, (511, 262))


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 9000), st.integers(1, 5000))
def test_the_fitted_size_is_under_the_limit_and_keeps_the_shape(width: int, height: int) -> None:
    header = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    rows = zlib.compress(b"\0" * ((width + 1) * height), 1)
    content = header + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")
    reference = read_reference(content, FLUX_2_DEV)
    side_max = FLUX_2_DEV.reference_side_max
    longest, shortest = max(width, height), min(width, height)
    fitted = sorted((reference.fitted_width, reference.fitted_height))
    assert 1 <= fitted[0] <= fitted[1] == min(longest, side_max)
    assert abs(fitted[0] - max(1, shortest * fitted[1] / longest)) <= 0.5


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_kind_of_png_can_be_fitted(mode: str) -> None:
    assert sent(picture(600, 600, mode=mode)).size == (511, 511)


def test_sixteen_bits_of_grey_stay_grey() -> None:
    buffer = io.BytesIO()
    Image.new("I;16", (600, 600), 32768).save(buffer, "PNG")
    assert abs(sent(buffer.getvalue()).convert("L").getpixel((5, 5)) - 127) <= 1


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_every_kind_of_jpeg_can_be_fitted(mode: str) -> None:
    assert sent(picture(600, 300, "JPEG", mode)).size == (511, 256)


@pytest.mark.parametrize("side", [300, 600])
def test_what_is_transparent_is_sent_over_white(side: int) -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (side, side), (255, 0, 0, 0)).save(buffer, "PNG")
    image = sent(buffer.getvalue())
    assert (image.mode, image.getpixel((10, 10))) == ("RGB", (255, 255, 255))


def test_a_picture_lying_on_its_side_is_measured_and_sent_upright() -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    content = picture(1000, 500, "JPEG", exif=turned)
    reference = read_reference(content, FLUX_2_DEV)
    assert (reference.width, reference.height) == (500, 1000)
    assert (reference.fitted_width, reference.fitted_height) == (256, 511)
    assert sent(content).size == (256, 511)


def _bomb(width: int, height: int) -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", zlib.compress(b"\0")) + _chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no PNG, JPEG or WebP"),
        (b"not a picture", "no PNG, JPEG or WebP"),
        (picture(10, 10, "GIF"), "no PNG, JPEG or WebP"),
        (picture(10, 10, "TIFF"), "no PNG, JPEG or WebP"),
        (picture(10, 10, "BMP"), "no PNG, JPEG or WebP"),
        (_bomb(10_000, 5_001), "over 50 megapixels"),
        (_bomb(20_000, 8_000), "bomb"),
        (_bomb(60_000, 60_000), "bomb"),
        (picture(300, 300)[:-40], "damaged"),
        (picture(300, 300, "JPEG")[:500], "damaged|no PNG"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "damaged|no PNG"),
    ],
)
def test_a_picture_that_cannot_be_sent_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(Unusable, match=why):
        read_reference(content, FLUX_2_DEV)


def test_every_cut_of_a_picture_is_refused_and_never_crashes() -> None:
    for kind in ("PNG", "JPEG", "WEBP"):
        buffer = io.BytesIO()
        Image.effect_noise((24, 24), 50).convert("RGB").save(buffer, kind)
        whole = buffer.getvalue()
        for length in range(0, len(whole) - 24, 7):
            with pytest.raises(Unusable):
                read_reference(whole[:length], FLUX_2_DEV)


def test_flipped_bits_never_crash() -> None:
    whole = picture(16, 16)
    ends = Counter[str]()
    for bit in range(0, len(whole) * 8, 3):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            read_reference(bytes(flipped), FLUX_2_DEV)
            ends["read"] += 1
        except Unusable:
            ends["refused"] += 1
    assert ends["refused"] > ends["read"]


def test_an_animation_is_refused() -> None:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:])
    with pytest.raises(Unusable, match="animation"):
        read_reference(buffer.getvalue(), FLUX_2_DEV)


def test_a_file_that_is_too_heavy_is_not_even_read(tmp_path: Path) -> None:
    path = tmp_path / "heavy.png"
    with path.open("wb") as file:
        file.truncate(references.BYTES_MAX + 1)
    with pytest.raises(Unusable, match="over 50"):
        read_reference(path, FLUX_2_DEV)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="does not exist"):
        read_reference(tmp_path / "none.png", FLUX_2_DEV)
    with pytest.raises(Unusable, match="no file"):
        read_reference(tmp_path, FLUX_2_DEV)


def test_a_file_is_looked_at_once_and_again_when_it_changes(tmp_path: Path) -> None:
    path = written(tmp_path, "a.png", picture(10, 10))
    first = read_reference(path, FLUX_2_DEV)
    assert read_reference(path, FLUX_2_DEV) is first
    path.write_bytes(picture(20, 20))
    os.utime(path, ns=(1, 1))
    assert read_reference(path, FLUX_2_DEV).width == 20


def test_a_file_that_changes_before_it_is_sent_stops_the_run(tmp_path: Path) -> None:
    path = written(tmp_path, "a.png", picture(600, 600))
    reference = read_reference(path, FLUX_2_DEV)
    fitted_bytes(reference, FLUX_2_DEV)
    path.write_bytes(picture(601, 600))
    with pytest.raises(UsageError, match="changed since"):
        fitted_bytes(reference, FLUX_2_DEV)
    path.unlink()
    with pytest.raises(UsageError, match="any more"):
        fitted_bytes(reference, FLUX_2_DEV)


def test_bytes_are_kept_and_sent_from_memory() -> None:
    content = picture(30, 30)
    reference = read_reference(content, FLUX_2_DEV)
    assert reference.path is None
    assert reference.content == content
    assert fitted_bytes(reference, FLUX_2_DEV) == content


def test_the_memory_of_pictures_is_bounded() -> None:
    recent: Recent[int, int] = Recent(3)
    made: list[int] = []
    for key in (1, 2, 3, 1, 4, 1, 2):
        recent.get(key, lambda key=key: made.append(key) or key)  # type: ignore[misc]
    assert made == [1, 2, 3, 4, 2]
