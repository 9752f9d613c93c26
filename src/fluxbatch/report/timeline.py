"""A batch over time: what was sent, made and turned away, how much was in flight, how long it took. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluxbatch.budget.entries import End
from fluxbatch.budget.records import RunRecord, Sent

BINS_MAX = 180
WIDTHS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400)
PERCENTILES = (50, 90, 99)
TURNED_AWAY = (End.THROTTLED, End.NOT_SENT)

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Timeline:
    """One batch in bins of equal width. All arrays have one entry a bin; NaN where there is nothing to say.

    `latency_s` has a row for each of PERCENTILES, over the pictures that came back in the bin.
    """

    began_at_us: int
    width_s: float
    made_per_minute: Floats
    turned_away_per_minute: Floats
    in_flight: Floats
    """At most, at any moment of the bin."""
    latency_s: Floats
    spent_usd: Floats
    """By the end of the bin, by this batch."""

    @property
    def bins(self) -> int:
        return len(self.made_per_minute)

    @property
    def starts_s(self) -> Floats:
        """Where each bin begins, in seconds after the first request."""
        return np.arange(self.bins) * self.width_s


def batches(runs: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """Runs that overlap in time together, in order: the chunks of one batch work side by side.

    A run that was ended from outside has no end: it is taken to last until the next one begins.
    """
    ordered = sorted(runs, key=lambda run: run.began_at_us)
    found: list[list[RunRecord]] = []
    end_us = 0
    for run, after in zip_longest(ordered, ordered[1:]):
        if not found or run.began_at_us >= end_us:
            found.append([])
        found[-1].append(run)
        ended_us = run.ended_at_us or (run.began_at_us if after is None else after.began_at_us)
        end_us = max(end_us, ended_us)
    return found


def bin_width_s(length_s: float) -> float:
    """The narrowest width of WIDTHS_S with which so long a time has at most BINS_MAX bins."""
    wide_enough = (width for width in WIDTHS_S if length_s / width <= BINS_MAX)
    return float(next(wide_enough, -(-length_s // (BINS_MAX * 86_400)) * 86_400))


def timeline(sends: Iterable[Sent]) -> Timeline | None:
    """None when nothing was sent. What is still on its way counts as in flight to the end."""
    rows = list(sends)
    if not rows:
        return None
    sent = np.array([one.sent_at_us for one in rows], dtype=np.int64)
    is_open = np.array([one.resolved_at_us is None for one in rows])
    back = np.array([one.resolved_at_us or 0 for one in rows], dtype=np.int64)
    began_us = int(sent.min())
    last_us = int(max(sent.max(), back.max()))
    back = np.maximum(np.where(is_open, last_us, back), sent)  # a clock that was set back makes no negative time
    width_s = bin_width_s((last_us - began_us) / 1e6)
    bins = int((last_us - began_us) / 1e6 // width_s) + 1
    place = ((back - began_us) / 1e6 // width_s).astype(np.int64)

    made = np.array([one.end == End.MADE for one in rows])
    turned_away = np.array([one.end in TURNED_AWAY for one in rows])
    usd = np.array([one.spent_nano_usd for one in rows], dtype=np.float64) / 1e9
    return Timeline(
        began_us,
        width_s,
        _per_minute(place[made], bins, width_s),
        _per_minute(place[turned_away], bins, width_s),
        _most_in_flight(sent - began_us, back - began_us, bins, width_s * 1e6),
        _percentiles(place[made], (back - sent)[made] / 1e6, bins),
        np.cumsum(np.bincount(place, weights=usd, minlength=bins)),
    )


def _per_minute(places: NDArray[np.int64], bins: int, width_s: float) -> Floats:
    return np.bincount(places, minlength=bins) * (60.0 / width_s)


def _most_in_flight(sent_us: NDArray[np.int64], back_us: NDArray[np.int64], bins: int, width_us: float) -> Floats:
    """The most at any moment of each bin. One that comes back in the moment in which another is sent has left; one
    that took no time at all was in flight for a microsecond."""
    moments, places = np.unique(np.concatenate([sent_us, np.maximum(back_us, sent_us + 1)]), return_inverse=True)
    steps = np.repeat([1, -1], len(sent_us))
    level = np.cumsum(np.bincount(places, weights=steps, minlength=len(moments)))
    most = np.zeros(bins)
    np.maximum.at(most, np.minimum(moments // width_us, bins - 1).astype(np.int64), level)
    # What was in flight when the bin began was in flight in it.
    before = np.searchsorted(moments, np.arange(bins) * width_us, side="right") - 1
    return np.maximum(most, np.where(before >= 0, level[before], 0))


def _percentiles(places: NDArray[np.int64], latency_s: Floats, bins: int) -> Floats:
    found = np.full((len(PERCENTILES), bins), np.nan)
    order = np.argsort(places, kind="stable")
    places, latency_s = places[order], latency_s[order]
    for number in np.unique(places):
        first, behind = np.searchsorted(places, [number, number + 1])
        found[:, number] = np.percentile(latency_s[first:behind], PERCENTILES)
    return found
