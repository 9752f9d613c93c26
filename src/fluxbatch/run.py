"""Composition: builds the parts of one run and drives it. The CLI and the flow both stand on this.

with simulated(job) if job.simulate …, prepared(job) as ready:      the manifest read once, the plan made
    async with open_batch(ready) as batch:                         client, ledger thread, engine
        await drive(batch, batch.work)                             shards overlap: no idle tail
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from fluxbatch.batch import Batch, Shard
from fluxbatch.budget import store as side
from fluxbatch.budget.entries import Learned
from fluxbatch.budget.journal import Journal, ThreadJournal
from fluxbatch.budget.plan import Plan
from fluxbatch.cloudflare.client import Client
from fluxbatch.cloudflare.outcome import Fatal
from fluxbatch.dataset.failures import FailureWriter
from fluxbatch.dataset.place import Place
from fluxbatch.dispatch.adapt import Gate, first_flight
from fluxbatch.dispatch.ahead import Ahead
from fluxbatch.dispatch.distance import Grid
from fluxbatch.dispatch.engine import Engine, Offload, Sender
from fluxbatch.dispatch.fair import Shares
from fluxbatch.dispatch.halt import Halt
from fluxbatch.dispatch.hold import Hold
from fluxbatch.dispatch.keep import Keeper
from fluxbatch.dispatch.lane import Lane
from fluxbatch.dispatch.lanes import Lanes, end_by
from fluxbatch.dispatch.pace import Pace
from fluxbatch.dispatch.retry import Quota
from fluxbatch.dispatch.steering import Steering
from fluxbatch.dispatch.stop import Stop, StoppedBy
from fluxbatch.dispatch.tally import Tally
from fluxbatch.errors import FluxbatchError, LedgerError, UsageError
from fluxbatch.job import Job, credentials_of
from fluxbatch.models.catalogue import Model
from fluxbatch.prepare import Prepared
from fluxbatch.steered import Live, steered

log = logging.getLogger(__name__)

WORKERS = max(2, min(4, os.cpu_count() or 2))
STORE_WORKERS = 32
"""In a store a picture's put takes tens to hundreds of milliseconds, and nearly no CPU: 20 a second want that many."""
SWITCH_S = 0.0005


async def drive(batch: Batch, work: Callable[[Shard], Awaitable[object]]) -> None:
    """Run each shard's work; the next shard begins when the one before has nothing left to start, or when a model would
    be idle behind the rows of another."""
    async with asyncio.TaskGroup() as group:
        try:
            async for shard in batch.shards():
                # Once the run is over nothing is sent: what is left is only counted, which is no work to be watched.
                task = group.create_task(_worked(batch.work if batch.stop.is_set else work, shard))
                wanted = asyncio.ensure_future(batch.engine.ahead.wanted(shard.line))
                await asyncio.wait((task, wanted), return_when=asyncio.FIRST_COMPLETED)
                wanted.cancel()
        except FluxbatchError as error:
            # The manifest has changed since it was checked, or the ledger cannot be read; what is out is finished.
            batch.stop.request(StoppedBy.PLATFORM, str(error), None if isinstance(error, UsageError) else error)


async def _worked(work: Callable[[Shard], Awaitable[object]], shard: Shard) -> None:
    try:
        await work(shard)  # called in here: a task that is cancelled before it begins leaves no coroutine behind
    finally:
        shard.line.close()


@dataclass(frozen=True, slots=True)
class World:
    """What a run touches besides its files. The simulation hands in another, in which time is virtual."""

    sender: Sender
    journal: Journal
    executor: Executor
    behind: Executor
    """For what nobody waits for."""
    now: Callable[[], float] = time.time
    chance: random.Random = field(default_factory=random.Random)
    is_steered: bool = True
    """Whether the run tells the ledger how it stands, and hears there what is wished of it."""


@asynccontextmanager
async def open_batch(ready: Prepared) -> AsyncIterator[Batch]:
    """The parts of a run, put together; at the end of the block the batch is closed and summed up.

    A block that is cancelled is not closed: what was in flight is found by the next start.
    """
    async with AsyncExitStack() as stack:
        settings = ready.job.settings
        client = Client(
            credentials_of(settings),
            connections=settings.max_in_flight,  # no more stand than may be lost when the platform dies
            deadline_s=settings.deadline,
        )
        await stack.enter_async_context(client)
        journal = ThreadJournal(ready.store, ready.store.outages)
        stack.callback(journal.close)
        spooling, looking = threads_for(ready.dataset.folder)
        executor = ThreadPoolExecutor(spooling, thread_name_prefix="spool")
        behind = ThreadPoolExecutor(looking, thread_name_prefix="look")
        stack.callback(executor.shutdown, wait=True, cancel_futures=True)
        stack.callback(behind.shutdown, wait=True, cancel_futures=True)
        if ready.plan.due:
            await _offload(executor)(_keeper(ready).warm)
            stack.enter_context(_responsive())
        world = World(client, journal, executor, behind, ready.job.clock or time.time)
        batch = await stack.enter_async_context(batch_in(world, ready))
        if ready.plan.due:
            await _preflight(client, ready.plan, batch.engine)
        yield batch


def threads_for(folder: Place) -> tuple[int, int]:
    """How many threads spool pictures, and how many do what nobody waits for.

    Of the latter one, so that it does not crowd out what is urgent. In a store, where sealing takes half a minute of
    waiting for answers, a second one looks at pictures and reads the manifest meanwhile.
    """
    return (WORKERS, 1) if isinstance(folder, Path) else (STORE_WORKERS, 2)


@asynccontextmanager
async def batch_in(world: World, ready: Prepared) -> AsyncIterator[Batch]:
    """The same in a world that is given, and is closed by whoever made it."""
    with contextlib.ExitStack() as stack:
        failures = FailureWriter(ready.dataset.folder / "failures.parquet", ready.dataset.own_schema)
        stack.callback(failures.discard)
        run, dataset, manifest = ready.run, ready.dataset.id, str(ready.job.manifest)
        began_us = ready.job.now_us()
        await world.journal.do(lambda tx: side.open_run(tx, run, dataset, manifest, began_us))
        live = _live(ready, world)
        batch = Batch(ready, world.journal, live.engine, failures, time.monotonic(), live)
        if ready.recovery.too_dear is not None:
            batch.stop.request(StoppedBy.PLATFORM, ready.recovery.too_dear)
        async with _heartbeats(batch), _steered(batch, world):
            yield batch
            await batch.close()


@asynccontextmanager
async def _heartbeats(batch: Batch) -> AsyncIterator[None]:
    """Tell the ledger that this run is alive, until the block ends; a run that was taken over is stopped."""
    await _beat(batch)

    async def beat_on() -> None:
        while not batch.is_cut_off:
            await asyncio.sleep(batch.prepared.hold.every_s)
            await _beat(batch)

    beating = asyncio.create_task(beat_on())
    try:
        yield
    finally:
        beating.cancel()
        await asyncio.wait([beating])


async def _beat(batch: Batch) -> None:
    try:
        await batch.prepared.hold.beat(batch.journal)
    except LedgerError as error:
        batch.is_cut_off = True
        batch.stop.request(StoppedBy.PLATFORM, str(error), error)


def _steered(batch: Batch, world: World) -> AbstractAsyncContextManager[None]:
    ready = batch.prepared
    if not world.is_steered:
        return contextlib.nullcontext()
    return steered(batch.live, batch.journal, ready.dataset.id, ready.run, _holder(ready))


def _holder(ready: Prepared) -> str:
    """Whose wishes count: the batch's, for a chunk of it."""
    return ready.run if ready.job.chunk is None else ready.job.chunk.batch


@contextlib.contextmanager
def _responsive() -> Iterator[None]:
    """The event loop must not wait 5 ms for its turn whenever a worker thread is busy, nor 100 ms for a collection of
    the half a million objects that the libraries made when they were imported."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        sys.setswitchinterval(before)


def _offload(executor: Executor) -> Offload:
    async def offload(function: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(executor, function, *args)

    return offload


def _live(ready: Prepared, world: World) -> Live:
    """The engine, and what steers it."""
    settings, stop, halt, learned = ready.job.settings, Stop(), Halt(), _learned(ready)
    pace = _pace(ready, world, learned)
    stop.tell(pace.close)
    lanes = _lanes(ready, learned, stop, pace, halt)
    engine = _engine(ready, world, stop, lanes)
    steering = Steering(halt, pace, engine.exposed, stop, settings.max_in_flight)
    return Live(engine, steering, settings.rate or None)


def _engine(ready: Prepared, world: World, stop: Stop, lanes: Lanes) -> Engine:
    job, plan = ready.job, ready.plan
    ahead = Ahead(_due_of(plan))
    lanes.on_end = ahead.give_up
    return Engine(
        dataset=ready.dataset.id,
        run=ready.run,
        sender=world.sender,
        journal=world.journal,
        lanes=lanes,
        keeper=_keeper(ready),
        offload=_offload(world.executor),
        behind=_offload(world.behind),
        stop=stop,
        tally=_tally(ready),
        policy=job.policy(),
        now=world.now,
        exposed=Shares(job.settings.max_in_flight),
        ahead=ahead,
        chance=world.chance,
        passes_over=plan.order is not None,
    )


def _tally(ready: Prepared) -> Tally:
    plan, balance = ready.plan, ready.recovery.balance
    out_of_reach = plan.due - plan.fits_now
    return Tally(
        balance, plan.asked, plan.already, 0, plan.ended.copy(), too_dear=plan.too_dear, out_of_reach=out_of_reach
    )


def _keeper(ready: Prepared) -> Keeper:
    version, marks = ready.dataset.header.version, ready.job.settings.embed_provenance
    return Keeper(ready.spool, ready.dataset.own_schema, ready.run, version, marks)


def _due_of(plan: Plan) -> Counter[str]:
    """How many pictures of each model are to be made, by its id."""
    due: Counter[str] = Counter()
    for shape, count in plan.shapes.items():
        due[shape.model.id] += count
    return due


def _learned(ready: Prepared) -> Mapping[str, Learned | None]:
    """What earlier runs have learned about each model that is due."""
    account = ready.job.account
    return ready.store.read(lambda tx: {model: side.recall(tx, account, model) for model in _due_of(ready.plan)})


def _pace(ready: Prepared, world: World, learned: Mapping[str, Learned | None]) -> Pace:
    """The account's, over all models."""
    account, limit = ready.job.account, ready.job.settings.rate or None
    rates = [one.rate_per_minute for one in learned.values() if one is not None and one.rate_per_minute is not None]
    grid = Grid(ready.dataset.id, _holder(ready))
    return Pace(world.journal, account, limit, max(rates, default=None), world.now, ready.run, grid)


def _lanes(ready: Prepared, learned: Mapping[str, Learned | None], stop: Stop, pace: Pace, halt: Halt) -> Lanes:
    """One lane a model, on one pace."""
    settings, due = ready.job.settings, _due_of(ready.plan)

    def open_lane(model: Model, its_stop: Stop, give_up: Callable[[str], None]) -> Lane:
        known = learned.get(model.id)
        gate = Gate(first_flight(settings.max_in_flight, known, paced=settings.rate > 0))
        hold, to = Hold(settings.patience * 60.0, give_up, halt.awake_s), f" to {model.name}" if len(due) > 1 else ""
        lane = Lane(gate, pace, hold, its_stop, Quota(due[model.id]), to, model.id, halt)
        pace.recall(lane, None if known is None else known.rate_per_minute)
        return lane

    return Lanes(open_lane, stop, due)


async def _preflight(client: Client, plan: Plan, engine: Engine) -> None:
    """Each model that has pictures due is asked for once, before anything is sent."""
    for model in dict.fromkeys(shape.model for shape in plan.shapes):
        found = await client.preflight(model)
        if isinstance(found, Fatal):
            end_by(found, model, engine.lanes, engine.stop)
        elif found is not None:
            log.warning("the free pre-flight of %s brought no answer (%s); going on", model.name, found.message)
        if engine.stop.is_set:
            return


@contextlib.contextmanager
def simulated(job: Job) -> Iterator[Job]:
    """The job against a simulator that lives as long as the block; the job as it is when it asks for none.

    `FLUXBATCH_SIMULATOR` takes the simulator's settings as a JSON object.
    """
    if not job.simulate:
        yield job
        return
    from fluxbatch.simulator.server import Simulator
    from fluxbatch.simulator.settings import SimulatorSettings

    own = {} if job.settings.models is None else {"models_file": str(job.settings.models.absolute())}
    wanted = SimulatorSettings.from_json(os.environ.get("FLUXBATCH_SIMULATOR", "{}")).with_changes(own)
    with Simulator(wanted) as simulator:
        account = {"account_id": simulator.account, "api_token": SecretStr(simulator.token)}
        changed = job.settings.model_copy(update={**account, "base_url": simulator.base_url})
        yield replace(job, settings=changed)
