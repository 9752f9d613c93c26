"""A batch in chunks over a work pool: each a run of the deployment `generate-chunk/chunk`, begun again when it dies.

Prefect is asked to run a chunk, and whether it has ended. What has become of it stands in the ledger: a run that ended
wrote its summary there, one that died did not, and one whose lease ran out is silent, whatever Prefect still shows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State
from prefect.deployments import arun_deployment
from prefect.states import Cancelling, Crashed

from flows.outage import is_up, out_of_the_way
from fluxbatch.chunked import Ends, Sign, again, balance_of, pictures_of, sign_of
from fluxbatch.dispatch.stop import Stop
from fluxbatch.dispatch.tally import Tally
from fluxbatch.job import Chunk
from fluxbatch.prepare import Prepared

log = logging.getLogger("fluxbatch.flow")

DEPLOYMENT = "generate-chunk/chunk"
LOOK_EVERY_S = 2.0
COUNT_EVERY_S = 10.0
PAGE = 100
WAITS_S = 60.0
"""After so long without a worker it is said that one is missing."""
PENDING_MAX_S = 120.0
"""A worker that took a run and died before its process began leaves it pending for ever; it takes seconds to begin."""
IN_VAIN_MAX = 3
"""So often in a row a chunk may die without a picture; then it is given up, and the next run of the batch goes on."""


@dataclass(slots=True)
class FanOut:
    """`given` are the parameters of the batch, as JSON. `tally` is live."""

    ready: Prepared
    given: Mapping[str, Any]
    stop: Stop = field(default_factory=Stop)
    tally: Tally = field(init=False)
    ends: Ends = field(default_factory=Ends)
    _shown: dict[UUID, State[Any] | None] = field(default_factory=dict)
    """What Prefect showed last of each run that is under way."""
    _beginning: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        plan, balance = self.ready.plan, self.ready.recovery.balance
        self.tally = Tally(balance, plan.asked, plan.already, 0, plan.ended.copy(), plan.too_dear)
        self.tally.out_of_reach = plan.due - plan.fits_now

    async def make(self, chunks: Sequence[Chunk]) -> None:
        """See each chunk to its end, side by side."""
        async with self._looking(), asyncio.TaskGroup() as group:
            for chunk in chunks:
                group.create_task(self._see_through(chunk))

    async def _see_through(self, chunk: Chunk) -> None:
        number = in_vain = 0
        while not self.stop.is_set:
            number += 1
            one = again(chunk, number)
            summary = await self._once(one)
            if summary is not None:
                self.ends.summaries.append(summary)
                return
            made = await asyncio.to_thread(pictures_of, self.ready, one)
            in_vain = 0 if made else in_vain + 1
            if in_vain == IN_VAIN_MAX:
                self.ends.lost.append(f"chunk {chunk.name} died {in_vain} times in a row without a picture")
                return
            if not self.stop.is_set:
                log.warning("chunk %s has died after %d pictures: it is begun again", chunk.name, made)

    async def _once(self, chunk: Chunk) -> Mapping[str, Any] | None:
        """One run of the chunk: its summary, or None when it died."""
        async with self._beginning:
            run = await self._begun(chunk)
        if run is None:
            return None
        self._shown[run] = None
        try:
            return await self._seen_to_its_end(chunk, run)
        finally:
            del self._shown[run]

    async def _seen_to_its_end(self, chunk: Chunk, run: UUID) -> Mapping[str, Any] | None:
        waited_s, pending_s, is_told, is_stopped = 0.0, 0.0, False, False
        while True:
            state, sign = self._shown[run], await self._sign(chunk)
            if sign.summary is not None:
                return sign.summary
            pending_s = pending_s + LOOK_EVERY_S if state is not None and state.is_pending() else 0.0
            if sign.is_silent or pending_s >= PENDING_MAX_S or (state is not None and state.is_final()):
                await _say_what_is_true(run, state)
                return (await self._sign(chunk)).summary  # it may have ended between the two questions
            if self.stop.is_set and not is_stopped:
                is_stopped = await _cancelled(run)
            await asyncio.sleep(LOOK_EVERY_S)
            waited_s += LOOK_EVERY_S
            if not sign.has_begun and not is_told and waited_s >= WAITS_S:
                is_told = True
                told = "chunk %s waits for a worker: start one (prefect worker start), or raise the work pool's limit"
                log.warning(told, chunk.name)

    async def _begun(self, chunk: Chunk) -> UUID | None:
        """The chunk's flow run; None when the batch is to end before Prefect's server is there to make one. Asked again
        under the same key, it is the same run."""
        rows = f"rows {chunk.first_row:,} to {chunk.last_row:,}"
        while not self.stop.is_set:
            if await is_up():
                with out_of_the_way(f"chunk {chunk.name}"):
                    made = await arun_deployment(
                        DEPLOYMENT,
                        parameters={"chunk": asdict(chunk), "given": dict(self.given)},
                        flow_run_name=f"chunk {chunk.name}, {rows}",
                        timeout=0,
                        idempotency_key=chunk.run,
                    )
                    log.info("chunk %s (%s) is begun as run %s", chunk.name, rows, chunk.run)
                    return made.id
            await self.stop.sleep(LOOK_EVERY_S)
        return None

    async def _sign(self, chunk: Chunk) -> Sign:
        return await asyncio.to_thread(sign_of, self.ready, chunk)

    @asynccontextmanager
    async def _looking(self) -> AsyncIterator[None]:
        """What Prefect shows of the runs under way, and what they have made so far, for who watches the batch."""

        async def every(seconds: float, look: Callable[[], Awaitable[None]]) -> None:
            while True:
                await look()
                await asyncio.sleep(seconds)

        looking = [
            asyncio.create_task(every(LOOK_EVERY_S, self._look)),
            asyncio.create_task(every(COUNT_EVERY_S, self._count)),
        ]
        try:
            yield
        finally:
            for task in looking:
                task.cancel()
            await asyncio.wait(looking)

    async def _count(self) -> None:
        self.tally.made = await asyncio.to_thread(pictures_of, self.ready) - self.tally.already
        self.tally.balance = await asyncio.to_thread(balance_of, self.ready)

    async def _look(self) -> None:
        """All in one question; a server that is away shows nothing new."""
        runs = list(self._shown)
        if runs and await is_up():
            with out_of_the_way("the states of the chunks"):
                async with get_client() as client:
                    for start in range(0, len(runs), PAGE):
                        wanted = FlowRunFilter(id=FlowRunFilterId(any_=runs[start : start + PAGE]))
                        found = await client.read_flow_runs(flow_run_filter=wanted)
                        self._shown.update({one.id: one.state for one in found if one.id in self._shown})


async def _say_what_is_true(run: UUID, state: State[Any] | None) -> None:
    """A run that has gone silent, or was never begun, and is still shown as alive, is shown as what it is."""
    if state is None or not state.is_final():
        is_pending = state is not None and state.is_pending()
        why = "its worker never began it" if is_pending else "its lease in the ledger has run out"
        with out_of_the_way("that a chunk has died"):
            async with get_client() as client:
                await client.set_flow_run_state(run, Crashed(message=why), force=True)


async def _cancelled(run: UUID) -> bool:
    """Tell a run to end. False when nobody could be told."""
    with out_of_the_way("that a chunk is to end"):
        async with get_client() as client:
            await client.set_flow_run_state(run, Cancelling(message="its batch is to end"))
            return True
    return False
