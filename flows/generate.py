"""The flow `generate_dataset`: one task a shard over the same functions as `fluxbatch run`.

A task is a shard and not a picture: a call to an orchestrator costs more than a picture's own work. Nothing here is
retried by Prefect: whatever can spend is simply run again, and starts from the ledger.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, task
from prefect.artifacts import (
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.logging.handlers import APILogHandler
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Failed
from pydantic import Field
from rich.console import Console
from rich.markdown import Markdown

import flows  # noqa: F401 - sets what Prefect reads when it is imported
from fluxbatch.batch import Batch, Shard
from fluxbatch.dispatch.stop import StoppedBy
from fluxbatch.foreground import stop_on_signals
from fluxbatch.job import Job
from fluxbatch.models.money import parse_usd
from fluxbatch.prepare import prepared
from fluxbatch.report import REPORT, picture_rows, spend_rows, to_markdown
from fluxbatch.run import drive, open_batch, simulated
from fluxbatch.settings import OnBudget, Settings, load_settings
from fluxbatch.summary import Summary

log = logging.getLogger("fluxbatch.flow")

PROGRESS_EVERY_S = 2.0
PROGRESS_LAST_S = 10.0


def run_name() -> str:
    """Manifest, dataset and budget, as the list of runs shows them."""
    given = flow_run.parameters
    return f"{Path(str(given['manifest'])).stem}-to-{Path(str(given['out'])).name}-${given['budget_usd']}"


@flow(name="generate-dataset", flow_run_name=run_name, retries=0)
async def generate_dataset(
    manifest: Annotated[Path, Field(description="Prompts: .csv, .tsv, .jsonl or .parquet; or a sweep: .yaml")],
    out: Annotated[Path, Field(description="Folder of the dataset; continued when it exists")],
    budget_usd: Annotated[Decimal, Field(ge=0, description="US dollars for all that this dataset ever costs")],
    model: Annotated[str | None, Field(description="Model for rows that are silent")] = None,
    width: Annotated[int | None, Field(description="Width for rows that are silent")] = None,
    height: Annotated[int | None, Field(description="Height for rows that are silent")] = None,
    steps: Annotated[int | None, Field(description="Steps for rows that are silent")] = None,
    guidance: Annotated[float | None, Field(description="Guidance for rows that are silent")] = None,
    fit: Annotated[str | None, Field(description="How references are fitted: contain, cover or exact")] = None,
    models: Annotated[Path | None, Field(description="A models.toml: changed prices, models of your own")] = None,
    rate: Annotated[float | None, Field(ge=0, description="Requests a minute; 0: unknown, adapt alone")] = None,
    max_in_flight: Annotated[int | None, Field(ge=1, description="Never more requests at once")] = None,
    rows_per_shard: Annotated[int | None, Field(ge=1, description="Pictures a shard, so a task and a part")] = None,
    skip_invalid: Annotated[bool, Field(description="Go on without the rows that cannot be sent")] = False,
    resend_failed: Annotated[int | None, Field(ge=0, description="Tries more after a failed answer")] = None,
    resend_lost: Annotated[int | None, Field(ge=0, description="Tries more after a lost answer")] = None,
    resend_refused: Annotated[bool, Field(description="Send refused and invalid rows again")] = False,
    on_budget: Annotated[
        OnBudget | None, Field(description="What is bought when the budget does not cover all")
    ] = None,
    max_price_per_picture: Annotated[str | None, Field(description="US dollars that one may cost at most")] = None,
    limit: Annotated[int | None, Field(ge=1, description="Only the first so many pictures")] = None,
    sample: Annotated[int | None, Field(ge=1, description="Only so many pictures, drawn by sample_seed")] = None,
    sample_seed: Annotated[int | None, Field(description="Which pictures the sample draws")] = None,
    preview: Annotated[int | None, Field(ge=1, description="Only so many pictures, at the corners of a sweep")] = None,
    columns: Annotated[dict[str, str] | None, Field(description='Parameter to header: {"prompt": "Prompt"}')] = None,
    own_columns: Annotated[list[str] | None, Field(description="Headers that look like parameters and are not")] = None,
    allow_hosts: Annotated[list[str] | None, Field(description="Hosts that references may be fetched from")] = None,
    refetch: Annotated[bool, Field(description="Fetch addresses anew whose pictures are kept already")] = False,
    simulate: Annotated[bool, Field(description="A simulator instead of Cloudflare; costs nothing")] = False,
) -> State[dict[str, Any]]:
    """Make the pictures of a manifest within a budget. Run it again to go on where it stopped."""
    options = dict(locals())
    settings = load_settings(**{name: value for name, value in options.items() if name in _SETTINGS})
    budget = parse_usd(f"{budget_usd:f}")
    job = Job(manifest, out, budget, settings, columns or {}, frozenset(own_columns or ()), simulate)
    with _logged_by_prefect(), simulated(job) as served, prepared(served) as ready:
        async with open_batch(ready) as batch, _signals(batch), _progress(batch):
            await drive(batch, lambda shard: _shard_task(batch, shard))
        assert batch.summary is not None
        await _publish(batch.summary, manifest)
    return _state(batch.summary)


_SETTINGS = frozenset(Settings.model_fields)


async def _shard_task(batch: Batch, shard: Shard) -> None:
    @task(name="shard", task_run_name=f"rows {shard.first_row} to {shard.last_row}", retries=0, cache_policy=NO_CACHE)
    async def send_and_seal() -> None:
        await batch.work(shard)

    try:
        await send_and_seal()
    finally:
        shard.line.close()


@asynccontextmanager
async def _signals(batch: Batch) -> AsyncIterator[None]:
    """SIGTERM and Ctrl-C drain what is in flight, before Prefect's own answer would end the process."""
    current = asyncio.current_task()
    assert current is not None
    with stop_on_signals(batch, current):
        yield


@asynccontextmanager
async def _progress(batch: Batch) -> AsyncIterator[None]:
    """A progress artifact that moves while the run does. It never stands in the run's way."""
    done = asyncio.Event()
    mover = asyncio.create_task(_move(batch, done))
    try:
        yield
    finally:
        done.set()
        await asyncio.wait([mover], timeout=PROGRESS_LAST_S)
        mover.cancel()


async def _move(batch: Batch, done: asyncio.Event) -> None:
    with out_of_the_way("the progress"):
        artifact = await acreate_progress_artifact(0.0, key="pictures", description="pictures done of those that fit")
        while not done.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(PROGRESS_EVERY_S):
                    await done.wait()
            share = 100.0 * batch.tally.done / max(1, batch.tally.goal)
            await aupdate_progress_artifact(artifact, progress=share)


@contextmanager
def out_of_the_way(what: str) -> Iterator[None]:
    """A run that spends must not end, and what it made must not be lost, because Prefect cannot be told of it."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever Prefect's client raises when its server is not there
        log.warning("%s cannot be shown by Prefect: %s", what, error)


async def _publish(summary: Summary, manifest: Path) -> None:
    with out_of_the_way("the summary"):
        await acreate_table_artifact(
            [{"what": name, "value": str(value)} for name, value in (*picture_rows(summary), *spend_rows(summary))],
            key="spend",
            description=f"{manifest.name}: what was made and spent",
        )
        await acreate_markdown_artifact(to_markdown(summary, manifest.name), key="summary")


def _state(summary: Summary) -> State[dict[str, Any]]:
    """What Prefect shows: a used-up budget is a plan that worked, an account that is refused is not."""
    told = f"{summary.made:,} made, {summary.already:,} before, {summary.left:,} left of {summary.asked:,}"
    match summary.stopped_by:
        case None:
            missing = summary.failed + summary.unknown
            return Completed(message=told + (f"; {missing:,} rows failed" if missing else ""), data=summary.to_dict())
        case StoppedBy.BUDGET:
            return Completed(message=f"budget reached: {told}", data=summary.to_dict())
        case StoppedBy.SIGNAL:
            return Cancelled(message=f"interrupted: {told}", data=summary.to_dict())
        case _:
            return Failed(message=f"{summary.reason} ({told})", data=summary.to_dict())


@contextmanager
def _logged_by_prefect() -> Iterator[None]:
    """fluxbatch's log lines go to the flow run as well."""
    logger, handler = logging.getLogger("fluxbatch"), APILogHandler()
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
    report = given.out / REPORT
    console = Console()
    if report.exists():
        console.print(Markdown(report.read_text()))
        console.print(f"\ndataset  {given.out}\nreport   {report}", markup=False, highlight=False, soft_wrap=True)
    sys.exit(0 if state.is_completed() else 1)


async def _run(manifest: Path, out: Path, budget: Decimal, simulate: bool) -> State[Any]:
    state: State[Any] = await generate_dataset(manifest, out, budget, simulate=simulate, return_state=True)
    return state


if __name__ == "__main__":
    main()
