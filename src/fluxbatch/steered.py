"""A run that can be watched and steered from elsewhere: every second it tells the ledger how it stands, and hears there
what is wished of it. Both are one statement, which goes along with what is committed anyway.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fluxbatch.budget import wishes
from fluxbatch.budget.journal import Journal
from fluxbatch.dispatch.engine import Engine
from fluxbatch.dispatch.steering import Steering
from fluxbatch.errors import LedgerError
from fluxbatch.progress import Eta, OfModel, Progress, Trace, eta, reasons_of

log = logging.getLogger(__name__)

EVERY_S = 1.0


@dataclass(slots=True)
class Live:
    """How a run stands, for whoever looks at it, and how it is steered."""

    engine: Engine
    steering: Steering
    rate_most: float | None
    """Requests a minute that it was started with; None: not known."""
    clock: Callable[[], float] = time.monotonic
    trace: Trace = field(default_factory=Trace)

    def progress(self) -> Progress:
        """As it is now."""
        tally, lanes, steering, trace = self.engine.tally, self.engine.lanes, self.steering, self.trace
        trace.note(self.clock(), tally.done, tally.in_flight, steering.halt.is_on)
        paused, exposed = steering.wish.paused, steering.exposed
        per_minute = tally.per_minute(self.engine.now())
        return Progress(
            asked=tally.asked,
            goal=tally.goal,
            done=tally.done,
            made=tally.made,
            in_flight=tally.in_flight,
            in_flight_max=exposed.most,
            in_flight_most=steering.in_flight_most,
            requests=tally.requests,
            refusals=tally.refusals,
            per_minute=round(per_minute, 1),
            rate=steering.pace.kept_per_minute,
            rate_most=self.rate_most,
            eta=self._eta(per_minute),
            speeds=trace.per_minute,
            flights=trace.in_flight,
            reasons=reasons_of(list(tally.codes.items()), tally.texts),
            models=tuple(
                OfModel(model.name, lane.made, lane.in_flight, lane.gate.flight.limit, lane.latency_s)
                for model, lane in lanes
                if lanes.are_many
            ),
            paused_by=None if paused is None else paused.by,
            paused_at_us=None if paused is None else paused.at_us,
            trouble=self._trouble(),
        )

    def _eta(self, per_minute: float) -> Eta | None:
        left = self.engine.tally.goal - self.engine.tally.done
        intervals = self.trace.intervals()
        if not intervals and per_minute:  # in the first seconds
            intervals = [(round(per_minute), 60.0)]
        return eta(left, intervals)

    def _trouble(self) -> str | None:
        """What holds the run up, if anything does."""
        stop, lanes = self.engine.stop, self.engine.lanes
        if stop.is_set:
            return f"stopping ({stop.by}): {self.engine.tally.in_flight} in flight are waited for"
        told = []
        for model, lane in lanes:
            to = f"to {model.name} " if lanes.are_many else ""
            if (reason := lanes.why_given_up(model)) is not None:
                told.append(f"nothing more is sent {to}({reason})")
            elif (pause := lane.hold.pause) is not None:
                told.append(f"sending {to}pauses: {pause.trouble.text} ({pause.detail})")
        return "; ".join(told) or None


@asynccontextmanager
async def steered(live: Live, journal: Journal, dataset: str, run: str, holder: str) -> AsyncIterator[None]:
    """Tell and hear for as long as the block lasts; what was said before it began holds from its beginning on."""

    async def look() -> bool:
        """Whether there was something new."""
        known = live.steering.wish
        text = live.progress().to_text(wishes.TOLD_MAX)
        wish = await journal.do(lambda tx: wishes.tell_and_hear(tx, dataset, run, holder, known, text), may_wait=True)
        for line in live.steering.follow(wish):
            log.warning("%s", line)
        return wish is not known

    async def look_on() -> None:
        with contextlib.suppress(LedgerError):  # the ledger has failed: the next heartbeat ends the run
            while True:
                while await look():
                    pass  # that it is taken up is told at once: somebody waits for it
                await asyncio.sleep(EVERY_S)

    with contextlib.suppress(LedgerError):
        await look()
    looking = asyncio.create_task(look_on())
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.wait([looking])
