"""A finished dataset of many tiny pictures, for what looks at all of them: `python -m bench.many FOLDER [COUNT]`.

Put together by the project's own spool and seal, without a platform and without a ledger. Every picture is another one
(256x256, some kilobytes); the columns are those of a sweep: 50 subjects, 8 styles, 5 guidances, and a seed for each.
"""

from __future__ import annotations

import csv
import io
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from bench.common import scratch
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.image import inspect
from fluxbatch.dataset.record import Delivery, picture_row
from fluxbatch.dataset.shards import seal
from fluxbatch.dataset.spool import Spool, Spooled
from fluxbatch.job import Job
from fluxbatch.manifest.request import ImageRequest
from fluxbatch.settings import load_settings

MANY = 50_000
SIDE = 256
ROWS_PER_SHARD = 500
RUN = "20261122T120000Z-many"
BEGAN_AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
BLANK_EACH = 500
"""One picture in so many has one colour, so that there are suspects."""
STYLES = ("woodcut", "watercolour", "oil", "pencil", "photo", "pixel art", "mosaic", "fresco")
GUIDANCES = (2.5, 3.0, 3.5, 4.0, 4.5)
SUBJECTS = 50


def build_many(folder: Path, count: int = MANY) -> Dataset:
    """A sealed dataset of so many pictures, each another one, in parts of `ROWS_PER_SHARD`; made in `folder`."""
    with scratch() as aside:
        manifest = _manifest(aside / "many.csv", count)
        source = Job(manifest, folder, 0, load_settings(width=SIDE, height=SIDE)).open_manifest()
        dataset = Dataset.create(folder, source.own_schema, simulated=True)
        spool, rows = dataset.spool(), source.rows()
        with ThreadPoolExecutor(2) as pool:
            while shard := list(islice(rows, ROWS_PER_SHARD)):
                entries = list(pool.map(_Put(spool, dataset), _asked(shard)))
                seal(dataset, spool, entries, run_id=RUN, sealed_at=datetime.now(UTC).isoformat(timespec="seconds"))
    return dataset


def _manifest(path: Path, count: int) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["prompt", "id", "seed", "steps", "guidance", "subject", "style"])
        writer.writerows(_row(number) for number in range(count))
    return path


def _row(number: int) -> list[object]:
    subject, style = f"subject {number % SUBJECTS}", STYLES[number // SUBJECTS % len(STYLES)]
    guidance = GUIDANCES[number // (SUBJECTS * len(STYLES)) % len(GUIDANCES)]
    prompt = f"{subject} by the sea at dusk, in {style} style, with boats on the water and gulls above the harbour"
    return [prompt, f"many-{number:06d}", 1_000 + number, 8, guidance, subject, style]


def _asked(rows: Sequence[object]) -> Iterator[ImageRequest]:
    for row in rows:
        assert isinstance(row, ImageRequest), row
        yield row


class _Put:
    """Spools a picture for a request, as a run does."""

    def __init__(self, spool: Spool, dataset: Dataset) -> None:
        self._spool, self._own = spool, dataset.own_schema

    def __call__(self, request: ImageRequest) -> Spooled:
        content = painted(request.row)
        delivery = Delivery(
            request=request,
            content=content,
            actual=request.quote.expected,
            attempt=1,
            latency_s=4.0 + request.row % 7,
            request_id=f"request-{request.row}",
            created_at=BEGAN_AT + timedelta(seconds=request.row / 12),
            run_id=RUN,
        )
        picture = inspect(content, SIDE, SIDE)
        entry = self._spool.put(picture_row(delivery, self._own), request.key, 1)
        return replace(entry, picture=picture)


def painted(number: int) -> bytes:
    """A JPEG of soft colours; the same number gives the same bytes."""
    chance = np.random.default_rng(number)
    cells = 1 if number % BLANK_EACH == 0 else 6
    noise = chance.integers(0, 255, (cells, cells, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize((SIDE, SIDE), Image.Resampling.BILINEAR).save(file, "JPEG", quality=70)
    return file.getvalue()


def main() -> None:
    folder, count = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else MANY
    started = time.monotonic()
    dataset = build_many(folder, count)
    size_mb = sum(part.size_bytes for part in dataset.parts) / 1e6
    took_s = time.monotonic() - started
    print(f"{count:,} pictures in {len(dataset.parts)} parts, {size_mb:,.0f} MB, put together in {took_s:.0f} s")


if __name__ == "__main__":
    main()
