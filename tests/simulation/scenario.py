"""What a seed stands for: pictures, lives of the program with their options, the weather, and how each life ends. Pure.

A life is one run of the program on the same dataset and ledger. The last one is clean: fair weather, no faults.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Literal

Ends = Literal["kill", "power", "stop", "cancel"]

BOUND_NANO_USD = 412_500
"""What the guard reserves for a picture of 256x256 at one step: one tile, 37.5 neurons."""

FAULTS: dict[str, dict[str, float]] = {
    "fair": {},
    "rate storm": {"3021": 0.5},
    "room storm": {"3040": 0.4, "3040 retry-after": 0.1},
    "unroutable": {"4002": 0.5},
    "full": {"3040": 1.0},
    "outage": {"500": 0.4, "502 html": 0.3, "503 text": 0.3},
    "hiccups": {"500": 0.1, "502 html": 0.05, "408": 0.1, "200 false": 0.1, "4xx new": 0.08},
    "garbage": {
        "200 truncated": 0.1,
        "200 no picture": 0.1,
        "200 bad base64": 0.1,
        "200 html": 0.1,
        "200 empty": 0.1,
        "200 raw": 0.1,
    },
    "headless": {"200 no header": 0.5},
    "lossy": {"lost before": 0.15, "lost after": 0.15, "silent": 0.1, "late": 0.1},
    "refusals": {"8007": 0.2, "output flagged": 0.2, "5006": 0.1, "413": 0.1, "403 html": 0.05},
    "treacle": {"slow": 0.6, "408": 0.1, "late": 0.05},
    "offline": {"not sent": 0.7},
    "broken": {"500": 0.5, "408": 0.2, "lost after": 0.3},
    "used up": {"4006": 0.15, "3036": 0.15},
    "locked": {"401": 0.15, "402": 0.15},
    "closed": {"5018": 0.3},
}
"""The chance of each fault, by the weather. What is left over is a picture."""

MODELS = ("flux-2-dev", "flux-2-klein-4b", "flux-1-schnell")
"""What a manifest may ask for: the first alone, the first two, or all three."""
SEVERAL = 0.4
"""So many seeds have more than one model."""
DOWN = ("full", "full", "outage", "offline", "closed", "rate storm", "rate storm")
OWN_WEATHER = 0.6
"""And so many of their lives a weather for each model."""
MEAN = 0.25
"""So many seeds have slow and failing disks, stalls and quick restarts all at once."""


@dataclass(frozen=True, slots=True)
class Spell:
    """A stretch of weather. `room` is how many requests the platform serves at once (None: all), `breathing` says that
    it halves and doubles; `latency_s` is that of a picture."""

    seconds: float
    weather: str
    room: int | None
    breathing: bool
    latency_s: float


@dataclass(frozen=True, slots=True)
class Ending:
    """How a life is ended from outside: at the `count`th event whose name begins with `event`, in this phase (any)."""

    by: Ends
    phase: str
    event: str
    count: int


@dataclass(frozen=True, slots=True)
class Life:
    """One run of the program, and what the world does to it."""

    max_in_flight: int
    rate: float
    budget_nano_usd: int
    rows_per_shard: int
    resend_failed: int
    resend_lost: int
    resend_refused: bool
    patience: float
    spells: tuple[Spell, ...]
    endings: tuple[Ending, ...]
    """One after the other: a stop and then a kill, as when the terminal is closed."""
    down_s: float
    """How long the program is away before this life begins."""
    slow_disk: float = 0.0
    slow_ledger: float = 0.0
    disk_faults: float = 0.0
    """The chance that a sync or a rename fails."""
    ledger_faults: float = 0.0
    """The chance that a commit fails; half of those are on the disk all the same."""
    jumps: tuple[tuple[float, float], ...] = ()
    """When the wall clock jumps in this life, and by how much, in seconds."""
    rows: tuple[int, ...] = ()
    """Which pictures stand in the manifest, in this order."""
    ledger_is_gone: bool = False
    """Somebody has removed the ledger before this life: what it alone knew is forgotten."""
    stalls: tuple[tuple[float, float], ...] = ()
    """When the whole process stands still, and for how long."""
    day_nano_usd: int | None = None
    """The account's budget for each UTC day, and for each month; None: none."""
    month_nano_usd: int | None = None
    own_spells: tuple[tuple[Spell, ...], ...] = ()
    """The weather of each model, where they do not share one."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """All that follows from a seed. `window_limit` is what the provider lets arrive in a minute (None: all)."""

    seed: int
    pictures: int
    samples: int
    window_limit: int | None
    lives: tuple[Life, ...]
    models: int = 1
    """How many models the manifest asks for."""
    block: int = 1
    """So many rows in a row ask for the same."""

    def model_of(self, number: int) -> str:
        """The model that a picture is asked of."""
        return MODELS[(number - 1) // self.block % self.models]


def scenario_of(seed: int) -> Scenario:
    """The same seed is the same scenario, on every machine."""
    return _with_models(_scenario_of(seed))


def _with_models(scenario: Scenario) -> Scenario:
    rng = random.Random(f"models {scenario.seed}")
    if rng.random() >= SEVERAL:
        return scenario
    models, block = rng.choice((2, 3)), rng.choice((1, 1, 2, 4))
    *lives, last = (
        replace(life, own_spells=tuple(_own_spells(rng) for _ in range(models)))
        if rng.random() < OWN_WEATHER and life.spells
        else life
        for life in scenario.lives
    )
    return replace(scenario, models=models, block=block, lives=(*lives, replace(last, own_spells=())))


def _own_spells(rng: random.Random) -> tuple[Spell, ...]:
    """Fair for one in three; down for long for another; else as mixed as for all."""
    mood = rng.choice(("fair", "down", "mixed"))
    if mood == "down":
        return (Spell(1800.0, rng.choice(DOWN), None, False, rng.choice((0.3, 2.0, 10.0))),)
    return () if mood == "fair" else tuple(_spell(rng) for _ in range(rng.randint(1, 3)))


def _scenario_of(seed: int) -> Scenario:
    rng = random.Random(f"scenario {seed}")
    pictures = rng.choice((8, 10, 10, 12, 12, 15, 15, 20, 20, 30, 60))
    known = rng.random() < 0.6
    limit = rng.choice((6, 12, 20, 30, 60, 120, 720)) if known or rng.random() < 0.5 else None
    rate = float(limit) if known and limit is not None else 0.0
    lives = [_life(rng, pictures, rate) for _ in range(rng.choice((1, 1, 2, 2, 3, 4)))]
    if rng.random() < MEAN:
        lives = [_meaner(rng, life) for life in lives]
    return Scenario(seed, pictures, 2 if rng.random() < 0.1 else 1, limit, (*lives, _last(rng, lives[-1], pictures)))


def _life(rng: random.Random, pictures: int, rate: float) -> Life:
    mean = rng.random
    return Life(
        max_in_flight=rng.choice((1, 2, 3, 4, 8, 16, 32, 64)),
        rate=rate,
        budget_nano_usd=_budget(rng, pictures),
        rows_per_shard=rng.choice((2, 5, 5, 10, 10, 100)),
        resend_failed=rng.choice((0, 1, 1, 1, 3)),
        resend_lost=rng.choice((0, 0, 0, 1, 2)),
        resend_refused=mean() < 0.15,
        patience=rng.choice((0.2, 1.0, 5.0)),
        spells=tuple(_spell(rng) for _ in range(rng.randint(1, 4))),
        endings=_endings(rng, pictures),
        down_s=rng.choice((0.0, 0.1, 1.0, 5.0, 60.0, 600.0)),
        slow_disk=rng.choice((0.0, 0.0, 0.0, 0.3, 3.0)),
        slow_ledger=rng.choice((0.0, 0.0, 0.0, 0.05, 1.0)),
        disk_faults=0.01 if mean() < 0.1 else 0.0,
        ledger_faults=0.02 if mean() < 0.1 else 0.0,
        jumps=_times(rng, (1.0, 30.0, 3600.0, 100_000.0, -1.0, -30.0, -3600.0, -100_000.0)) if mean() < 0.2 else (),
        stalls=_times(rng, (0.05, 0.5, 0.95, 2.0, 30.0)) if mean() < 0.2 else (),
        rows=_rows(rng, pictures),
        ledger_is_gone=mean() < 0.03,
    )


def _meaner(rng: random.Random, life: Life) -> Life:
    return replace(
        life,
        down_s=rng.choice((0.0, 0.0, 0.1, 1.0, 5.0)),
        slow_disk=rng.choice((0.0, 0.3, 3.0)),
        slow_ledger=rng.choice((0.0, 0.05, 1.0, 5.0)),
        disk_faults=rng.choice((0.0, 0.0, 0.02, 0.05)),
        ledger_faults=rng.choice((0.0, 0.0, 0.03, 0.1)),
        stalls=_times(rng, (0.05, 0.5, 0.89, 0.95, 2.0, 30.0)) if rng.random() < 0.4 else life.stalls,
    )


def _last(rng: random.Random, before: Life, pictures: int) -> Life:
    """Faults have stopped; what was decided about money stands."""
    ample = max(before.budget_nano_usd, 6 * pictures * BOUND_NANO_USD)
    return replace(
        before,
        budget_nano_usd=ample if rng.random() < 0.7 else before.budget_nano_usd,
        spells=(),
        endings=(),
        down_s=rng.choice((0.0, 1.0, 300.0)),
        patience=5.0,
        slow_disk=0.0,
        slow_ledger=0.0,
        disk_faults=0.0,
        ledger_faults=0.0,
        jumps=(),
        stalls=(),
        rows=tuple(rng.sample(range(1, pictures + 1), pictures)),
        ledger_is_gone=False,
    )


def _rows(rng: random.Random, pictures: int) -> tuple[int, ...]:
    """All in order, mostly; or some, in any order: a manifest is edited between runs."""
    if rng.random() < 0.8:
        return tuple(range(1, pictures + 1))
    return tuple(rng.sample(range(1, pictures + 1), rng.randint(1, pictures)))


def _budget(rng: random.Random, pictures: int) -> int:
    share = rng.choice((6.0, 6.0, 3.0, 1.0, 0.5, 0.3, 0.1))
    return max(BOUND_NANO_USD, int(share * pictures * BOUND_NANO_USD) + rng.choice((-1, 0, 1)))


def _spell(rng: random.Random) -> Spell:
    room = rng.choice((None, None, None, 1, 2, 4, 8))
    weather = rng.choice(tuple(FAULTS)[:-3]) if rng.random() < 0.93 else rng.choice(tuple(FAULTS)[-3:-1])
    return Spell(
        rng.choice((2.0, 10.0, 30.0, 120.0, 600.0)),
        weather,
        room,
        room is not None and rng.random() < 0.5,
        rng.choice((0.3, 2.0, 2.0, 10.0, 60.0)),
    )


def _endings(rng: random.Random, pictures: int) -> tuple[Ending, ...]:
    if rng.random() < 0.15:
        return ()
    first = _ending(rng, pictures)
    if first.by in ("kill", "power"):
        return (first,)
    then: Ends = rng.choice(("kill", "power", "cancel"))
    second = Ending(then, "", rng.choice(("turn", "disk", "commit", "answer")), rng.randint(1, 30))
    return (first, second) if rng.random() < 0.5 else (first,)


def _ending(rng: random.Random, pictures: int) -> Ending:
    by: Ends = rng.choice(("kill", "kill", "kill", "power", "power", "power", "stop", "cancel"))
    phase = rng.choice(("start", "send", "send", "send", "send", "close")) if by in ("kill", "power") else "send"
    event, most = {
        "start": rng.choice((("disk", 20), ("commit", 5), ("disk", 6))),
        "send": rng.choice(
            (
                ("disk spool", 6 * pictures),
                ("turn", 3 * pictures),
                ("arrive", pictures),
                ("answer", pictures),
                ("commit", 3 * pictures),
                ("committed", 3 * pictures),
                ("disk spool", 6 * pictures),
                ("disk data", 8),
                ("disk catalogue", 8),
                ("disk", 8 * pictures),
            )
        ),
        "close": rng.choice((("disk", 30), ("commit", 4), ("disk data", 8), ("disk catalogue", 8), ("turn", 10))),
    }[phase]
    return Ending(by, phase, event, rng.randint(1, most))


def _times(rng: random.Random, amounts: tuple[float, ...]) -> tuple[tuple[float, float], ...]:
    return tuple((rng.uniform(0.0, 120.0), rng.choice(amounts)) for _ in range(rng.randint(1, 3)))
