"""Runs in a child: one batch through the same parts as `fluxbatch run`, with a look at each request as it passes.

Takes the job as a JSON argument and prints a JSON object; the account is in the environment (`common.account`).
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.common import Took, child
from bench.inside import peak_bytes, took
from fluxbatch.batch import Batch
from fluxbatch.cloudflare.outcome import Broken, Reply
from fluxbatch.dispatch.engine import Sender
from fluxbatch.job import Job
from fluxbatch.manifest.request import ImageRequest
from fluxbatch.prepare import Prepared, prepared
from fluxbatch.run import drive, open_batch
from fluxbatch.settings import load_settings

PLENTY_NANO_USD = 10**15


@dataclass(slots=True)
class Seen:
    """A request as it left, in seconds since the first one left; `status` is None when no whole answer came."""

    sent_s: float
    answered_s: float
    status: int | None


@dataclass(frozen=True, slots=True)
class Drive:
    """One run. `sealed_s` runs from the first request leaving to the last picture standing in a sealed part;
    `total_s` from the opening of the batch to its close; CPU and peak memory are of this one process."""

    made: int
    requests: int
    refusals: int
    sealed_s: float
    total_s: float
    peak_in_flight: int
    cpu_s: float
    cpu_s_by_thread: dict[str, float]
    base_bytes: int
    peak_bytes: int
    seen: list[Seen] = field(default_factory=list)


class Looking:
    """Sends through another sender, and notes when."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self.began_s: float | None = None
        self.seen: list[Seen] = []

    async def send(self, asked: ImageRequest, images: Sequence[bytes]) -> Reply | Broken:
        sent_s = time.monotonic()
        if self.began_s is None:
            self.began_s = sent_s
        reply = await self._sender.send(asked, images)
        status = reply.status if isinstance(reply, Reply) else None
        self.seen.append(Seen(sent_s - self.began_s, time.monotonic() - self.began_s, status))
        return reply


def run(manifest: Path, out: Path, environment: Mapping[str, str], **settings: object) -> Drive:
    """Drive the manifest into a dataset, in a child of its own."""
    job = {"manifest": str(manifest), "out": str(out), "settings": settings}
    took: Took = child("bench.driven:main", json.dumps(job), environment=environment)
    answer = took.answer
    return Drive(**answer | {"seen": [Seen(**one) for one in answer["seen"]]})


def main() -> None:
    given = json.loads(sys.argv[1])
    job = Job(Path(given["manifest"]), Path(given["out"]), PLENTY_NANO_USD, load_settings(**given["settings"]))
    with prepared(job) as ready:
        print(json.dumps(asdict(asyncio.run(_driven(ready)))))


async def _driven(ready: Prepared) -> Drive:
    base_bytes, before_s, threads_before = peak_bytes(), took()["cpu_s"], cpu_s_by_thread()
    async with open_batch(ready) as batch:
        looking = Looking(batch.engine.sender)
        batch.engine.sender = looking
        await drive(batch, batch.work)
        sealed = time.monotonic()
        by_thread = {name: spent - threads_before.get(name, 0.0) for name, spent in cpu_s_by_thread().items()}
    return _measured(batch, looking, sealed, base_bytes, took()["cpu_s"] - before_s, by_thread)


def _measured(
    batch: Batch, looking: Looking, sealed: float, base_bytes: int, cpu_s: float, by_thread: dict[str, float]
) -> Drive:
    summary = batch.summary
    assert summary is not None
    return Drive(
        made=summary.made,
        requests=summary.requests,
        refusals=summary.refusals,
        sealed_s=sealed - (looking.began_s or sealed),
        total_s=summary.seconds,
        peak_in_flight=summary.peak_in_flight,
        cpu_s=cpu_s,
        cpu_s_by_thread=by_thread,
        base_bytes=base_bytes,
        peak_bytes=peak_bytes(),
        seen=looking.seen,
    )


def cpu_s_by_thread() -> dict[str, float]:
    """CPU seconds of each living thread so far, added up by what the thread is for. Empty where there is no /proc."""
    spent: dict[str, float] = {}
    for thread in threading.enumerate():
        name = _ROOMS.get(thread.name.rsplit("_", 1)[0], "other")
        spent[name] = spent.get(name, 0.0) + _thread_cpu_s(thread.native_id)
    return spent


_ROOMS = {"MainThread": "event loop", "fluxbatch-ledger": "ledger", "spool": "spool", "look": "look and seal"}


def _thread_cpu_s(native_id: int | None) -> float:
    try:
        nanoseconds = Path(f"/proc/self/task/{native_id}/schedstat").read_text(encoding="ascii").split()[0]
    except OSError:
        return 0.0
    return int(nanoseconds) / 1e9


def cpu_ms_by_thread(drive: Drive) -> dict[str, float]:
    """CPU milliseconds a picture, by what the threads are for; the rest is the opening and the close."""
    spent = {name: 1000 * each / drive.made for name, each in drive.cpu_s_by_thread.items()}
    return {**spent, "open and close": max(0.0, 1000 * drive.cpu_s / drive.made - sum(spent.values()))}
