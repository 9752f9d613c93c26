"""One model's way to the platform: the gate, the pace and the hold, and what each answer teaches them.

"Too many a minute" (3021) teaches the pace, "no room" (3040, 4002) the gate, possibly billed failures and an
unreachable network the hold. Two numbers and a switch, each with its own lesson. The pace is the account's, and so
shared by all lanes of a run; gate, hold and quota are the model's own.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from fluxbatch.budget.entries import Learned
from fluxbatch.cloudflare.outcome import Delivered, Failed, Lost, NotSent, Outcome, Throttled
from fluxbatch.dispatch import adapt
from fluxbatch.dispatch.adapt import Gate
from fluxbatch.dispatch.halt import Halt
from fluxbatch.dispatch.hold import UNREACHABLE_IN_A_ROW, Hold, Record, Trouble, noted, trips
from fluxbatch.dispatch.pace import Pace
from fluxbatch.dispatch.retry import Quota
from fluxbatch.dispatch.stop import Stop

log = logging.getLogger(__name__)

TIMEOUT_CODES = frozenset({"3046", "3007", "3008"})
PEAK_SPAN_S = 5.0
PROOF_MAX_S = 60.0
FULL_IN_A_ROW = 3
"""So many refusals in a row while nothing older was out: the platform has no room at all."""
PROVED_BY_TIME = frozenset({Trouble.RATE, Trouble.ROOM})
"""Refusals are quick, so a probe that was not refused has passed. A dead network is silent, a failure comes late."""
OTHERS_PROBE_S = 15.0
"""While another model's probe asks whether the account may send again, this one's asks seldom."""
LATENCY_RISE = 1.5
SMOOTHING = 0.1
PRESSURE_DRIFT = 1.01
"""A platform that has become slower for good is the new normal, in time."""


@dataclass(slots=True, eq=False)
class Flying:
    """A request on its way. `work` is its expected price in centineurons, which its latency is measured against."""

    sent_at: float
    probe: bool
    work: int
    timer: asyncio.TimerHandle | None = None
    proved: bool = False


class Exposed(Protocol):
    """A share of what a crash may lose."""

    async def begin(self) -> None: ...
    def end(self) -> None: ...


class Lane:
    """What a request passes on its way out, and what learns from its answer.

    `stop` ends this lane: the model is given up, or the run is over. `to` names the model where there are several. The
    counts are this run's.
    """

    def __init__(
        self,
        gate: Gate,
        pace: Pace,
        hold: Hold,
        stop: Stop,
        quota: Quota | None = None,
        to: str = "",
        model: str = "",
        halt: Halt | None = None,
    ) -> None:
        self.gate, self.pace, self.hold, self.stop = gate, pace, hold, stop
        self.halt = halt or Halt()
        self.quota = quota or Quota(0)
        self._to = to
        self.feeding = asyncio.Lock()
        """Held by the slice whose rows come next."""
        self.requests = self.refusals = self.made = self.unreached = self.peak_in_flight = 0
        self._out: dict[Flying, None] = {}
        self._full_in_a_row = 0
        self._proof_s = adapt.PROOF_S
        self._record = Record()
        self._unreachable = 0
        self._peaks = (0, 0)
        self._peak_since = float("-inf")
        self._latency_s: float | None = None
        self._pressure: float | None = None
        self._pressure_low: float | None = None
        stop.tell(gate.close)
        stop.tell(hold.close)
        stop.tell(self.halt.wake)
        own = pace.own(self)
        own.model, own.lift, own.heard_no_room = model, self._lifted, self._heard_no_room

    @property
    def in_flight(self) -> int:
        """Requests that are out now."""
        return len(self._out)

    @property
    def latency_s(self) -> float | None:
        """How long a picture takes, smoothed."""
        return self._latency_s

    async def clear(self, exposure: Exposed | None = None) -> tuple[bool, float | None] | None:
        """Wait for halt, hold, exposure and pace: (is the probe, the turn), or None when the lane is to end."""
        while True:
            await self.halt.over(self.stop)
            probe = await self.hold.admit()
            await self.pace.own(self).distance(self.stop, partial(self._may_go, probe))
            if exposure is not None and not self.stop.is_set:
                await exposure.begin()
            turn = None if self.stop.is_set else await self.pace.turn(partial(self._may_go, probe), self)
            if self.stop.is_set:
                if probe:
                    self.hold.withdrawn()
                return None
            if self._may_go(probe) and (turn is not None or not self.pace.is_known):
                return probe, turn
            if probe:
                self.hold.withdrawn()
            if exposure is not None:
                exposure.end()

    def _may_go(self, probe: bool) -> bool:
        return (probe or self.hold.pause is None) and not self.halt.is_on

    def departed(self, probe: bool, wall_s: float, work: int) -> Flying:
        """The request goes out now. If it is not turned away within a second or so, it was let in."""
        loop = asyncio.get_running_loop()
        flying = Flying(wall_s, probe, work)
        flying.timer = loop.call_later(self._proof_s, self._prove, flying)
        self._out[flying] = None
        self.requests += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        return flying

    def answered(self, flying: Flying, outcome: Outcome, latency_s: float) -> None:
        """Learn from the answer."""
        if flying.timer is not None:
            flying.timer.cancel()
        match outcome:
            case Throttled():
                self._turned_away(flying, outcome, latency_s)
            case NotSent():
                self._unreached(flying, outcome)
            case Failed() | Lost():
                self._failed(flying, outcome)
            case _:
                if isinstance(outcome, Delivered):
                    self.made += 1
                    self.hold.came()
                    self._note_latency(latency_s, flying.work)
                self._came(flying)

    def learned(self) -> Learned:
        """What the next run should begin with."""
        flight = self.gate.flight
        found_goal = flight.goal < flight.most
        in_flight = max(flight.limit, flight.goal) if found_goal else flight.limit
        return Learned(in_flight, found_goal, self.pace.per_minute(self), self._latency_s)

    def _came(self, flying: Flying) -> None:
        self._unreachable = 0
        self._record = noted(self._record, failed=False)
        self._prove(flying)
        self._pass_if_probe(flying)

    def _turned_away(self, flying: Flying, outcome: Throttled, latency_s: float) -> None:
        self.refusals += 1
        if flying.proved:  # it was taken for let in, and was not: refusals take longer here
            self._proof_s = min(PROOF_MAX_S, 2 * latency_s)
        if outcome.reason == "rate":
            if self.pace.lets_others_in(self):
                self.hold.borne()
            after_s = OTHERS_PROBE_S if self.pace.refused(self) else 0.0
            self._trouble(flying, Trouble.RATE, outcome.message, max(after_s, outcome.retry_after_s or 0.0))
            return
        before = self.gate.flight
        if not flying.probe:  # "no room for one" says nothing about how many had room before
            self._follow(adapt.refused(before, self.in_flight, _now()))
        if self.gate.flight.cut_at_s != before.cut_at_s:  # once an episode
            self.pace.no_room(self)
        now = self.gate.flight.limit
        if now < before.limit:
            log.info("no room for %d in flight%s (%s): now %d", before.limit, self._to, outcome.code, now)
        self._full_in_a_row = 0 if self._older_is_out(flying) else self._full_in_a_row + 1
        if flying.probe or self._full_in_a_row >= FULL_IN_A_ROW:
            self._trouble(flying, Trouble.ROOM, outcome.message, outcome.retry_after_s)

    def _older_is_out(self, flying: Flying) -> bool:
        """Whether a request that left before this one was let in and is still out: then there is some room."""
        oldest = next(iter(self._out), None)
        return oldest is not None and oldest.sent_at < flying.sent_at

    def _unreached(self, flying: Flying, outcome: NotSent) -> None:
        self._unreachable += 1
        if flying.probe or self._unreachable >= UNREACHABLE_IN_A_ROW:
            self._trouble(flying, Trouble.NETWORK, outcome.message)

    def _failed(self, flying: Flying, outcome: Failed | Lost) -> None:
        self._unreachable = 0
        self._record = noted(self._record, failed=True)
        if outcome.code in TIMEOUT_CODES:
            self._follow(adapt.late(self.gate.flight, _now()))
        self._prove(flying)
        if flying.probe or trips(self._record):
            self._trouble(flying, Trouble.FAILURES, outcome.message)

    def _trouble(self, flying: Flying, trouble: Trouble, detail: str, after_s: float | None = None) -> None:
        if flying.probe:
            flying.probe = False
            self.hold.failed(detail, after_s)
        elif self.hold.pause is None:
            self.hold.begin(trouble, detail, after_s)
            if trouble is not Trouble.RATE:
                told = "sending%s pauses: %s (%s); one probe goes out at growing intervals"
                log.warning(told, self._to, trouble.text, detail)

    def _prove(self, flying: Flying) -> None:
        if flying.proved:
            return
        flying.proved = True
        self._full_in_a_row = 0
        self.pace.accepted(flying.sent_at, self)
        self._follow(adapt.proved(self.gate.flight, self._peak(), _now()))
        if self.hold.pause is not None and self.hold.pause.trouble in PROVED_BY_TIME:
            self._pass_if_probe(flying)

    def _pass_if_probe(self, flying: Flying) -> None:
        if flying.probe:
            flying.probe = False
            self._unreachable = 0
            if self.hold.pause is not None and self.hold.pause.trouble is Trouble.FAILURES:
                self._record = Record()
            if self.hold.pause is not None and self.hold.pause.trouble is not Trouble.RATE:
                log.info("the probe went through: sending%s goes on", self._to)
            self.hold.passed()

    def _heard_no_room(self) -> None:
        """Another run of the account was told so, about this model."""
        before = self.gate.flight
        self._follow(adapt.heard(before, self.in_flight, _now()))
        now = self.gate.flight.limit
        if now < before.limit:
            log.info(
                "another run heard that there is no room%s: %d in flight instead of %d", self._to, now, before.limit
            )

    def _lifted(self) -> None:
        """Another model was let in again: "too many" is over for this one as well."""
        if self.hold.pause is not None and self.hold.pause.trouble is Trouble.RATE:
            self.hold.passed()

    def _peak(self) -> int:
        """The most in flight during the last seconds: the limit may only grow where it was what held us back."""
        now = _now()
        if now - self._peak_since > PEAK_SPAN_S:
            self._peaks, self._peak_since = (self._peaks[1], self.in_flight), now
        self._peaks = (self._peaks[0], max(self._peaks[1], self.in_flight))
        return max(self._peaks)

    def _note_latency(self, latency_s: float, work: int) -> None:
        """Rising latency is a late signal; per unit of work, because a larger picture is not a slower platform."""
        self._latency_s = _smooth(self._latency_s, latency_s)
        pressure = self._pressure = _smooth(self._pressure, latency_s / max(1, work))
        self._pressure_low = min(pressure, (self._pressure_low or pressure) * PRESSURE_DRIFT)
        if pressure > LATENCY_RISE * self._pressure_low:
            self._follow(adapt.late(self.gate.flight, _now()))

    def _follow(self, flight: adapt.Flight) -> None:
        if flight is not self.gate.flight:
            self.gate.follow(flight)

    def landed(self, flying: Flying) -> None:
        """The answer is in, or never will be: one fewer is out."""
        self._peak()
        self._out.pop(flying, None)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _smooth(before: float | None, value: float) -> float:
    return value if before is None else before + SMOOTHING * (value - before)
