"""`python -m bench.look`: what the look at a picture costs beside its decode, which it cannot do without.

A look decodes once, and takes the perceptual hash and the figures of the pixels from that. It happens beside the
sending, in worker threads; nothing waits for it.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable

import imagehash
import numpy as np
from PIL import Image

from bench.common import options, show
from fluxbatch.dataset.image import inspect

SIDES = (256, 512, 1024, 2048)


def picture(side: int) -> bytes:
    """A JPEG with shapes and some grain: about 0.3 bytes a pixel."""
    rng = np.random.default_rng(1)
    coarse = Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
    grain = np.asarray(coarse) + rng.normal(0, 6, (side, side, 1))
    file = io.BytesIO()
    Image.fromarray(grain.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
    return file.getvalue()


def best_ms(work: Callable[[], object], times: int) -> float:
    """CPU milliseconds of the quickest run: other work on the machine makes none quicker."""
    took = []
    for _ in range(times):
        started = time.process_time()
        work()
        took.append(time.process_time() - started)
    return 1000 * min(took)


def decoded(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def main() -> None:
    times = 5 if options(__doc__).quick else 40
    rows = []
    for side in SIDES:
        content = picture(side)
        decode = best_ms(lambda c=content: decoded(c), times)  # type: ignore[misc]
        hashed = best_ms(lambda c=content: imagehash.phash(decoded(c)), times)  # type: ignore[misc]
        look = best_ms(lambda c=content, s=side: inspect(c, s, s), times)  # type: ignore[misc]
        told = [f"{side} x {side}", f"{decode:.2f} ms", f"{hashed:.2f} ms", f"{look:.2f} ms"]
        rows.append([*told, f"{look / decode:.2f}", f"{(look - hashed) / decode:.2f}"])
    header = ["picture", "decode", "with imagehash.phash", "fluxbatch's look", "look / decode", "all the rest / decode"]
    note = "The rest: SHA-256, sharpness, luminance, dominant colour, blank, solid. CPU time of one thread."
    show("A look at a picture", header, rows, [note])


if __name__ == "__main__":
    main()
