"""The flow `generate_dataset`: one task a shard over the same functions as `fluxbatch run`.

A task is a shard and not a picture: a call to an orchestrator costs more than a picture's own work. Nothing here is
retried by Prefect: whatever can spend is simply run again, and starts from the ledger.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.logging.handlers import APILogHandler
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Failed
from pydantic_core import to_jsonable_python
from rich.console import Console
from rich.markdown import Markdown

import flows  # noqa: F401 - sets what Prefect reads when it is imported
from flows import parameters as p
from flows.credentials import with_credentials
from flows.fan_out import FanOut
from flows.outage import go_on_without_a_screen, keep_running_without_a_slot, stopped_with_its_worker
from flows.shown import named, publish, shown
from flows.waiting import StoppedWaiting, prepared_in_turn
from fluxbatch.batch import Batch, Shard
from fluxbatch.chunked import begun, check, joined
from fluxbatch.dispatch.stop import Stop, StoppedBy
from fluxbatch.errors import DatasetInUse
from fluxbatch.foreground import stop_on_signals
from fluxbatch.job import Job
from fluxbatch.many import many
from fluxbatch.models.money import exact, parse_usd
from fluxbatch.prepare import Prepared
from fluxbatch.report import HTML, REPORT
from fluxbatch.run import drive, open_batch
from fluxbatch.settings import Settings, load_settings
from fluxbatch.summary import Summary

log = logging.getLogger("fluxbatch.flow")

RUN: ContextVar[str] = ContextVar("RUN", default="")
SHARD: ContextVar[str] = ContextVar("SHARD", default="")
"""What a log line is about: the run, and the rows of a shard's task."""

CarryOut = Callable[[Job], Awaitable[State[dict[str, Any]]]]
"""Makes what a job asks for, and says how that is to be shown."""

keep_running_without_a_slot()


def run_name() -> str:
    """Manifest, dataset and budget, as the list of runs shows them; the models are added when they are known."""
    given = flow_run.parameters
    manifest = given.get("manifest") or given["sweep"]
    return named(Path(str(manifest)), Path(str(given["out"])), given.get("model"), str(given["budget_usd"]))


@flow(name="generate-dataset", flow_run_name=run_name, retries=0)
async def generate_dataset(
    manifest: p.Manifest,
    out: p.Out,
    budget_usd: p.Budget,
    credentials: p.Credentials = None,
    model: p.Model = None,
    width: p.Width = None,
    height: p.Height = None,
    steps: p.Steps = None,
    guidance: p.Guidance = None,
    on_budget: p.WhenShort = None,
    run_budget: p.RunBudget = None,
    project: p.Project = None,
    free_only: p.FreeOnly = False,
    if_running: p.IfRunning = "fail",
    max_price_per_picture: p.MaxPrice = None,
    limit: p.Limit = None,
    sample: p.Sample = None,
    sample_seed: p.SampleSeed = None,
    preview: p.Preview = None,
    skip_invalid: p.SkipInvalid = False,
    resend_failed: p.ResendFailed = None,
    resend_lost: p.ResendLost = None,
    resend_refused: p.ResendRefused = False,
    columns: p.Columns = None,
    own_columns: p.OwnColumns = None,
    fit: p.Fitted = None,
    allow_hosts: p.AllowHosts = None,
    refetch: p.Refetch = False,
    embed_provenance: p.EmbedProvenance = False,
    models: p.OwnModels = None,
    rate: p.Rate = None,
    max_in_flight: p.MaxInFlight = None,
    rows_per_shard: p.RowsPerShard = None,
    simulate: p.Simulate = False,
    chunks: p.Chunks = None,
) -> State[dict[str, Any]]:
    """Make the pictures of a manifest within a budget. Run it again to go on: nothing is paid twice."""
    given = locals()
    settings = settings_of(given)
    job = job_of(manifest, out, budget_usd, settings, columns, own_columns, simulate)
    if chunks is not None:
        check(job, chunks)
        return await carry_out(job, credentials, partial(_carry_out_in_chunks, count=chunks, given=given))
    return await carry_out(job, credentials)


def settings_of(given: dict[str, Any]) -> Settings:
    """The flow's parameters that are settings (None: not given). UsageError names what is wrong."""
    return load_settings(**{name: value for name, value in given.items() if name in Settings.model_fields})


def job_of(
    manifest: Path, out: Path, budget_usd: Decimal, settings: Settings,
    columns: dict[str, str] | None, own: list[str] | None, simulate: bool,
) -> Job:  # fmt: skip
    """What is to be run. The budget is taken exactly."""
    budget = parse_usd(f"{budget_usd:f}")
    return Job(manifest, out, budget, settings, columns or {}, frozenset(own or ()), simulate)


async def carry_out(job: Job, credentials: str | None, how: CarryOut | None = None) -> State[dict[str, Any]]:
    """Run the job as this flow run (or as `how` does it); the state that Prefect is to show."""
    go_on_without_a_screen()
    with _logged_by_prefect():
        if not job.simulate:
            job = replace(job, settings=await with_credentials(job.settings, credentials))
        try:
            return await (how or _carry_out)(job)
        except DatasetInUse as error:
            if job.settings.if_running != "leave":
                raise
            return Completed(message=f"left: {error.by} is working on {job.out}")
        except StoppedWaiting:
            return Cancelled(message="interrupted while it waited for another run; nothing was sent")


async def _carry_out(job: Job) -> State[dict[str, Any]]:
    async with prepared_in_turn(job) as ready:
        RUN.set(ready.run)
        async with open_batch(ready) as batch, _signals(batch.stop), shown(ready, batch.tally):
            plan = ready.plan
            log.info("%d pictures are due, %d fit; expected $%s", plan.due, plan.fits_now, exact(plan.expected.usd))
            await drive(batch, lambda shard: _shard_task(batch, shard))
    # Only now: a Prefect server that is away is waited for, and the next run need not wait for that.
    assert batch.summary is not None
    return await _told(ready, batch.summary)


async def _carry_out_in_chunks(job: Job, count: int, given: dict[str, Any]) -> State[dict[str, Any]]:
    """The same by other runs, each of which makes a chunk; this one holds the dataset, and makes it whole."""
    async with prepared_in_turn(job) as ready:
        RUN.set(ready.run)
        fan_out = FanOut(ready, to_jsonable_python({**given, "chunks": None}))
        chunks = await asyncio.to_thread(begun, ready, count)
        log.info(
            "%d pictures are due, in %d chunks; expected $%s",
            ready.plan.due,
            len(chunks),
            exact(ready.plan.expected.usd),
        )
        async with _signals(fan_out.stop), shown(ready, fan_out.tally):
            await fan_out.make(chunks)
        summary = await asyncio.to_thread(joined, ready, fan_out.ends, fan_out.stop)
    return await _told(ready, summary)


async def _told(ready: Prepared, summary: Summary) -> State[dict[str, Any]]:
    """What Prefect is to show of a run that has ended, and is told beside."""
    state, folder = _state(summary), ready.dataset.folder
    if ready.job.chunk is not None:  # its end is told by its batch
        log.info("%s; dataset %s", state.message, folder)
        return state
    report = folder / REPORT
    if ready.job.settings.report:
        from fluxbatch.reported import report_at_end  # what it draws with is loaded when all is done

        report = await asyncio.to_thread(report_at_end, folder, ready.job.settings) or report
    log.info("%s; dataset %s, report %s", state.message, folder, report)
    await publish(ready, summary, ready.job.manifest.name, report)
    return state


async def _shard_task(batch: Batch, shard: Shard) -> None:
    rows = f"rows {shard.first_row} to {shard.last_row}"

    @task(name="shard", task_run_name=rows, retries=0, cache_policy=NO_CACHE)
    async def send_and_seal() -> None:
        SHARD.set(rows)
        await batch.work(shard)
        log.info("done; %d of %d pictures so far", batch.tally.done, batch.tally.goal)

    try:
        await send_and_seal()
    finally:
        shard.line.close()


@asynccontextmanager
async def _signals(run: Stop) -> AsyncIterator[None]:
    """SIGTERM and Ctrl-C drain what is in flight, before Prefect's own answer would end the process."""
    current = asyncio.current_task()
    assert current is not None
    with stop_on_signals(run, current), stopped_with_its_worker(run):
        yield


def _state(summary: Summary) -> State[dict[str, Any]]:
    """What Prefect shows: a used-up budget is a plan that worked, an account that is refused is not."""
    told = f"{summary.made:,} made, {summary.already:,} before, {summary.left:,} left of {summary.asked:,}"
    match summary.stopped_by:
        case None:
            missing = summary.failed + summary.unknown
            told += f"; {many(missing, 'row')} failed" if missing else ""
            return Completed(message=told, data=summary.to_dict())
        case StoppedBy.BUDGET:
            return Completed(message=f"budget reached: {told}", data=summary.to_dict())
        case StoppedBy.SIGNAL:
            return Cancelled(message=f"interrupted: {told}", data=summary.to_dict())
        case _:
            return Failed(message=f"{summary.reason} ({told})", data=summary.to_dict())


class _Labelled(logging.Formatter):
    """Log lines say their run and, where they belong to one, their shard."""

    def format(self, record: logging.LogRecord) -> str:
        where = ", ".join(filter(None, (RUN.get(), SHARD.get())))
        return f"[{where}] {super().format(record)}" if where else super().format(record)


@contextmanager
def _logged_by_prefect() -> Iterator[None]:
    """fluxbatch's log lines go to the flow run as well."""
    logger, handler = logging.getLogger("fluxbatch"), APILogHandler()
    handler.setFormatter(_Labelled())
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def main() -> None:
    """Run without a deployment: python -m flows.generate prompts/demo.csv --out out/demo --budget 1 --simulate"""
    parser = argparse.ArgumentParser(prog="python -m flows.generate", description=main.__doc__)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budget", type=Decimal, required=True)
    parser.add_argument("--simulate", action="store_true")
    given = parser.parse_args()
    state = asyncio.run(_run(given.manifest, given.out, given.budget, given.simulate))
    told, page = given.out / REPORT, given.out / HTML
    console = Console()
    if told.exists():
        console.print(Markdown(told.read_text()))
        report = page if page.exists() else told
        console.print(f"\ndataset  {given.out}\nreport   {report}", markup=False, highlight=False, soft_wrap=True)
    sys.exit(0 if state.is_completed() else 1)


async def _run(manifest: Path, out: Path, budget: Decimal, simulate: bool) -> State[Any]:
    state: State[Any] = await generate_dataset(manifest, out, budget, simulate=simulate, return_state=True)
    return state


if __name__ == "__main__":
    main()
