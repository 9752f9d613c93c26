"""Many seeds, played one after the other, and what they must have reached together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tests.simulation.lives import play
from tests.simulation.scenario import FAULTS
from tests.soak import soak

SEEDS = soak(300, 20_000)
CHUNK = 10

# How many of a hundred seeds have to reach it: about a third of what they do, so that a generator that dries up is
# noticed. What is rare by its nature (a run is stopped by it) has to be reached at all.
OUTCOMES = {
    "outcome: Delivered": 60,
    "outcome: Throttled rate": 3,
    "outcome: Throttled room": 15,
    "outcome: Refused no": 3,
    "outcome: Refused perhaps": 3,
    "outcome: Invalid": 3,
    "outcome: NotSent": 3,
    "outcome: Failed": 8,
    "outcome: Lost": 5,
    "outcome: Fatal": 2,
}
DEATHS = {
    "died: before a reservation": 15,
    "died: between reservation and send": 3,
    "died: in flight": 8,
    "died: answered, before spool or void": 4,
    "died: between spool and post": 2,
    "died: while sealing": 2,
    "died: in recovery": 4,
    "killed: kill": 10,
    "killed: power": 10,
    "stranded": 5,
    "adopted": 1,
}
STOPS = {
    "stopped: None": 30,
    "stopped: budget": 8,
    "stopped: platform": 3,
    "stopped: account": 2,
    "stopped: signal": 2,
    "cancelled": 2,
    "fails: commit": 1,
    "fails: told": 1,
    "fails: read": 1,
    "fails: disk": 1,
    "clock jumps forth": 2,
    "clock jumps back": 2,
    "stall": 3,
    "the ledger is gone": 1,
}
LANES = {
    "several models": 12,
    "a picture while another model is held": 4,
    "a model is given up alone": 1,
    "a model has a rate of its own": 1,
}
PROMISED = OUTCOMES | DEATHS | STOPS | LANES
ALL_FAULTS = {f"fault: {fault}" for faults in FAULTS.values() for fault in faults} | {
    "fault: 3021 window",
    "fault: 3040 full",
}


@dataclass(slots=True)
class Reached:
    """How many seeds reached what."""

    seeds: int = 0
    by: Counter[str] = field(default_factory=Counter)

    def play(self, numbers: range) -> None:
        """Each seed keeps every promise; the first that does not says how to see it again."""
        for seed in numbers:
            played = play(seed)
            assert not played.broken, f"python -m tests.simulation {seed}: {played.broken[0]}"
            self.seeds += 1
            self.by.update(name for name, count in played.reached.items() if count)

    def missing(self) -> list[str]:
        """What was reached too seldom for these seeds to prove anything about it."""
        wanted = {name: -(-share * self.seeds // 100) for name, share in PROMISED.items()} | dict.fromkeys(
            ALL_FAULTS, 1
        )
        return [f"{name}: {self.by[name]} of at least {n}" for name, n in wanted.items() if self.by[name] < n]


def chunks(first: int) -> list[range]:
    """Every second seed from the first, some in each chunk: two files share the work."""
    return [range(start, min(start + 2 * CHUNK, SEEDS + 1), 2) for start in range(first, SEEDS + 1, 2 * CHUNK)]
