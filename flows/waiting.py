"""A flow whose dataset another run is working on: it waits on the loop, where whoever stops it is heard."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import replace

from flows.outage import stopped_with_its_worker
from fluxbatch.budget.store import Store
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dispatch.stop import Stop
from fluxbatch.errors import DatasetInUse
from fluxbatch.foreground import stop_on_signals
from fluxbatch.holder import holder_of
from fluxbatch.job import Job
from fluxbatch.prepare import Prepared, prepared
from fluxbatch.run import simulated

log = logging.getLogger("fluxbatch.flow")

ASK_AGAIN_S = 1.0


class StoppedWaiting(Exception):
    """The run was stopped, or cancelled, before it was its turn."""


@asynccontextmanager
async def prepared_in_turn(job: Job) -> AsyncIterator[Prepared]:
    """`prepared`, when no other run is working on the dataset any more if it is to be waited for (if_running).

    `prepared` can wait by itself, but asleep and with the loop: a worker that is gone is not heard, and Prefect calls
    a run crashed that a signal has ended there. StoppedWaiting when it is stopped while it waits.
    """
    is_patient = job.settings.if_running == "wait"
    settings = job.settings.model_copy(update={"if_running": "fail"}) if is_patient else job.settings
    with ExitStack() as stack:
        served = stack.enter_context(simulated(replace(job, settings=settings)))
        while True:
            try:
                ready = stack.enter_context(prepared(served))
                break
            except DatasetInUse as error:
                if not is_patient:
                    raise
                log.warning("waiting until %s is done with this dataset", error.by.split(",")[0])
            await _until_free(served)
        yield ready


async def _until_free(job: Job) -> None:
    """Look, and take nothing, until nobody holds the dataset. What is planned is planned when it is this run's turn."""
    current, stop = asyncio.current_task(), Stop()
    assert current is not None
    with closing(job.open_store()) as store, stop_on_signals(stop, current), stopped_with_its_worker(stop):
        while True:
            if await stop.sleep(ASK_AGAIN_S):
                raise StoppedWaiting
            if not Dataset.exists(job.out) or _holder(job, store) is None:
                return


def _holder(job: Job, store: Store) -> str | None:
    dataset, chunk = Dataset.open(job.out), job.chunk
    if chunk is None:
        return holder_of(dataset, store)
    return holder_of(dataset.chunk(chunk.name), store, holder=chunk.batch, seat=chunk.name)
