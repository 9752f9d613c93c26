"""What is wished of a run that goes on, carried out: a halt, a slower pace, fewer in flight, an end.

A wish never allows more than what the run was started with: the rate is the account's limit, and the number in flight
is what connections were made for and what a crash may lose.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fluxbatch.budget.wishes import NOTHING_SAID, Wish
from fluxbatch.dispatch.fair import Shares
from fluxbatch.dispatch.halt import Halt
from fluxbatch.dispatch.pace import Pace
from fluxbatch.dispatch.stop import Stop, StoppedBy


@dataclass(slots=True)
class Steering:
    """Of one run. `in_flight_most` is what it was started with."""

    halt: Halt
    pace: Pace
    exposed: Shares
    stop: Stop
    in_flight_most: int
    wish: Wish = NOTHING_SAID

    def follow(self, wish: Wish) -> list[str]:
        """Carry it out from now on; what is new about it, in words."""
        told = list(changes(self.wish, wish))
        self.wish = wish
        self.halt.follow(wish.paused is not None)
        self.pace.follow(wish.rate_per_minute)
        self.exposed.follow(min(self.in_flight_most, wish.in_flight_max or self.in_flight_most))
        if wish.stopped is not None:
            reason = f"ctl stop by {wish.stopped.by}; what was in flight was waited for"
            self.stop.request(StoppedBy.SIGNAL, reason)
        return told


def changes(before: Wish, after: Wish) -> Iterator[str]:
    """What somebody has said between the two."""
    if after.stopped is not None and before.stopped is None:
        yield f"stopped by ctl ({after.stopped.by})"
    if (after.paused is None) != (before.paused is None):
        yield "resumed by ctl" if after.paused is None else f"paused by ctl ({after.paused.by})"
    if after.rate_per_minute != before.rate_per_minute:
        rate = after.rate_per_minute
        yield "by ctl: the rate as at the start" if rate is None else f"by ctl: at most {rate:g} requests a minute"
    if after.in_flight_max != before.in_flight_max:
        most = after.in_flight_max
        yield "by ctl: as many in flight as at the start" if most is None else f"by ctl: at most {most:,} in flight"
