"""Contain, cover, exact: the sizes counted by hand, the pixels seen, and the keys that may never change."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image  # noqa: TID251 - the tests make the pictures they read

from fluxbatch.manifest.frame import Fit, Frame, fitted
from fluxbatch.manifest.reader import Defaults
from fluxbatch.manifest.references import fitted_bytes, read_reference, was_fitted
from fluxbatch.manifest.request import Reference, content_digest, request_key
from fluxbatch.models.catalogue import FLUX_2_DEV
from tests.manifest.manifest_kit import asked, opened, picture, written

CONTAIN, COVER, EXACT = Fit.CONTAIN, Fit.COVER, Fit.EXACT

# fit, the original, the output; what is sent, of which middle part, and as what it counts in the key
TABLE = (
    (CONTAIN, (1000, 512), (1024, 1024), (511, 262), (1000, 512), CONTAIN),
    (CONTAIN, (300, 200), (1024, 1024), (300, 200), (300, 200), CONTAIN),
    (CONTAIN, (2000, 1), (1024, 1024), (511, 1), (2000, 1), CONTAIN),
    (COVER, (1000, 500), (1024, 1024), (500, 500), (500, 500), COVER),
    (COVER, (1000, 1000), (1024, 768), (511, 383), (1000, 750), COVER),
    (COVER, (1600, 1200), (768, 1024), (383, 511), (900, 1200), COVER),
    (COVER, (200, 100), (1024, 1024), (100, 100), (100, 100), COVER),  # never made larger
    (COVER, (1024, 768), (512, 384), (511, 383), (1024, 768), CONTAIN),  # nothing to cut
    (COVER, (4000, 2), (256, 1920), (1, 2), (1, 2), COVER),
    (EXACT, (1000, 500), (1024, 1024), (511, 511), (1000, 500), EXACT),
    (EXACT, (1000, 1000), (1024, 512), (511, 256), (1000, 1000), EXACT),
    (EXACT, (30, 30), (1024, 1024), (511, 511), (30, 30), EXACT),  # made larger, if that is the shape
    (EXACT, (600, 300), (256, 256), (256, 256), (600, 300), EXACT),
    (EXACT, (1000, 500), (1024, 512), (511, 256), (1000, 500), CONTAIN),  # nothing to stretch
)


@pytest.mark.parametrize(("fit", "size", "output", "sent", "crop", "counts_as"), TABLE)
def test_the_sizes_are_those_counted_by_hand(
    fit: Fit,
    size: tuple[int, int],
    output: tuple[int, int],
    sent: tuple[int, int],
    crop: tuple[int, int],
    counts_as: Fit,
) -> None:
    assert fitted(size, Frame(fit, *output), 511) == (counts_as, sent, crop)


sides = st.integers(1, 9000)


@given(st.sampled_from(Fit), sides, sides, st.integers(16, 120), st.integers(16, 120))
def test_nothing_is_ever_sent_over_the_limit_or_from_outside(
    fit: Fit, width: int, height: int, across: int, down: int
) -> None:
    found = fitted((width, height), Frame(fit, 16 * across, 16 * down), 511)
    assert min(found.size) >= 1
    assert max(found.size) <= 511
    assert found.crop[0] <= width
    assert found.crop[1] <= height
    if fit is Fit.COVER:  # the shape is the output's, to half a pixel of the shorter side
        assert abs(found.crop[0] * down - found.crop[1] * across) <= max(across, down)


def stripes() -> bytes:
    """600x300: a red, a green and a blue square of 200 wide."""
    image = Image.new("RGB", (600, 300), "lime")
    image.paste("red", (0, 0, 200, 300))
    image.paste("blue", (400, 0, 600, 300))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def sent(fit: Fit, output: tuple[int, int], content: bytes) -> Image.Image:
    reference = read_reference(content, FLUX_2_DEV, Frame(fit, *output))
    image = Image.open(io.BytesIO(fitted_bytes(reference, FLUX_2_DEV)))
    assert image.size == (reference.fitted_width, reference.fitted_height)
    return image


def test_cover_cuts_the_middle_out() -> None:
    image = sent(COVER, (512, 1024), stripes())  # the middle 150x300 is all green
    assert (image.size, image.getcolors()) == ((150, 300), [(150 * 300, (0, 255, 0))])


def test_exact_keeps_all_of_it_and_stretches() -> None:
    image = sent(EXACT, (1024, 1024), stripes())
    assert image.size == (511, 511)
    assert [image.getpixel((x, 250)) for x in (60, 255, 450)] == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]


def test_a_picture_lying_on_its_side_is_cut_upright() -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    buffer = io.BytesIO()
    Image.open(io.BytesIO(stripes())).rotate(90, expand=True).save(buffer, "PNG", exif=turned)
    image = sent(COVER, (512, 1024), buffer.getvalue())
    assert (image.size, image.getcolors()) == ((150, 300), [(150 * 300, (0, 255, 0))])


def test_a_cut_that_needs_no_smaller_size_is_still_no_original() -> None:
    reference = read_reference(picture(200, 100), FLUX_2_DEV, Frame(COVER, 512, 512))
    assert was_fitted(reference)
    assert Image.open(io.BytesIO(fitted_bytes(reference, FLUX_2_DEV))).size == (100, 100)


ONE, TWO = "1" * 64, "2" * 64


def test_the_keys_of_datasets_that_exist_do_not_change() -> None:
    """Written out as they were made before references could be cut: these hashes are in people's ledgers."""
    references = (Reference(ONE, 900, 900, 511, 511), Reference(TWO, 10, 10, 10, 10, changes=(), source="a.png"))
    digest = content_digest(FLUX_2_DEV, "a fox", 1024, 768, 25, 2.5, 7, references)
    assert request_key(digest, 0) == "7b709d725a1799a4d5448c771e5959f2d9a6f3868cb9f28118b916d65086abaa"
    told = ["fluxbatch-1", "@cf/black-forest-labs/flux-2-dev", "a fox", 1024, 768, 25, 2.5, 7, [ONE, TWO]]
    plain = hashlib.sha256(json.dumps(told, separators=(",", ":")).encode()).digest()
    assert digest == plain
    assert request_key(digest, 3) == hashlib.sha256(plain + b"#3").hexdigest()


def test_what_is_cut_or_stretched_is_another_picture(tmp_path: Path) -> None:
    written(tmp_path, "a.png", picture(600, 300))
    path = written(tmp_path, "m.csv", "prompt,input_image_0,width,height\na,a.png,1024,1024\nb,a.png,1024,512\n")
    keys = {fit: [row.key for row in asked(opened(path, defaults=Defaults(fit=fit)))] for fit in Fit}
    assert len({keys[fit][0] for fit in Fit}) == 3
    assert len({keys[fit][1] for fit in Fit}) == 1, "600x300 has the shape of 1024x512 already"


def test_a_size_that_is_wrong_in_itself_is_told_and_nothing_breaks(tmp_path: Path) -> None:
    written(tmp_path, "a.png", picture(600, 300))
    path = written(tmp_path, "m.csv", "prompt,input_image_0,width,height\na,a.png,0,-5\n")
    (row,) = opened(path, defaults=Defaults(fit=Fit.COVER)).rows()
    assert {complaint.column for complaint in row.complaints} == {"width", "height"}  # type: ignore[union-attr]
