"""Which points are tried at which picture and how many in flight, and the course of such a test."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.crash.case import Case, OpenCase
from tests.crash.points import ANY_RECOVERY
from tests.crash.remains import Books
from tests.e2e.e2e_kit import rows
from tests.soak import IS_SOAK, soak

WHICH = ("first", "middle", "last")
PARTS = 3
PICTURES = {1: 9, 8: 24, 64: 72}
"""Pictures by how many are in flight; they make three parts."""
TIMES = soak(1, 10)


@dataclass(frozen=True)
class Choice:
    """Die at `point`, at its first, middle or last passing, then in the recovery at `second`."""

    point: str
    which: str
    in_flight: int
    second: str
    time: int = 0

    def __str__(self) -> str:
        return f"{self.point}-{self.which}-{self.in_flight}-{self.second}-{self.time}".replace(" ", "_")

    def passing(self, most: int) -> int:
        return {"first": 1, "middle": (most + 1) // 2, "last": most}[self.which]


def spread(points: Iterable[str]) -> list[Choice]:
    """Each point at its first, a middle and its last passing, each with another number in flight, so that all numbers
    meet all three over the points; all combinations, ten times, in `make soak`."""
    seconds = itertools.cycle(ANY_RECOVERY)
    if IS_SOAK:
        product = itertools.product(points, WHICH, PICTURES, range(TIMES))
        return [Choice(point, which, flight, next(seconds), time) for point, which, flight, time in product]
    return list(_latin(points, seconds))


def _latin(points: Iterable[str], seconds: Iterator[str]) -> Iterator[Choice]:
    flights = list(PICTURES)
    for number, point in enumerate(points):
        for place, which in enumerate(WHICH):
            yield Choice(point, which, flights[(number + place) % 3], next(seconds))


def case_for(open_case: OpenCase, in_flight: int, *options: str) -> Case:
    """Three small shards of pictures, quick, and all different."""
    pictures = PICTURES[in_flight]
    asked = rows(pictures, prompt=f"a fox at {in_flight}")
    shards = ("--rows-per-shard", str(pictures // PARTS))
    return open_case(asked, *shards, *options, in_flight=in_flight, latency_s=0.04, spread=0.2)


def die(case: Case, point: str, passing: int = 1) -> Books:
    """Run until it kills itself at this point; a point that is not reached fails."""
    run = case.start(die=(point, passing))
    code = run.wait()
    assert (code, run.reached) == (-9, f"{point} {passing}"), f"not reached\n{run.out}{run.err}"
    return case.died()


def die_again_and_finish(case: Case, second: str) -> None:
    """Its recovery is killed too, then it runs to the end."""
    die(case, second)
    case.finish()
