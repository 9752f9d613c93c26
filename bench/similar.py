"""`python -m bench.similar`: near-duplicates among a million hashes, beside comparing all pairs.

Three questions. How far do the changes that make a near-duplicate move a perceptual hash (so which distance is the
default)? What does grouping a million hashes take, in time and memory? And what would be picked instead take: each
hash with each other one, by numpy and as `imagehash` compares them, measured on fewer and multiplied.

The pictures are synthetic: noise whose spectrum falls as that of photographs does (amplitude ~ 1/f).
"""

from __future__ import annotations

import io
import json
import math
import sys
import time
from collections.abc import Callable

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageFilter

from bench.common import child, options, show
from fluxbatch.checks.similar import DISTANCE, Hashes, group
from fluxbatch.dataset.image import inspect

SIDE = 512
DISTANCES = (2, 4, 6, 8)
SHARE_NEAR = 0.1
"""So many of the million are made from another by up to four flipped bits."""

Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def jpeg(quality: int) -> Change:
    def change(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        return Image.open(io.BytesIO(_encoded(image, quality)))

    return change


def noise(deviation: float) -> Change:
    def change(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        pixels = np.asarray(image) + rng.normal(0, deviation, (*image.size[::-1], 3))
        return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))

    return change


def cut(share: float) -> Change:
    edge = round(SIDE * share / 2)
    return lambda image, rng: image.crop((edge, edge, SIDE - edge, SIDE - edge))


CHANGES: dict[str, Change] = {
    "JPEG, quality 90": jpeg(90),
    "JPEG, quality 20": jpeg(20),
    "half the size": lambda image, rng: image.resize((SIDE // 2, SIDE // 2)),
    "noise of 15 levels": noise(15),
    "blurred by 2 pixels": lambda image, rng: image.filter(ImageFilter.GaussianBlur(2)),
    "10 % lighter": lambda image, rng: ImageEnhance.Brightness(image).enhance(1.1),
    "20 % more contrast": lambda image, rng: ImageEnhance.Contrast(image).enhance(1.2),
    "cut by 1 %": cut(0.01),
    "cut by 3 %": cut(0.03),
    "mirrored": lambda image, rng: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}


def photo_like(rng: np.random.Generator) -> Image.Image:
    """Three channels that have much in common, each with a spectrum of 1 / f^1.2."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE)))
    frequency[0, 0] = 1
    common = rng.normal(size=(SIDE, SIDE))
    channels = []
    for _ in range(3):
        spectrum = np.fft.fft2(0.7 * common + 0.3 * rng.normal(size=(SIDE, SIDE))) / frequency**1.2
        levels = np.fft.ifft2(spectrum).real
        channels.append(127 + 50 * (levels - levels.mean()) / levels.std())
    return Image.fromarray(np.stack(channels, -1).clip(0, 255).astype(np.uint8))


def _encoded(image: Image.Image, quality: int = 95) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def hash_of(image: Image.Image) -> int:
    """As it stands in a dataset."""
    measured = inspect(_encoded(image), *image.size).measured
    assert measured is not None
    return int(measured.phash, 16)


def show_changes(count: int) -> None:
    rng = np.random.default_rng(1)
    images = [photo_like(rng) for _ in range(count)]
    hashes = [hash_of(image) for image in images]
    rows = []
    for name, change in CHANGES.items():
        moved = np.array(
            [(hash_of(change(i, rng)) ^ value).bit_count() for i, value in zip(images, hashes, strict=True)]
        )
        rows.append([name, f"{moved.mean():.1f}", *(f"{(moved <= most).mean():.0%}" for most in DISTANCES)])
    pairs = np.bitwise_count(np.array(hashes, np.uint64)[:, None] ^ np.array(hashes, np.uint64)[None, :])
    nearest = int(pairs[np.triu_indices(count, 1)].min())
    header = ["a picture and itself", "bits, mean", *(f"within {most}" for most in DISTANCES)]
    chance = ", ".join(f"{by_chance(most):.3g} at {most}" for most in DISTANCES)
    notes = [
        f"{count} synthetic pictures; the nearest two of them that are unrelated are {nearest} bits apart.",
        f"Pairs expected by chance among a million unrelated ones: {chance}. The default is {DISTANCE}.",
    ]
    show("How far a change moves a perceptual hash", header, rows, notes)


def by_chance(bits: int, hashes: int = 1_000_000) -> float:
    """Pairs within so many bits: half of the bits are set, one of them always (the mean is positive)."""
    ways = sum(math.comb(31, moved) * math.comb(32, moved) for moved in range(bits // 2 + 1))
    return ways / math.comb(63, 31) * hashes * (hashes - 1) / 2


def some_hashes(count: int) -> Hashes:
    """As pictures have them: half of the bits set, the first one always; a tenth of them near another."""
    rng = np.random.default_rng(7)
    hashes = np.concatenate([_balanced(rng, min(100_000, count - first)) for first in range(0, count, 100_000)])
    near = rng.integers(0, count, int(SHARE_NEAR * count))
    moved = hashes[rng.integers(0, count, len(near))]
    for _ in range(4):
        moved ^= np.uint64(1) << rng.integers(0, 64, len(near)).astype(np.uint64)
    hashes[near] = moved
    return hashes


def _balanced(rng: np.random.Generator, count: int) -> Hashes:
    bits = rng.random((count, 63)).argsort(axis=1) < 31
    whole: npt.NDArray[np.bool_] = np.hstack([np.ones((count, 1), bool), bits])
    return np.packbits(whole, axis=1).view(">u8").astype(np.uint64).ravel()


def grouped() -> None:
    """Runs in a process of its own, whose peak memory is this."""
    count, distance = map(int, sys.argv[1:])
    hashes = some_hashes(count)
    started = time.monotonic()
    found = group(hashes, distance)
    print(json.dumps({"s": time.monotonic() - started, "shared": int(found.is_shared.sum())}))


def all_pairs_s(hashes: Hashes, whole: int) -> float:
    """Each with each other, a row at a time, by numpy: measured on these, multiplied up to `whole` of them."""
    started = time.monotonic()
    for row, value in enumerate(hashes):
        np.flatnonzero(np.bitwise_count(hashes[row + 1 :] ^ value) <= DISTANCE)
    return (time.monotonic() - started) * (whole / len(hashes)) ** 2


def imagehash_s(hashes: Hashes, whole: int) -> float:
    """The same as imagehash's own objects compare: `a - b` is their distance."""
    objects = [imagehash.hex_to_hash(f"{value:016x}") for value in hashes.tolist()]
    started = time.monotonic()
    sum(1 for row, one in enumerate(objects) for other in objects[row + 1 :] if one - other <= DISTANCE)
    return (time.monotonic() - started) * (whole / len(hashes)) ** 2


def show_grouping(count: int, distances: tuple[int, ...]) -> None:
    took = {distance: child("bench.similar:grouped", str(count), str(distance)) for distance in distances}
    ours = took[DISTANCE].answer["s"]
    rows = [
        [f"fluxbatch, within {distance} bits", f"{one.answer['s']:,.1f} s", f"{one.answer['s'] / ours:,.1f}",
         f"{one.peak_bytes / 1e6:,.0f} MB", f"{one.answer['shared']:,}"]
        for distance, one in took.items()
    ]  # fmt: skip
    sample = some_hashes(min(count, 30_000))
    for name, seconds in (
        ("all pairs by numpy, extrapolated", all_pairs_s(sample, count)),
        ("all pairs by imagehash, extrapolated", imagehash_s(sample[:1_500], count)),
    ):
        rows.append([name, f"{seconds:,.0f} s", f"{seconds / ours:,.0f}", "", ""])
    header = [f"{count:,} hashes", "time", "ratio", "peak memory", "in groups"]
    show("Grouping near-duplicates", header, rows, ["All pairs are measured on fewer hashes, times the square."])


def main() -> None:
    quick = options(__doc__).quick
    show_changes(20 if quick else 150)
    show_grouping(50_000 if quick else 1_000_000, (DISTANCE,) if quick else (DISTANCE, 6, 8))


if __name__ == "__main__":
    main()
