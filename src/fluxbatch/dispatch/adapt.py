"""How many may be in flight: the rule (`Flight`, pure) and the gate that keeps it.

A refusal comes back within a second or so, a picture after minutes. So a request that is out for longer than
`PROOF_S`, or was answered with anything but "no room", proves that the platform had room for it, and growth follows
proofs instead of rounds of pictures: doubling by rounds until the first refusal, then in steps of 5 %. One refusal cuts
once: others of the same episode are the same news. What is in flight unrefused at that moment is what there was room
for, so the cut goes there, within bounds.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, replace

PROOF_S = 1.5
EPISODE_S = 15.0
LATE_S = 30.0
"""How long a late signal (a time-out, rising latency) holds growth back."""
FIRST_LIMIT = 16
SATURATED = 0.8
SATURATED_AT_START = 0.5
"""Doubling outruns the sends that would prove it, so at the start half of the limit in flight is enough."""
STEP = 0.05
CUT_MIN = 0.8
CUT_MIN_AT_START = 0.5


@dataclass(frozen=True, slots=True)
class Flight:
    """The limit now, and what the rule has to remember. `most` is the user's `--max-in-flight`; the floor is 1."""

    limit: int
    most: int
    slow_start: bool = True
    proofs: int = 0
    cut_at_s: float = float("-inf")
    cut_from: int = 0
    held_until_s: float = float("-inf")


def first_flight(most: int, learned: int | None) -> Flight:
    """Where a run begins: at what an earlier run found, or low."""
    return Flight(min(most, learned or FIRST_LIMIT), most, slow_start=learned is None)


def proved(flight: Flight, in_flight: int, now_s: float) -> Flight:
    """One more request had room. No growth unless the limit was what held us back, nor after a late signal or a cut."""
    held = now_s < flight.held_until_s or now_s - flight.cut_at_s < EPISODE_S
    enough = (SATURATED_AT_START if flight.slow_start else SATURATED) * flight.limit
    if held or in_flight < enough or flight.limit >= flight.most:
        return flight
    if flight.slow_start:
        return replace(flight, limit=flight.limit + 1)
    if flight.proofs + 1 < flight.limit:
        return replace(flight, proofs=flight.proofs + 1)
    step = max(1, int(STEP * flight.limit))
    return replace(flight, limit=min(flight.most, flight.limit + step), proofs=0)


def refused(flight: Flight, others_in_flight: int, now_s: float) -> Flight:
    """There was no room for one, while `others_in_flight` were out."""
    opens = now_s - flight.cut_at_s >= EPISODE_S
    start = flight.limit if opens else flight.cut_from
    lowest = max(1, int((CUT_MIN_AT_START if flight.slow_start or not opens else CUT_MIN) * start))
    limit = min(flight.limit - 1 if opens else flight.limit, max(lowest, others_in_flight))
    cut_at_s, cut_from = (now_s, start) if opens else (flight.cut_at_s, flight.cut_from)
    return replace(flight, limit=max(1, limit), slow_start=False, proofs=0, cut_at_s=cut_at_s, cut_from=cut_from)


def late(flight: Flight, now_s: float) -> Flight:
    """The platform is slow or times out: no cut, but no growth either for a while."""
    return replace(flight, proofs=0, held_until_s=now_s + LATE_S)


class Gate:
    """Places in flight, first come, first served."""

    def __init__(self, flight: Flight) -> None:
        self.flight = flight
        self.in_use = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed = False

    async def enter(self) -> bool:
        """Wait for a place. False when the gate was closed: there is none."""
        if self._closed:
            return False
        if self.in_use < self.flight.limit and not self._waiting:
            self.in_use += 1
            return True
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.leave()
            raise
        if self._closed:
            self.leave()
        return not self._closed

    def leave(self) -> None:
        self.in_use -= 1
        self._admit()

    def follow(self, flight: Flight) -> None:
        """Keep this limit from now on."""
        self.flight = flight
        self._admit()

    def close(self) -> None:
        """Give no more places; who waits is sent away."""
        self._closed = True
        self._admit()

    def _admit(self) -> None:
        while self._waiting and (self._closed or self.in_use < self.flight.limit):
            place = self._waiting.popleft()
            if not place.done():
                self.in_use += 1
                place.set_result(None)
