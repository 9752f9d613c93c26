"""How a run stands, as one value: what its own screen draws, and what it tells the ledger for those who are elsewhere.

Pure: clocks and counters come in as arguments.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

SAMPLE_S = 5.0
SAMPLES_MAX = 60
"""Five minutes: long enough for a picture that takes two and a half, short enough to follow a changed rate."""
SAMPLES_MIN = 4
"""Of fewer intervals nothing is said about the spread."""
LIKELY = 1.2816
"""So many standard deviations to either side hold 80 % of a normal distribution."""
REASONS_MAX = 5
TEXT_MAX = 120
SECONDS_MAX = 10 * 365 * 86_400.0
"""What takes longer is no estimate."""


@dataclass(frozen=True, slots=True)
class Eta:
    """Seconds until the goal is reached: expected, and from `low_s` to `high_s` in four of five cases (None: too little
    is known to say)."""

    seconds: float
    low_s: float | None = None
    high_s: float | None = None


def eta(left: int, intervals: Sequence[tuple[int, float]]) -> Eta | None:
    """How long `left` pictures take, when the last intervals (pictures, seconds) are how it goes on. None: none came.

    The pictures are taken for a Brownian motion with drift: an interval of s seconds brings N(r s, v s) of them, so
    r = sum(c) / sum(s) a second, and v = sum((c - r s)^2 / s) / (n - 1). The time at which it reaches L = left is
    inverse Gaussian, with mean L / r and variance L v / r^3 (Folks and Chhikara, "The Inverse Gaussian Distribution",
    J. R. Stat. Soc. B 40, 1978). That r itself is only measured, over S = sum(s), with variance v / S, adds
    (L / r^2)^2 v / S. Four in five are within 1.28 standard deviations: of what goes on as it went, that is.
    """
    seconds = sum(s for _, s in intervals)
    came = sum(c for c, _ in intervals)
    if came <= 0 or seconds <= 0 or left <= 0:
        return Eta(0.0) if left <= 0 else None
    rate = came / seconds
    expected = min(left / rate, SECONDS_MAX)
    if len(intervals) < SAMPLES_MIN:
        return Eta(expected)
    spread = sum((c - rate * s) ** 2 / s for c, s in intervals) / (len(intervals) - 1)
    variance = left * spread / rate**3 + (left / rate**2) ** 2 * spread / seconds
    around = LIKELY * variance**0.5
    return Eta(expected, max(0.0, expected - around), min(expected + around, SECONDS_MAX))


@dataclass(frozen=True, slots=True)
class Sample:
    """An interval: how long it was, what came to its end in it, how many were in flight then."""

    seconds: float
    done: int
    in_flight: int
    is_halted: bool = False


@dataclass(slots=True)
class Trace:
    """The last minutes of a run, in intervals."""

    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=SAMPLES_MAX))
    _at_s: float | None = None
    _done: int = 0
    _was_halted: bool = False

    def note(self, at_s: float, done: int, in_flight: int, is_halted: bool = False) -> None:
        """How it stands at a moment; an interval ends with the first word after `SAMPLE_S`."""
        if self._at_s is None:
            self._at_s, self._done = at_s, done
        self._was_halted = self._was_halted or is_halted
        if at_s - self._at_s < SAMPLE_S:
            return
        self.samples.append(Sample(at_s - self._at_s, done - self._done, in_flight, self._was_halted))
        self._at_s, self._done, self._was_halted = at_s, done, is_halted

    def intervals(self) -> list[tuple[int, float]]:
        """What an estimate may go by: from the first picture on, and not what was halted."""
        begun = [(one.done, one.seconds) for one in self.samples if not one.is_halted]
        first = next((number for number, (done, _) in enumerate(begun) if done), len(begun))
        # Nothing can come before the first picture is due, and that one interval has only waited for it in part.
        return begun[first + 1 :] or begun[first:]

    @property
    def per_minute(self) -> tuple[int, ...]:
        """What came to its end in each interval, as a rate."""
        return tuple(round(60.0 * one.done / one.seconds) for one in self.samples)

    @property
    def in_flight(self) -> tuple[int, ...]:
        return tuple(one.in_flight for one in self.samples)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why answers brought no picture: a code, the latest text that came with it (from outside), and how often."""

    code: str
    text: str
    count: int


@dataclass(frozen=True, slots=True)
class OfModel:
    """What a run has of one model, where it has several."""

    model: str
    made: int
    in_flight: int
    limit: int
    latency_s: float | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Pictures, requests and speed at one moment. Rates are a minute; None: not known."""

    asked: int = 0
    goal: int = 0
    done: int = 0
    """Of `goal`, what was done before this run included."""
    made: int = 0
    in_flight: int = 0
    in_flight_max: int = 0
    """So many may be, now."""
    in_flight_most: int = 0
    """And so many at most: what the run was started with."""
    requests: int = 0
    refusals: int = 0
    per_minute: float = 0.0
    rate: float | None = None
    """So many may be sent, now."""
    rate_most: float | None = None
    """What the run was started with."""
    eta: Eta | None = None
    speeds: tuple[int, ...] = ()
    flights: tuple[int, ...] = ()
    reasons: tuple[Reason, ...] = ()
    """The latest first."""
    models: tuple[OfModel, ...] = ()
    paused_by: str | None = None
    paused_at_us: int | None = None
    trouble: str | None = None
    """What holds it up, or that it ends."""

    @property
    def left(self) -> int:
        return max(0, self.goal - self.done)

    def with_speed_of(self, runs: Progress | None) -> Progress:
        """The counts are this one's, of a batch; how fast it goes is what its runs tell."""
        if runs is None:
            return self
        names = ("in_flight", "in_flight_max", "in_flight_most", "per_minute", "rate", "rate_most", "speeds", "flights")
        fast = {name: getattr(runs, name) for name in names}
        expected = None if runs.eta is None else eta(self.left, [(round(runs.per_minute), 60.0)])
        return replace(self, **fast, refusals=runs.refusals, requests=runs.requests, eta=expected)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def to_text(self, characters_max: int) -> str:
        """As the ledger keeps it: without the details, where it were longer."""
        text = json.dumps(self.to_dict(), separators=(",", ":"))
        if len(text) <= characters_max:
            return text
        return json.dumps(replace(self, reasons=(), models=(), trouble=None).to_dict(), separators=(",", ":"))

    @staticmethod
    def from_text(text: str) -> Progress:
        """What another process has written, of another fluxbatch perhaps: what it does not say is not known."""
        given = json.loads(text)
        known = {one.name: given[one.name] for one in fields(Progress) if one.name in given}
        of_parts = {"reasons": Reason, "models": OfModel}
        for name, part in of_parts.items():
            known[name] = tuple(part(**one) for one in known.get(name, ()))
        for name in ("speeds", "flights"):
            known[name] = tuple(known.get(name, ()))
        if known.get("eta") is not None:
            known["eta"] = Eta(**known["eta"])
        return Progress(**known)


def reasons_of(counts: Sequence[tuple[str, int]], texts: dict[str, str]) -> tuple[Reason, ...]:
    """The latest codes first; `texts` has them in the order in which they came last."""
    number = dict(counts)
    latest = list(reversed(texts.items()))[:REASONS_MAX]
    return tuple(Reason(code[:TEXT_MAX], text[:TEXT_MAX], number.get(code, 0)) for code, text in latest)


def sum_of(runs: Sequence[Progress]) -> Progress:
    """Several that work side by side, as one: it ends with the last of them, and is paused when all are."""
    if len(runs) == 1:
        return runs[0]
    etas = [one.eta for one in runs if one.left]
    known = [one for one in etas if one is not None]
    paused = [one for one in runs if one.paused_by is not None]
    all_paused = paused if len(paused) == len(runs) else []
    added = ("asked", "goal", "done", "made", "in_flight", "in_flight_max", "in_flight_most", "requests", "refusals")
    return Progress(
        **{name: sum(getattr(one, name) for one in runs) for name in added},
        per_minute=round(sum(one.per_minute for one in runs), 1),
        rate=max((one.rate for one in runs if one.rate is not None), default=None),
        rate_most=max((one.rate_most for one in runs if one.rate_most is not None), default=None),
        eta=_last(known) if len(known) == len(etas) else None,
        speeds=_added([one.speeds for one in runs]),
        flights=_added([one.flights for one in runs]),
        paused_by=all_paused[0].paused_by if all_paused else None,
        paused_at_us=all_paused[0].paused_at_us if all_paused else None,
    )


def _last(etas: Sequence[Eta]) -> Eta | None:
    if not etas:
        return None
    lows = [one.low_s for one in etas if one.low_s is not None]
    highs = [one.high_s for one in etas if one.high_s is not None]
    is_whole = len(lows) == len(etas)
    return Eta(max(one.seconds for one in etas), max(lows) if is_whole else None, max(highs) if is_whole else None)


def _added(traces: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Interval by interval, the latest over the latest."""
    length = max(map(len, traces), default=0)
    padded = [(0,) * (length - len(one)) + one for one in traces]
    return tuple(map(sum, zip(*padded, strict=True)))
