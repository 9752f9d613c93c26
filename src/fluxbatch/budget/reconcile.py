"""The ledger against what the platform says was billed, per model and quarter of an hour (UTC). Pure.

An attempt counts in the quarter in which it was *sent*: that time is known of every attempt, while the time of a
resolution may be a crash and a weekend later. The platform's quarter is the one in which it was billed, which nobody
has published: a picture takes minutes, and clocks differ, so it is the same quarter or a neighbour. So quarters are
shown one by one, and judged by stretches: neighbouring quarters between which a charge can have slipped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from fluxbatch.budget.entries import State
from fluxbatch.models.money import ZERO, Money

QUARTER_US = 15 * 60 * 1_000_000
CHARGE_SHARE_MIN = 4
"""A picture that was billed costs at least a quarter of its bound: started tiles are at most half empty each way."""

Name = tuple[str, int]
"""A model's id, and the beginning of a quarter of an hour in microseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Booked:
    """What the ledger has about a model and a quarter. `settled` was billed by a person's decision: its bound."""

    posted: Money = ZERO
    posted_count: int = 0
    unknown: Money = ZERO
    unknown_count: int = 0
    smallest_centineurons: int = 0
    """The smallest bound among the unknown ones."""
    settled: Money = ZERO
    void_count: int = 0


class Verdict(StrEnum):
    """How the platform's figure stands to the ledger's."""

    AGREES = "agrees"
    MORE = "more"  # somebody else uses the account, or the ledger has lost an entry
    LESS = "less"  # sampled, late, or an answer without its charge, for which the bound was booked


@dataclass(frozen=True, slots=True)
class Quarter:
    """One line of the comparison."""

    start_us: int
    booked: Booked
    platform: Money


@dataclass(frozen=True, slots=True)
class Stretch:
    """Neighbouring quarters of one model, which are judged together."""

    model: str
    quarters: tuple[Quarter, ...]

    @property
    def booked(self) -> Booked:
        return added(quarter.booked for quarter in self.quarters)

    @property
    def platform(self) -> Money:
        return sum((quarter.platform for quarter in self.quarters), ZERO)

    @property
    def end_us(self) -> int:
        return self.quarters[-1].start_us + QUARTER_US

    @property
    def verdict(self) -> Verdict:
        """Posted at least; posted, unknown and settled at most. A hundredth of a neuron a picture is rounding."""
        booked, told = self.booked, self.platform.centineurons
        if told > (booked.posted + booked.settled + booked.unknown).centineurons + booked.posted_count:
            return Verdict.MORE
        return Verdict.LESS if told < booked.posted.centineurons - booked.posted_count else Verdict.AGREES

    @property
    def suggestion(self) -> State | None:
        """What the figures decide about all unknown attempts of the stretch: POSTED, VOID, or nothing.

        Nothing but what is posted was billed: they were not. More was billed than all but the smallest can have cost:
        all of them were. In between some were, and nobody can say which.
        """
        booked, rounding = self.booked, self.booked.posted_count
        if not booked.unknown_count or booked.settled != ZERO or self.verdict is not Verdict.AGREES:
            return None
        surplus = self.platform.centineurons - booked.posted.centineurons
        if surplus <= rounding:
            visible = 2 * rounding * CHARGE_SHARE_MIN < booked.smallest_centineurons
            return State.VOID if visible else None
        rest = booked.unknown.centineurons - booked.smallest_centineurons
        return State.POSTED if surplus - rounding > rest else None


def compare(booked: Mapping[Name, Booked], platform: Mapping[Name, Money]) -> list[Stretch]:
    """The stretches of each model, in order of time. What the platform has and the ledger has not is one as well."""
    starts: dict[str, set[int]] = defaultdict(set)
    for model, start_us in {**booked, **platform}:
        starts[model].add(start_us)
    return [
        Stretch(
            model,
            tuple(
                Quarter(start, booked.get((model, start), Booked()), platform.get((model, start), ZERO))
                for start in run
            ),
        )
        for model in sorted(starts)
        for run in _runs(sorted(starts[model]))
    ]


def span_of(booked: Iterable[Name], first_us: int, last_us: int) -> tuple[int, int]:
    """The time to ask the platform about, so that attempts sent from `first_us` to `last_us` are judged whole.

    It begins and ends in a quarter in which the account sent nothing: no charge of another dataset can slip in or out.
    """
    busy = {start for _, start in booked}
    since, until = quarter_of(first_us), quarter_of(last_us)
    while since in busy:
        since -= QUARTER_US
    while until in busy:
        until += QUARTER_US
    return since, until + QUARTER_US


def added(some: Iterable[Booked]) -> Booked:
    """The sum of several quarters."""
    whole = list(some)
    return Booked(
        posted=sum((one.posted for one in whole), ZERO),
        posted_count=sum(one.posted_count for one in whole),
        unknown=sum((one.unknown for one in whole), ZERO),
        unknown_count=sum(one.unknown_count for one in whole),
        smallest_centineurons=min((one.smallest_centineurons for one in whole if one.unknown_count), default=0),
        settled=sum((one.settled for one in whole), ZERO),
        void_count=sum(one.void_count for one in whole),
    )


def quarter_of(when_us: int) -> int:
    """The beginning of the quarter of an hour, in microseconds since 1970."""
    return when_us // QUARTER_US * QUARTER_US


def _runs(starts: Sequence[int]) -> list[list[int]]:
    """Quarters that follow each other without a gap."""
    runs: list[list[int]] = []
    for start in starts:
        if runs and start - runs[-1][-1] == QUARTER_US:
            runs[-1].append(start)
        else:
            runs.append([start])
    return runs
