"""What Prefect's UI shows of a run: a progress bar while it runs; at its end a report, its parts, its spend.

Nothing of it may stand in the run's way: each call is bounded in time, and one that fails is logged and left out.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.artifacts import (
    acreate_link_artifact,
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run
from prefect.variables import Variable

from flows.events import tell_drift, tell_end
from flows.outage import (
    BACK_MAX_S,
    LOOK_EVERY_S,
    STOPPED_BACK_S,
    TELL_MAX_S,
    is_up,
    out_of_the_way,
    say_that_it_is_alive,
    until_it_is_back,
)
from fluxbatch.dataset.place import Place
from fluxbatch.dispatch.stop import StoppedBy
from fluxbatch.dispatch.tally import Tally
from fluxbatch.models.money import Money, decimal_usd, exact
from fluxbatch.prepare import Prepared
from fluxbatch.report import picture_rows, spend_rows, to_markdown
from fluxbatch.summary import Summary

PROGRESS_EVERY_S = 2.0
PROGRESS_MAX_S = 10.0
"""One update may take so long; then the next one is tried."""
NAME_MAX = 200
PARTS_SHOWN = 1_000
MODELS_NAMED = 2
PERCENTILES = (0.5, 0.9, 0.99)


@asynccontextmanager
async def shown(ready: Prepared, tally: Tally) -> AsyncIterator[None]:
    """The run's name, and a progress artifact that moves with the tally while the block lasts."""
    done = asyncio.Event()
    mover = asyncio.create_task(_move(ready, tally, done))
    try:
        yield
    finally:
        done.set()
        await asyncio.wait([mover], timeout=PROGRESS_MAX_S)
        mover.cancel()


async def publish(ready: Prepared, summary: Summary, title: str, report: Place) -> None:
    """What came of the run, and where its report is. Waits for a server that is away, within reason: then the state
    becomes true as well."""
    with out_of_the_way("how the run ended"):
        tell_end(ready, summary)
    patience_s = STOPPED_BACK_S if summary.stopped_by is StoppedBy.SIGNAL else BACK_MAX_S
    if not await until_it_is_back(patience_s):
        return
    for what, told in (
        ("the summary", partial(_summary, ready, summary, title, report)),
        ("the report", partial(_report, title, report)),
        ("the spend", partial(_spend, summary, title)),
        ("the parts", partial(_parts, ready)),
        ("the variable", partial(_variable, ready, summary)),
    ):
        with out_of_the_way(what):
            async with asyncio.timeout(TELL_MAX_S):
                await told()


async def _move(ready: Prepared, tally: Tally, done: asyncio.Event) -> None:
    """At most every two seconds. An update that fails is left out: the next one says the same and more."""
    mover = _Mover(ready, tally)
    with out_of_the_way("the name"):
        async with asyncio.timeout(PROGRESS_MAX_S):
            await _rename(ready)
    while True:
        is_last = done.is_set()
        with suppress(TimeoutError):
            async with asyncio.timeout(PROGRESS_MAX_S):
                await mover.move()
        if is_last:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(PROGRESS_EVERY_S):
                await done.wait()


@dataclass(slots=True)
class _Mover:
    """What has been shown so far."""

    ready: Prepared
    tally: Tally
    artifact: UUID | None = None
    drifts: set[str] = field(default_factory=set)
    looked_at_s: float = field(default_factory=time.monotonic)

    async def move(self) -> None:
        tally = self.tally
        for model in tally.watch.said.keys() - self.drifts:
            self.drifts.add(model)
            with out_of_the_way("the drift of a price"):
                tell_drift(self.ready, tally.watch.said[model])
        if not await is_up():  # asked without a retry: Prefect's client would try for a minute
            return
        with out_of_the_way("the progress"):
            await self._update(100.0 * tally.done / max(1, tally.goal))
        if time.monotonic() >= self.looked_at_s + LOOK_EVERY_S:
            self.looked_at_s = time.monotonic()
            with out_of_the_way("that the run is alive"):
                await say_that_it_is_alive()

    async def _update(self, share: float) -> None:
        if self.artifact is None:
            self.artifact = await acreate_progress_artifact(
                share, key="pictures", description="pictures done of those that fit the budget"
            )
        else:
            await aupdate_progress_artifact(self.artifact, progress=share)


async def _rename(ready: Prepared) -> None:
    """The models are known only now that the manifest was read."""
    names = list(dict.fromkeys(shape.model.name for shape in ready.plan.shapes))
    identity = flow_run.get_id()
    if names and identity is not None and ready.job.chunk is None:  # a chunk is named by its batch, after its rows
        more = f"+{len(names) - MODELS_NAMED}" if len(names) > MODELS_NAMED else ""
        job = ready.job
        name = named(
            job.manifest, job.out, "+".join(names[:MODELS_NAMED]) + more, exact(decimal_usd(job.budget_nano_usd))
        )
        async with get_client() as client:
            await client.set_flow_run_name(UUID(identity), name)


def named(manifest: Path, out: Place, models: str | None, budget_usd: str) -> str:
    """What the list of runs shows: manifest, dataset, models and budget."""
    return " ".join((f"{manifest.stem} to {out.name}", *([models] if models else []), f"${budget_usd}"))


async def _spend(summary: Summary, title: str) -> None:
    rows = [{"what": name, "value": str(value)} for name, value in (*picture_rows(summary), *spend_rows(summary))]
    await acreate_table_artifact(rows, key="spend", description=f"{title}: what was made and spent")


async def _parts(ready: Prepared) -> None:
    run, parts = ready.run, ready.dataset.parts
    rows = [
        {
            "part": part.file,
            "pictures": part.rows,
            "MB": round(part.size_bytes / 1e6, 2),
            "usd": exact(Money(part.nano_usd, part.centineurons).usd),
            "sealed": part.sealed_at,
            "by this run": "yes" if part.run_id.startswith(run) else "",
        }
        for part in parts[-PARTS_SHOWN:]
    ]
    more = f"; the last {PARTS_SHOWN:,} are shown" if len(parts) > PARTS_SHOWN else ""
    folder = ready.dataset.folder
    files = "file" if len(parts) == 1 else "files"
    await acreate_table_artifact(rows, key="parts", description=f"{len(parts):,} Parquet {files} of {folder}{more}")


async def _report(title: str, report: Place) -> None:
    await acreate_link_artifact(
        _link(report), report.name, key="report", description=f"{title}: money, charts, pictures"
    )


async def _summary(ready: Prepared, summary: Summary, title: str, report: Place) -> None:
    folder = ready.dataset.folder
    lines = [to_markdown(summary, title)]
    latencies = await asyncio.to_thread(_latencies, ready)
    if latencies:
        lines.append(
            "| seconds a picture | |\n|---|---:|\n" + "\n".join(f"| {n} | {s:.1f} |" for n, s in latencies) + "\n"
        )
    lines.append(f"Dataset: [{folder}]({_link(folder)}), report: [{report.name}]({_link(report)})")
    await acreate_markdown_artifact("\n".join(lines), key="summary", description=f"{title}: what came of the run")


def _link(place: Place) -> str:
    return place.resolve().as_uri() if isinstance(place, Path) else str(place)


def _latencies(ready: Prepared) -> list[tuple[str, float]]:
    """How long this run's pictures took, by percentile; empty when it made none."""
    made = ready.dataset.to_pandas(["run_id", "latency_s"])
    seconds = made.loc[made["run_id"].str.startswith(ready.run), "latency_s"]
    if seconds.empty:
        return []
    return [
        *((f"{share:.0%} within", float(seconds.quantile(share))) for share in PERCENTILES),
        ("slowest", seconds.max()),
    ]


async def _variable(ready: Prepared, summary: Summary) -> None:
    """`fluxbatch_spend_<dataset>`, for automations and other flows. Amounts are exact decimal text."""
    told, dataset = summary.to_dict(), ready.dataset
    names = ("budget_usd", "spent_usd", "unknown_usd", "made", "already", "left", "stopped_by")
    value: dict[str, Any] = {name: told[name] for name in names}
    value |= {
        "dataset": dataset.id,
        "folder": str(dataset.folder),
        "run": ready.run,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    name = variable_name(dataset.folder.name)
    there = await Variable.aget(name)
    if isinstance(there, dict) and there.get("dataset", dataset.id) != dataset.id:
        name += f"_{dataset.id[:8]}"  # another dataset in a folder of the same name
    await Variable.aset(name, value, tags=["fluxbatch"], overwrite=True)


def variable_name(dataset: str) -> str:
    """Prefect takes lower-case letters, digits, - and _."""
    return f"fluxbatch_spend_{re.sub(r'[^a-z0-9]+', '_', dataset.lower()).strip('_')}"[:NAME_MAX]
