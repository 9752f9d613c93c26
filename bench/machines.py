"""1,000 pictures at 0.5 s, 48 in flight in all: by one run, and by 2 and 4 chunks in processes of their own.

All on this machine, so what is measured is what chunks cost; what they bring is other machines.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from bench.common import FREE_RATE, STEADY, Took, account, child, prompts, scratch, seconds, show, warm_up
from bench.driven import PLENTY_NANO_USD
from fluxbatch.chunked import Ends, begun, joined, made
from fluxbatch.dispatch.stop import Stop
from fluxbatch.job import Chunk, Job
from fluxbatch.prepare import prepared
from fluxbatch.settings import load_settings
from fluxbatch.simulator import Simulator

IN_FLIGHT = 48
CHUNKS = (1, 2, 4)

NOTES = (
    "Wall time from the cut to the whole dataset, imports of the processes included; joining is moving and listing the",
    "parts and reading the manifest once more. CPU is that of the chunks' processes.",
)


def measure(count: int, ledger: str | None) -> list[list[str]]:
    with scratch() as folder, Simulator(STEADY) as simulator:
        manifest = prompts(folder / "prompts.csv", count)
        environment = account(simulator, folder / "ledger.sqlite3")
        if ledger is not None:
            environment["FLUXBATCH_LEDGER"] = ledger
        return [_row(manifest, folder / f"in-{chunks}", chunks, environment) for chunks in CHUNKS]


def _row(manifest: Path, out: Path, chunks: int, environment: dict[str, str]) -> list[str]:
    with _placed(environment), prepared(job_of(manifest, out, IN_FLIGHT)) as ready:
        started = time.monotonic()
        cut = begun(ready, chunks)
        with ThreadPoolExecutor(chunks) as pool:
            took = list(pool.map(lambda chunk: _made(manifest, out, chunk, IN_FLIGHT // chunks, environment), cut))
        sent_s = time.monotonic() - started
        summary = joined(ready, Ends([one.answer for one in took]), Stop())
        wall_s = time.monotonic() - started
    cpu = f"{1000 * sum(one.cpu_s for one in took) / summary.made:.1f} ms"
    return [f"{chunks} of {IN_FLIGHT // chunks}", seconds(wall_s), seconds(wall_s - sent_s), cpu, f"{summary.made:,}"]


def _made(manifest: Path, out: Path, chunk: Chunk, in_flight: int, environment: dict[str, str]) -> Took:
    work = json.dumps({"manifest": str(manifest), "out": str(out), "chunk": asdict(chunk), "in_flight": in_flight})
    return child("bench.machines:make", work, environment=environment)


def make() -> None:
    """One chunk, in a process of its own."""
    work = json.loads(sys.argv[1])
    job = job_of(Path(work["manifest"]), Path(work["out"]), work["in_flight"])
    print(made(job, Chunk(**work["chunk"])).to_json())


def job_of(manifest: Path, out: Path, in_flight: int) -> Job:
    given = {"max_in_flight": in_flight, "rate": FREE_RATE, "width": 512, "height": 512, "steps": 4}
    return Job(manifest, out, PLENTY_NANO_USD, load_settings(**given))


@contextmanager
def _placed(environment: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller, to see that it works; not for quoting")
    parser.add_argument("--ledger", help="a database of its own to use as the ledger; without it, SQLite")
    given = parser.parse_args()
    count = 200 if given.quick else 1000
    warm_up()
    title = f"Chunks: {count:,} pictures, latency {STEADY.latency_s} s, {IN_FLIGHT} in flight in all"
    header = ("chunks", "seconds", "of which joining", "CPU a picture", "pictures")
    show(title, header, measure(count, given.ledger), NOTES)


if __name__ == "__main__":
    main()
