# ruff: noqa: TID251 - this stands in for Prefect's own workers
"""A hand in the place of a work pool's workers, for a batch in chunks that runs in this process.

Prefect is imported when a test runs, not when tests are collected: it takes seconds.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from fluxbatch.budget.here import Here
from fluxbatch.budget.lease import Taken, leases_of, take
from fluxbatch.chunked import made
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.job import Chunk, Job

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

Deed: TypeAlias = Callable[["Hand", "FlowRun"], Awaitable[None]]
"""What becomes of a run."""


def client(sync_client: bool = False) -> Any:
    from prefect.client.orchestration import get_client

    return get_client(sync_client=sync_client)


@contextmanager
def without_logs_from_elsewhere() -> Iterator[None]:
    """What the hand makes in this process logs without a flow run, which is no fault here."""
    from prefect.settings import PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW, temporary_settings

    with temporary_settings({PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "ignore"}):
        yield


class Hand:
    """In a worker's place: does to each run of a chunk what a test wants, in the order in which they are begun."""

    def __init__(self, job: Job, does: Sequence[Deed]) -> None:
        self.job = job
        self.does = list(does)
        self.runs: list[FlowRun] = []

    async def deploy(self) -> None:
        """The deployment that batches ask for."""
        async with client() as prefect:
            flow = await prefect.create_flow_from_name("generate-chunk")
            await prefect.create_deployment(flow, "chunk", entrypoint="flows/chunk.py:generate_chunk")

    async def work(self) -> None:
        from prefect.client.schemas.filters import FlowFilter, FlowFilterName

        await self.deploy()
        chunks = FlowFilter(name=FlowFilterName(any_=["generate-chunk"]))
        while self.does:
            await asyncio.sleep(0.05)
            async with client() as prefect:
                found = await prefect.read_flow_runs(flow_filter=chunks)
            known = {run.id for run in self.runs}
            for run in sorted((one for one in found if one.id not in known), key=lambda one: str(one.created)):
                if run.parameters["chunk"]["batch"] in self.of_this_batch():
                    self.runs.append(run)
                    await self.does.pop(0)(self, run)

    def of_this_batch(self) -> set[str]:
        with closing(self.job.open_store()) as store, store.reading() as tx:
            return {one.run for one in leases_of(tx, Dataset.open(self.job.out).id)} if self.exists() else set()

    def exists(self) -> bool:
        return Dataset.exists(self.job.out)

    def states(self) -> list[tuple[str, str | None]]:
        """Type and message of each run's state."""
        with client(sync_client=True) as prefect:
            found = [prefect.read_flow_run(run.id).state for run in self.runs]
        return [(state.type.value, state.message) for state in found if state is not None]


async def set_state(run: FlowRun, kind: str, message: str | None = None) -> None:
    from prefect.client.schemas.objects import State, StateType

    async with client() as prefect:
        await prefect.set_flow_run_state(run.id, State(type=StateType(kind), message=message), force=True)


async def makes(hand: Hand, run: FlowRun) -> None:
    """As a worker's process does it."""
    await set_state(run, "RUNNING")
    await asyncio.to_thread(made, hand.job, Chunk(**run.parameters["chunk"]))
    await set_state(run, "COMPLETED")


async def takes_and_dies(hand: Hand, run: FlowRun) -> None:
    await set_state(run, "PENDING")


async def crashes(hand: Hand, run: FlowRun) -> None:
    await set_state(run, "CRASHED")


async def falls_silent(hand: Hand, run: FlowRun) -> None:
    """On another machine, with its worker: nobody tells Prefect."""
    await set_state(run, "RUNNING")
    chunk, far = Chunk(**run.parameters["chunk"]), Here("far-away", 7, "another boot", "1 1")
    seat = {"holder": chunk.batch, "seat": chunk.name}
    with closing(hand.job.open_store()) as store, store.transaction() as tx:
        assert isinstance(take(tx, Dataset.open(hand.job.out).id, chunk.run, far, 0.0, **seat), Taken)


async def is_told_to_end(hand: Hand, run: FlowRun) -> None:
    await set_state(run, "RUNNING")
    os.kill(os.getpid(), signal.SIGTERM)  # to the batch, whose loop this is
    async with client() as prefect:
        while (state := (await prefect.read_flow_run(run.id)).state) is None or not state.is_cancelling():
            await asyncio.sleep(0.05)
    await set_state(run, "CANCELLED")
