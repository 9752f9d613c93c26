"""The same command over a finished dataset of 100,000 rows: seconds to "nothing to do", and requests (0)."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from bench.common import STEADY, Took, account, child, megabytes, options, prompts, scratch, seconds, show, warm_up
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.image import inspect
from fluxbatch.dataset.record import Delivery, picture_row
from fluxbatch.dataset.shards import seal
from fluxbatch.dataset.spool import Spool, Spooled
from fluxbatch.job import Job
from fluxbatch.manifest.reader import Rejected
from fluxbatch.manifest.request import ImageRequest
from fluxbatch.settings import load_settings
from fluxbatch.simulator import Simulator, painter

ROWS_PER_SHARD = 5_000
SIDE = 256
TINY = {"width": SIDE, "height": SIDE, "steps": 1}
RUN = "built"
_NO_COLUMNS = pa.schema([])

NOTES = (
    "The whole command `fluxbatch run`, from start to exit; requests as the platform counts them. The dataset was put",
    "together by the project's own spool and seal, without a platform, so the first start finds an empty ledger and",
    "books every picture from the parts.",
)


def build(manifest: Path, out: Path) -> int:
    """A finished dataset of the manifest: every picture spooled and sealed. How many parts it has."""
    source = Job(manifest, out, 0, load_settings(**TINY)).open_manifest()
    dataset = Dataset.create(out, source.own_schema, simulated=True)
    spool = dataset.spool()
    with ThreadPoolExecutor(4) as pool:
        for requests in _shards(source.rows()):
            entries = list(pool.map(_Put(spool), requests))
            seal(dataset, spool, entries, run_id=RUN, sealed_at=datetime.now(UTC).isoformat(timespec="seconds"))
    return len(dataset.parts)


def _shards(rows: Iterator[ImageRequest | Rejected]) -> Iterator[list[ImageRequest]]:
    chunk: list[ImageRequest] = []
    for row in rows:
        assert isinstance(row, ImageRequest), row
        chunk.append(row)
        if len(chunk) == ROWS_PER_SHARD:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


class _Put:
    """Spools one and the same tiny picture for any request."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        sketch = painter.Sketch("again", "again", SIDE, SIDE, 1, None, 0, 0)
        self._content = base64.b64decode(painter.paint_plain(sketch, None))
        self._picture = inspect(self._content, SIDE, SIDE)
        self._at = datetime.now(UTC)

    def __call__(self, request: ImageRequest) -> Spooled:
        delivery = Delivery(
            request=request,
            content=self._content,
            actual=request.quote.expected,
            attempt=1,
            latency_s=0.0,
            request_id=None,
            created_at=self._at,
            run_id=RUN,
        )
        return self._spool.put(picture_row(delivery, self._picture, _NO_COLUMNS), request.key, 1)


def measure(count: int) -> list[list[str]]:
    with scratch() as folder, Simulator(STEADY) as simulator:
        manifest = prompts(folder / "prompts.csv", count)
        started = time.monotonic()
        parts = build(manifest, folder / "dataset")
        print(f"{count:,} pictures in {parts} parts put together in {time.monotonic() - started:.0f} s", flush=True)
        environment = account(simulator, folder / "ledger.sqlite3", rows_per_shard=ROWS_PER_SHARD, **TINY)
        names = ("first start, the ledger is empty", "again", "and again")
        return [_row(name, _start(manifest, folder / "dataset", environment), simulator, count) for name in names]


def _start(manifest: Path, out: Path, environment: dict[str, str]) -> Took:
    arguments = ("run", str(manifest), "--out", str(out), "--budget", "1000000", "--json")
    return child("fluxbatch.cli:main", *arguments, environment=environment)


def _row(name: str, took: Took, simulator: Simulator, count: int) -> list[str]:
    assert took.answer["already"] == count, took.answer
    requests = str(simulator.stats()["requests"])
    return [name, seconds(took.wall_s), seconds(took.cpu_s), megabytes(took.peak_bytes), requests]


def main() -> None:
    count = 5_000 if options(__doc__).quick else 100_000
    warm_up()
    title = f"Again: a finished dataset of {count:,} rows"
    show(title, ("", "seconds", "CPU", "peak memory", "requests"), measure(count), NOTES)


if __name__ == "__main__":
    main()
