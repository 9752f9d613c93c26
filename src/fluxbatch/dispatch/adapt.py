"""How many may be in flight: the rule (`Flight`, pure) and the gate that keeps it.

A refusal comes back within a second or so, a picture after minutes. So a request that is out for longer than
`PROOF_S`, or was answered with anything but "no room", proves that the platform had room for it, and growth follows
proofs instead of rounds of pictures: doubling up to what is known to hold, then in steps of 5 %. One refusal cuts once:
others of the same episode are the same news. What is in flight unrefused at that moment is what there was room
for, so the cut goes there, within bounds.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, replace

from fluxbatch.budget.entries import Learned

PROOF_S = 1.5
EPISODE_S = 15.0
LATE_S = 30.0
"""How long a late signal (a time-out, rising latency) holds growth back."""
FIRST_LIMIT_PACED = 32
FIRST_LIMIT = 8
"""With a known rate the pace spreads the first requests over seconds; without one they leave at once."""
SATURATED = 0.8
SATURATED_BELOW_GOAL = 0.5
"""Doubling outruns the sends that would prove it, so half of the limit in flight is enough."""
STEP = 0.05
CUT_MIN = 0.8
CUT_MIN_BELOW_GOAL = 0.5
GOAL_KEPT = 0.95


@dataclass(frozen=True, slots=True)
class Flight:
    """The limit now, and what the rule has to remember. `most` is the user's `--max-in-flight`; the floor is 1.

    `goal` is the level that is known to hold, or `most` while nothing is known: below it growth doubles by rounds,
    above it it goes in steps. An outage lowers the limit far and the goal little, so the way back is short.
    """

    limit: int
    most: int
    goal: int
    proofs: int = 0
    cut_at_s: float = float("-inf")
    cut_from: int = 0
    held_until_s: float = float("-inf")


def first_flight(most: int, learned: Learned | None, paced: bool) -> Flight:
    """Where a run begins: at what an earlier run found, or low. What was never refused is no goal yet."""
    if learned is None:
        return Flight(min(most, FIRST_LIMIT_PACED if paced else FIRST_LIMIT), most, goal=most)
    limit = min(most, learned.in_flight)
    return Flight(limit, most, goal=limit if learned.is_goal else most)


def proved(flight: Flight, in_flight: int, now_s: float) -> Flight:
    """One more request had room. No growth unless the limit was what held us back, nor after a late signal or a cut."""
    held = now_s < flight.held_until_s or now_s - flight.cut_at_s < EPISODE_S
    doubling = flight.limit < flight.goal
    enough = (SATURATED_BELOW_GOAL if doubling else SATURATED) * flight.limit
    if held or in_flight < enough or flight.limit >= flight.most:
        return flight
    if doubling:
        return replace(flight, limit=flight.limit + 1)
    if flight.proofs + 1 < flight.limit:
        return replace(flight, proofs=flight.proofs + 1)
    limit = min(flight.most, flight.limit + max(1, int(STEP * flight.limit)))
    return replace(flight, limit=limit, goal=limit, proofs=0)


def refused(flight: Flight, others_in_flight: int, now_s: float) -> Flight:
    """There was no room for one, while `others_in_flight` were out."""
    opens = now_s - flight.cut_at_s >= EPISODE_S
    start = flight.limit if opens else flight.cut_from
    falling = flight.limit < flight.goal
    lowest = max(1, int((CUT_MIN_BELOW_GOAL if falling or not opens else CUT_MIN) * start))
    limit = max(1, min(flight.limit - 1 if opens else flight.limit, max(lowest, others_in_flight)))
    if not opens:
        return replace(flight, limit=limit, proofs=0)
    known = flight.goal < flight.most or flight.limit == flight.most
    goal = max(limit, int((GOAL_KEPT if falling else CUT_MIN) * flight.goal)) if known else limit
    return replace(flight, limit=limit, goal=goal, proofs=0, cut_at_s=now_s, cut_from=start)


def heard(flight: Flight, in_flight: int, now_s: float) -> Flight:
    """Another run on the account was refused: what all have in flight together is what there is room for.

    What this one has out was let in, so it may stay, and nothing is added for an episode. In an episode of our own it
    is no news.
    """
    if now_s - flight.cut_at_s < EPISODE_S:
        return flight
    limit = min(flight.limit, max(1, in_flight, int(CUT_MIN_BELOW_GOAL * flight.limit)))
    known = flight.goal < flight.most or flight.limit == flight.most
    goal = flight.goal if known else limit
    return replace(flight, limit=limit, goal=goal, proofs=0, cut_at_s=now_s, cut_from=flight.limit)


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
