"""The main path: one picture at a time, many at once.

    a place in flight -> no hold -> the pace's turn -> reserve (durable) -> send once -> outcome
      picture            -> spool (durable) -> post -> a look at it
      certainly unbilled -> void, and again if the rule says so
      perhaps billed     -> unknown, and again only within policy and quota

The order spool, then post is the promise: a booked picture is on the disk. Each model has a lane of its own: its rows
start in order, and none waits for another model.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from fluxbatch.budget import ledger
from fluxbatch.budget.entries import AttemptId, Denied, End, Resolution, State
from fluxbatch.budget.journal import Journal
from fluxbatch.cloudflare.outcome import (
    Broken,
    Delivered,
    Failed,
    Fatal,
    Lost,
    Outcome,
    Reply,
    Throttled,
)
from fluxbatch.dataset.spool import Spooled
from fluxbatch.dispatch.ahead import Ahead, Line
from fluxbatch.dispatch.course import Course, course_of
from fluxbatch.dispatch.course import Due as Due
from fluxbatch.dispatch.course import Ended as Ended
from fluxbatch.dispatch.drift import beyond_bound
from fluxbatch.dispatch.fair import Shares
from fluxbatch.dispatch.keep import Answer, Keeper, look, resolution_of
from fluxbatch.dispatch.lane import Flying, Lane
from fluxbatch.dispatch.lanes import Lanes, end_by
from fluxbatch.dispatch.place import Exposure, Place
from fluxbatch.dispatch.retry import Finish, RetryPolicy, next_step
from fluxbatch.dispatch.stop import Stop, StoppedBy
from fluxbatch.dispatch.tally import Tally
from fluxbatch.errors import LedgerError, StorageError, UsageError
from fluxbatch.manifest.references import fitted_bytes
from fluxbatch.manifest.request import ImageRequest
from fluxbatch.models.money import ZERO, Money

log = logging.getLogger(__name__)

LOOKS_MAX = 64
"""So many pictures are held in memory to be looked at; sealing looks at the others, from the spool."""


class PutOff:
    """It was not sent because of a halt: it is to be sent when that is over."""


class Sender(Protocol):
    """What sends one request, once."""

    async def send(self, asked: ImageRequest, images: Sequence[bytes]) -> Reply | Broken: ...


class Offload(Protocol):
    """Runs a function off the event loop."""

    def __call__(self, function: Callable[..., Any], *args: Any) -> Awaitable[Any]: ...


@dataclass(slots=True)
class Engine:
    """Sends what is due. Everything that touches the world is handed in."""

    dataset: str
    run: str
    sender: Sender
    journal: Journal
    lanes: Lanes
    keeper: Keeper
    offload: Offload
    behind: Offload
    """For what nobody waits for, so that it never stands before a picture that is not safe yet."""
    stop: Stop
    tally: Tally
    policy: RetryPolicy
    now: Callable[[], float]
    exposed: Shares
    """As many as may be in flight, over all models: held from the reservation until the picture is on the disk. It
    bounds what a crash can lose, and stops the sending when the disk is slow."""
    ahead: Ahead = field(default_factory=Ahead)
    chance: random.Random = field(default_factory=random.Random)
    passes_over: bool = False
    """A picture that the dataset's budget has no room for is not reached, and the run goes on to others."""
    passed_over: int = 0
    _tight: asyncio.Lock = field(default_factory=asyncio.Lock)
    _settled: asyncio.Event = field(default_factory=asyncio.Event)
    _unsettled: int = 0
    _looks: int = 0

    async def send_all(self, due: Iterable[Due], ended: Callable[[Ended], None], line: Line) -> None:
        """Send each, model by model in order, as places become free; `ended` hears of each, `line` when one starts.

        After a stop, or when its model is given up, nothing more is sent and the rest is told as not reached.
        """
        rows: dict[Lane, list[Due]] = {}
        for one in due:
            rows.setdefault(self.lanes.of(one.request.model), []).append(one)
        async with asyncio.TaskGroup() as group:
            for lane, ones in rows.items():
                group.create_task(self._feed(group, lane, ones, ended, line))

    async def _feed(
        self, group: asyncio.TaskGroup, lane: Lane, due: list[Due], ended: Callable[[Ended], None], line: Line
    ) -> None:
        async with lane.feeding:  # one slice after the other
            for one in due:
                if await lane.gate.enter():
                    group.create_task(self._see_through(course_of(one, lane), ended))
                else:
                    self._told(lane, Ended(one.request, None, one.history.attempts), ended)
                line.started(one.request.model.id)

    async def _see_through(self, course: Course, ended: Callable[[Ended], None]) -> None:
        attempts = course.number
        try:
            self._told(course.lane, await self._picture(course), ended)
        except (StorageError, LedgerError) as error:
            # What came back cannot be kept, or what goes out not be counted: nothing more may be bought. The attempt
            # stays as it stands in the ledger; the next start finds it.
            self.stop.request(StoppedBy.PLATFORM, str(error), error)
            self._told(course.lane, Ended(course.request, None, attempts), ended)

    @staticmethod
    def _told(lane: Lane, one: Ended, ended: Callable[[Ended], None]) -> None:
        lane.unreached += one.end is None
        ended(one)

    async def _picture(self, course: Course) -> Ended:
        lane = course.lane
        while True:
            try:
                answer = await self._attempt(course)
            except UsageError as error:
                return Ended(course.request, End.INVALID, course.number, message=str(error))
            if answer is None:
                return course.ended(None)
            if isinstance(answer, PutOff):
                if not await lane.gate.enter():
                    return course.ended(None)
                continue
            if answer.kept is not None:
                kept = await self._looked_at(answer.kept, answer.outcome, course.request)
                return course.ended(End.MADE, answer.outcome, kept)
            step = self._next(course, answer.outcome)
            if isinstance(step, Finish):
                return course.ended(step.end, answer.outcome)
            if await lane.stop.sleep(step.after_s) or not await lane.gate.enter():
                return course.ended(None, answer.outcome)

    async def _looked_at(self, kept: Spooled, outcome: Outcome, request: ImageRequest) -> Spooled:
        """The picture is safe and paid for: looking at it holds nothing up, and waits behind what comes back."""
        if not isinstance(outcome, Delivered) or self._looks >= LOOKS_MAX:
            return kept
        self._looks += 1
        try:
            seen: Spooled = await self.behind(look, kept, outcome.content, request)
            return seen
        finally:
            self._looks -= 1

    async def _attempt(self, course: Course) -> Answer | PutOff | None:
        """One attempt, from a place in flight that is held on entry to the entry in the books. None: not sent."""
        request, lane = course.request, course.lane
        with ExitStack() as ends:
            exposure = Exposure(self.exposed, lane)
            ends.callback(exposure.end)
            async with Place(lane) as place:
                images = await self._images(request)
                attempt = AttemptId(self.dataset, request.key, course.number + 1)
                cleared = await self._cleared(attempt, course, exposure)
                if cleared is None:
                    return None
                ends.callback(self._one_settled)  # however it goes on: others may wait for nothing else
                probe, turn = cleared
                course.number, course.tries = attempt.number, course.tries + 1
                await lane.pace.depart(turn, lane)
                if lane.stop.is_set or lane.halt.is_on:
                    await self._take_back(attempt, course, probe)
                    return None if lane.stop.is_set else PutOff()
                flying, reply = await self._send(place, probe, course, images)
            return await self._settle(attempt, course, flying, reply, exposure)

    async def _cleared(
        self, attempt: AttemptId, course: Course, exposure: Exposure
    ) -> tuple[bool, float | None] | None:
        """Wait for hold, exposure, pace and budget: (is the probe, the turn), or None when the lane is to end."""
        cleared = await course.lane.clear(exposure)
        if cleared is None or await self._reserve(attempt, course):
            return cleared
        if cleared[0]:
            course.lane.hold.withdrawn()
        return None

    async def _images(self, request: ImageRequest) -> Sequence[bytes]:
        if not request.references:
            return ()
        return [await self.offload(fitted_bytes, one, request.model) for one in request.references]

    async def _reserve(self, attempt: AttemptId, course: Course) -> bool:
        """Take the bound out of the budget. False when it is over; near the end of the budget it waits in line
        for what is in flight, because an actual charge below its bound leaves room for one more."""
        if self._tight.locked():
            async with self._tight:
                pass
        await course.lane.halt.over(course.lane.stop)
        if await self._try_reserve(attempt, course) is None:
            return True
        async with self._tight:
            while not course.lane.stop.is_set:
                settled = self._settled
                await course.lane.halt.over(course.lane.stop)
                denied = await self._try_reserve(attempt, course)
                if denied is None:
                    return True
                balance, bound = denied.balance, course.request.quote.bound.nano_usd
                if self._unsettled == 0 or bound > balance.free_nano_usd + balance.reserved.nano_usd:
                    if denied.window is None and self.passes_over:
                        self.passed_over += 1
                    else:
                        self.stop.request(StoppedBy.BUDGET, denied.reason)
                    return False
                await settled.wait()
        return False

    async def _try_reserve(self, attempt: AttemptId, course: Course) -> Denied | None:
        request = course.request
        bound = request.quote.bound
        if course.lane.stop.is_set:
            return Denied(self.tally.balance)
        answer = await self.journal.do(
            # When it is run, not when it is asked for: it may have waited for the ledger over midnight.
            lambda tx: ledger.reserve(tx, attempt, self.run, request.model.id, bound, round(self.now() * 1e6))
        )
        if isinstance(answer, Denied):
            return answer
        self._unsettled += 1
        self.tally.moved(reserved=bound)
        return None

    async def _send(
        self, place: Place, probe: bool, course: Course, images: Sequence[bytes]
    ) -> tuple[Flying, Reply | Broken]:
        request = course.request
        flying = course.lane.departed(probe, self.now(), request.quote.expected.centineurons)
        place.flying = flying
        self.tally.requests += 1
        self.tally.in_flight = self.lanes.in_flight
        self.tally.peak_in_flight = max(self.tally.peak_in_flight, self.tally.in_flight)
        return flying, await self.sender.send(request, images)

    async def _settle(
        self, attempt: AttemptId, course: Course, flying: Flying, reply: Reply | Broken, exposure: Exposure
    ) -> Answer:
        """What the answer means, kept and booked."""
        self.tally.in_flight = self.lanes.in_flight
        bound = course.request.quote.bound
        at = datetime.fromtimestamp(self.now(), UTC)
        answer = await self._keep(course.request, attempt, reply, at)
        self._guard(course.request, answer.outcome)
        if answer.kept is not None:
            exposure.end()
        course.lane.answered(flying, answer.outcome, reply.latency_s)
        resolution = resolution_of(answer)
        await self._resolve(attempt, resolution)
        unknown = bound if resolution.state == State.UNKNOWN else ZERO
        course.unknown += unknown
        self.tally.moved(spent=resolution.actual, reserved=ZERO - bound, unknown=unknown)
        self._tell(answer, course)
        return answer

    async def _take_back(self, attempt: AttemptId, course: Course, probe: bool) -> None:
        """The run was ended or halted while this one waited for its moment: nothing new is sent, so its bound is free
        again."""
        if probe:
            course.lane.hold.withdrawn()
        course.tries -= 1
        did = "ended" if course.lane.stop.is_set else "was paused"
        await self._resolve(attempt, Resolution(State.VOID, End.NOT_SENT, message=f"the run {did} before it was sent"))
        self.tally.moved(reserved=ZERO - course.request.quote.bound)

    async def _resolve(self, attempt: AttemptId, resolution: Resolution) -> None:
        now_us = round(self.now() * 1e6)
        await self.journal.do(lambda tx: ledger.resolve(tx, attempt, resolution, now_us), may_wait=True)

    def _one_settled(self) -> None:
        self._unsettled -= 1
        self._settled.set()
        self._settled = asyncio.Event()

    async def _keep(self, request: ImageRequest, attempt: AttemptId, reply: Reply | Broken, at: datetime) -> Answer:
        if isinstance(reply, Broken) or not 200 <= reply.status < 300:
            return self.keeper.keep(request, attempt, reply, at)  # small, and the lane should hear of it at once
        answer: Answer = await self.offload(self.keeper.keep, request, attempt, reply, at)
        return answer

    def _tell(self, answer: Answer, course: Course) -> None:
        outcome = answer.outcome
        if isinstance(outcome, Delivered):
            course.lane.quota.refund()
            self.tally.picture(self.now())
            self._watch(course.request, outcome.charge)
            return
        self.tally.no_picture(outcome.code or type(outcome).__name__.lower(), outcome.message)
        self.tally.refusals += isinstance(outcome, Throttled)
        if isinstance(outcome, Fatal):
            end_by(outcome, course.request.model, self.lanes, self.stop)

    def _watch(self, request: ImageRequest, charge: Money | None) -> None:
        """Say at once, and once, when a price has drifted."""
        if charge is not None and (drift := self.tally.watch.note(request.model, request.quote.expected, charge)):
            log.warning("%s", drift)

    def _guard(self, request: ImageRequest, outcome: Outcome) -> None:
        """A charge above its bound ends the run before another request leaves: nothing can be promised any more."""
        bound, charge = request.quote.bound, outcome.charge if isinstance(outcome, (Delivered, Failed)) else None
        if charge is not None and charge.nano_usd > bound.nano_usd:
            self.stop.request(StoppedBy.PLATFORM, beyond_bound(request.model.name, charge, bound))

    def _next(self, course: Course, outcome: Outcome) -> Any:
        course.failed += isinstance(outcome, Failed)
        course.lost += isinstance(outcome, Lost)
        chance = self.chance.random()
        return next_step(outcome, course.tries, course.failed, course.lost, self.policy, course.lane.quota, chance)
