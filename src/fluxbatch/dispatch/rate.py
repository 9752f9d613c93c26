"""What is believed about the allowed rate, and how belief follows what the platform says. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

WINDOW_S = 60.0
"""The platform counts requests in windows of a minute."""
HEADROOM = 0.015
"""Requests leave a little further apart than the rate says: the platform counts arrivals, and they jitter."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What is believed about the allowed rate, in requests a second. None: nothing is known, nothing is paced."""

    per_second: float | None
    ceiling: float | None
    """The user's or the published limit; growth ends there. None when it is not known."""
    good: float | None = None
    """The highest rate that went through a clean stretch."""
    refused_at: float | None = None
    """The rate that was refused last; growth near it is slow."""
    stretch_s: float = 15.0
    """How long a rate has to be clean before it grows: about the platform's window, as far as it is known."""
    since_s: float = 0.0


CUT = 0.95
GROWTH = 1.05
CREEP = 1.01
UNTRIED = 1.1
"""Growth where no wall is known: what was measured first may have been far too low."""
STRETCH_MAX_S = 120.0
ROUND_S = (1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0)
ROUND_WITHIN = 0.2
"""Windows are round: a span near one is that one, its rate is exact, and growth can wait."""
ROUND_STRETCH_S = 30.0


def measured(rate: Rate, accepted: int, span_s: float, now_s: float) -> Rate:
    """The platform said "too many" after `accepted` requests, and accepts again `span_s` after the first of them.

    Unknown so far: that is the rate, and the span is its window. Known: back to what was good, or a tenth down.
    """
    if rate.per_second is None:
        window_s = next((s for s in ROUND_S if abs(span_s - s) <= ROUND_WITHIN * s), None)
        stretch_s = min(max(span_s, 1.0), WINDOW_S) if window_s is None else ROUND_STRETCH_S
        # What takes longer is no window but an outage, or a clock that was set: it would teach a rate of one a day.
        counted_s = window_s or min(max(span_s, ROUND_S[0]), WINDOW_S)
        return replace(rate, per_second=max(accepted, 1) / counted_s, stretch_s=stretch_s, since_s=now_s)
    good = rate.good if rate.good is not None and rate.good < rate.per_second else rate.per_second * CUT
    again = rate.refused_at is not None and rate.per_second <= rate.refused_at * CREEP
    stretch_s = min(2 * rate.stretch_s, STRETCH_MAX_S) if again else rate.stretch_s  # the same wall: touch it seldom
    return replace(
        rate, per_second=good, good=good * CUT, refused_at=rate.per_second, stretch_s=stretch_s, since_s=now_s
    )


def grown(rate: Rate, now_s: float) -> Rate:
    """The rate after a clean stretch: a step up, half the way to what was refused last, never past the ceiling."""
    current = rate.per_second
    if current is None or now_s - rate.since_s < rate.stretch_s or current == rate.ceiling:
        return rate
    wall = rate.refused_at if rate.refused_at is not None and rate.refused_at > current else None
    if wall is not None:
        faster = max(current * CREEP, min(current * GROWTH, (current + wall) / 2))
    else:  # never refused, or what was refused has gone through since
        faster = current * (UNTRIED if rate.ceiling is None else GROWTH)
    return replace(rate, per_second=min(faster, rate.ceiling or faster), good=current, refused_at=wall, since_s=now_s)
