"""What is sent in place of an original: upright, opaque, 8 bits, in sRGB; and what Pillow is not given to read."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from collections import Counter

import pytest
from PIL import Image  # noqa: TID251 - the tests make the pictures they read

from fluxbatch.manifest.pixels import look
from fluxbatch.manifest.references import fitted_bytes, read_reference, was_fitted
from fluxbatch.manifest.request import Change
from fluxbatch.manifest.values import Unusable
from fluxbatch.models.catalogue import FLUX_2_DEV
from tests.hostile.makers import chunk, made, png_of
from tests.manifest.colour_kit import ALIKE, SWAPPED, grey_profile

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def sent_bytes(content: bytes) -> bytes:
    return fitted_bytes(read_reference(content, FLUX_2_DEV), FLUX_2_DEV)


def sent(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(sent_bytes(content)))
    image.load()
    return image


def changes(content: bytes) -> tuple[Change, ...]:
    return read_reference(content, FLUX_2_DEV).changes


def near(one: tuple[int, ...], other: tuple[int, ...], by: int = 4) -> bool:
    return len(one) == len(other) and all(abs(a - b) <= by for a, b in zip(one, other, strict=True))


def corners(size: tuple[int, int] = (40, 20)) -> Image.Image:
    """Red at the top left, green at the top right, blue at the bottom left, white at the bottom right."""
    image = Image.new("RGB", size, "white")
    half = (size[0] // 2, size[1] // 2)
    image.paste(RED, (0, 0, *half))
    image.paste(GREEN, (half[0], 0, size[0], half[1]))
    image.paste(BLUE, (0, half[1], half[0], size[1]))
    return image


def corner_colours(image: Image.Image) -> list[tuple[int, ...]]:
    right, bottom = image.width - 2, image.height - 2
    return [image.getpixel(at) for at in ((1, 1), (right, 1), (1, bottom), (right, bottom))]  # type: ignore[misc]


# EXIF 2.32, table 6: which sides of the picture the stored row 0 and column 0 are. Top left, top right, bottom left,
# bottom right of the picture as it is meant to be seen, of a store with red, green, blue, white at these places.
UPRIGHT = {
    1: (RED, GREEN, BLUE, WHITE),
    2: (GREEN, RED, WHITE, BLUE),
    3: (WHITE, BLUE, GREEN, RED),
    4: (BLUE, WHITE, RED, GREEN),
    5: (RED, BLUE, GREEN, WHITE),
    6: (BLUE, RED, WHITE, GREEN),
    7: (WHITE, GREEN, BLUE, RED),
    8: (GREEN, WHITE, RED, BLUE),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("kind", "size"), [("PNG", (40, 20)), ("JPEG", (640, 320)), ("WEBP", (40, 20))])
def test_every_orientation_is_sent_upright(orientation: int, kind: str, size: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"PNG": {}, "JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}[kind]
    content = saved(corners(size), kind, exif=exif, **options)
    image = sent(content)
    found = corner_colours(image.convert("RGB"))
    assert all(near(one, other, 12) for one, other in zip(found, UPRIGHT[orientation], strict=True)), found
    assert (image.width > image.height) == (orientation < 5)
    assert (Change.TURNED in changes(content)) == (orientation != 1)
    assert image.getexif().get(0x0112, 1) == 1 or orientation == 1


def test_exif_of_either_byte_order_is_read() -> None:
    for order, mark in (("<", b"II*\0"), (">", b"MM\0*")):
        exif = mark + struct.pack(f"{order}IHHHIHxxI", 8, 1, 0x0112, 3, 1, 8, 0)
        seen = look(png_of(chunk(b"eXIf", exif), width=30, height=10))
        assert (seen.size, seen.changes) == ((10, 30), (Change.TURNED,))


@pytest.mark.parametrize("exif", [b"", b"II*\0", b"II*\0" + b"\xff" * 40, b"MM\0*\0\0\0\x08\0\x05", b"nonsense" * 4])
def test_exif_that_says_nothing_sensible_turns_nothing(exif: bytes) -> None:
    content = png_of(chunk(b"eXIf", exif), width=30, height=10)
    try:
        assert look(content).changes == ()
    except Unusable:
        assert exif == b"II*\0" + b"\xff" * 40  # a start beyond the end, or 65,535 tags
    assert sent_bytes(png_of(width=30, height=10)) == png_of(width=30, height=10)


TRANSPARENT = {
    "RGBA": Image.new("RGBA", (20, 20), (255, 0, 0, 0)),
    "LA": Image.new("LA", (20, 20), (0, 0)),
    "half": Image.new("RGBA", (20, 20), (0, 0, 0, 128)),
}


def test_alpha_is_flattened_over_white() -> None:
    assert sent(saved(TRANSPARENT["RGBA"])).getpixel((5, 5)) == WHITE
    assert sent(saved(TRANSPARENT["LA"])).convert("RGB").getpixel((5, 5)) == WHITE
    assert near(sent(saved(TRANSPARENT["half"])).getpixel((5, 5)), (127, 127, 127), 1)  # type: ignore[arg-type]
    assert sent(saved(TRANSPARENT["RGBA"], "WEBP", lossless=True)).getpixel((5, 5)) == WHITE
    assert {changes(saved(image)) for image in TRANSPARENT.values()} == {(Change.FLATTENED,)}


def test_a_colour_or_a_palette_entry_that_means_transparent_is_flattened() -> None:
    palette = Image.new("P", (20, 20), 1)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    assert sent(saved(palette, transparency=1)).convert("RGB").getpixel((5, 5)) == WHITE
    assert sent(saved(Image.new("RGB", (20, 20), RED), transparency=RED)).getpixel((5, 5)) == WHITE
    assert sent(saved(Image.new("L", (20, 20), 7), transparency=7)).convert("RGB").getpixel((5, 5)) == WHITE


@pytest.mark.parametrize(
    "content",
    [
        saved(Image.new("RGBA", (20, 20), (1, 2, 3, 255))),
        saved(Image.new("P", (20, 20))),
        saved(Image.new("1", (20, 20))),
        saved(corners(), "JPEG", comment=b"by a camera", icc_profile=ALIKE),
        saved(corners(), "WEBP", icc_profile=ALIKE),
        saved(Image.new("L", (20, 20), 9), icc_profile=grey_profile()),
    ],
    ids=["opaque alpha", "palette", "bits", "sRGB by another name", "sRGB WebP", "grey as usual"],
)
def test_what_needs_no_change_is_sent_byte_for_byte(content: bytes) -> None:
    reference = read_reference(content, FLUX_2_DEV)
    assert reference.changes == ()
    assert not was_fitted(reference)
    assert fitted_bytes(reference, FLUX_2_DEV) == content


@pytest.mark.parametrize("size", [(40, 20), (1000, 500)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_colour_profile_is_applied_and_left_out(kind: str, size: tuple[int, int]) -> None:
    """With red and blue swapped in the profile, what is stored as red is meant to be blue."""
    options = {"PNG": {}, "JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}[kind]
    content = saved(corners(size), kind, icc_profile=SWAPPED, **options)
    image = sent(content)
    assert changes(content) == (Change.RECOLOURED,)
    assert "icc_profile" not in image.info
    found = corner_colours(image)
    assert all(near(one, other, 12) for one, other in zip(found, (BLUE, GREEN, RED, WHITE), strict=True)), found


def test_a_grey_profile_is_applied() -> None:
    """Half the light is 188 of 255 in sRGB: 255 x (1.055 x 0.502^(1/2.4) - 0.055)."""
    image = sent(saved(Image.new("L", (20, 20), 128), icc_profile=grey_profile(1.0)))
    assert near(image.convert("RGB").getpixel((5, 5)), (188, 188, 188), 2)  # type: ignore[arg-type]


def test_a_transparent_picture_with_a_profile_is_white_where_nothing_is() -> None:
    image = Image.new("RGBA", (20, 20), (255, 0, 0, 255))
    image.paste((255, 0, 0, 0), (0, 0, 10, 20))
    flat = sent(saved(image, icc_profile=SWAPPED))
    assert flat.getpixel((5, 5)) == WHITE
    assert near(flat.getpixel((15, 5)), BLUE, 12)  # type: ignore[arg-type]


def test_a_grey_profile_is_applied_where_the_picture_is_transparent_as_well() -> None:
    content = saved(Image.new("LA", (20, 20), (128, 255)), icc_profile=grey_profile(1.0))
    assert near(sent(content).convert("RGB").getpixel((5, 5)), (188, 188, 188), 2)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "profile",
    [b"no profile at all", SWAPPED[:200], grey_profile(), b"\0" * 128],
    ids=["nonsense", "cut", "for grey", "zeros"],
)
def test_a_profile_that_cannot_be_used_is_left_out_and_the_pixels_are_not_touched(profile: bytes) -> None:
    content = saved(corners(), "JPEG", icc_profile=profile)
    without = sent(content)
    assert changes(content) == (Change.PROFILE_DROPPED,)
    assert "icc_profile" not in without.info
    assert without.tobytes() == Image.open(io.BytesIO(content)).tobytes()


def test_a_profile_that_is_too_large_or_does_not_unpack_is_left_out() -> None:
    huge = chunk(b"iCCP", b"k\0\0" + zlib.compress(b"a" * 5_000_000, 9))
    torn = chunk(b"iCCP", b"k\0\0" + b"no zlib")
    for one in (huge, torn):
        content = png_of(one)
        assert changes(content) == (Change.PROFILE_DROPPED,)
        assert sent_bytes(content) == png_of()


def test_a_webp_without_its_profile_keeps_its_pixels() -> None:
    content = saved(corners(), "WEBP", lossless=True, icc_profile=b"no profile at all")
    image = sent(content)
    assert ("icc_profile" in image.info, image.tobytes()) == (False, corners().tobytes())


def test_cmyk_becomes_rgb() -> None:
    content = saved(Image.new("CMYK", (40, 40), (0, 255, 255, 0)), "JPEG", quality=95)
    assert changes(content) == (Change.RECOLOURED,)
    image = sent(content)
    assert (image.format, image.mode, near(image.getpixel((9, 9)), RED, 6)) == ("JPEG", "RGB", True)  # type: ignore[arg-type]


def test_sixteen_bits_become_eight_also_when_the_picture_fits() -> None:
    content = saved(Image.new("I;16", (20, 20), 32768))
    assert changes(content) == (Change.DEEP,)
    image = sent(content)
    assert (image.mode, abs(image.getpixel((5, 5)) - 127) <= 1) == ("L", True)  # type: ignore[operator]


def hostile(words: str) -> bytes:
    content = made(words)
    assert isinstance(content, bytes)
    return content


@pytest.mark.parametrize("words", ["png_ztxt 60 1000000", "png_itxt 60 1000000", "png_iccp 64000000", "jpeg_exif 900"])
def test_what_is_told_about_a_picture_takes_no_memory(words: str) -> None:
    """Pillow unpacked 60 texts of 1 MB each from 60 kB, and took 199 MB. Only Python's memory is traced, in which
    texts, tags and profiles lie; pixels do not."""
    content = hostile(words)
    assert len(content) < 150_000
    look(content)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        assert look(content).size == (64, 48)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000, f"{peak / 1e6:.1f} MB"


@pytest.mark.parametrize("words", ["jpeg_scans 64 48 70", "jpeg_exif 4000", "png_chunks tEXt 20001 6b0061"])
def test_what_no_program_builds_is_refused(words: str) -> None:
    with pytest.raises(Unusable, match="damaged"):
        look(hostile(words))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_is_refused_and_one_of_a_single_frame_is_a_picture(kind: str) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in (RED, BLUE)]
    with pytest.raises(Unusable, match="animation"):
        look(saved(frames[0], kind, save_all=True, append_images=frames[1:]))
    still = chunk(b"acTL", struct.pack(">II", 1, 0)) if kind == "PNG" else b""
    assert look(png_of(still) if still else saved(frames[0], kind, save_all=True)).changes == ()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_flipped_bits_in_what_is_told_never_crash(kind: str) -> None:
    """Everything before the pixels, bit by bit: each is a picture with its changes, or a complaint."""
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = saved(corners((24, 16)), kind, exif=exif, icc_profile=SWAPPED)
    ends = Counter[str]()
    for bit in range(0, 8 * len(whole), max(1, 8 * len(whole) // 97)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            ends[f"{len(look(bytes(flipped)).changes)} changes"] += 1
            sent_bytes(bytes(flipped))
        except Unusable:
            ends["refused"] += 1
    assert len(ends) > 1, ends
