"""Nights: a run each, over midnights and a month's end, within budgets for days and months; nobody waits for real."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from tests.dispatch.virtual import EPOCH_S
from tests.simulation.lives import ledger_file, play_scenario
from tests.simulation.scenario import BOUND_NANO_USD, Life, Scenario, scenario_of
from tests.soak import soak

DAY_S = 86_400.0
EVENING_S = DAY_S * 17 - EPOCH_S % DAY_S - 2 * 3600.0
"""From the beginning of the world to 22:00 on 31 January 2027."""
CHARGED_NANO_USD = 938 * 110
"""What this seed's platform charges for a picture of 256x256 at one step: a quarter of 37.5 neurons, rounded up."""
CLEAN = Life(
    max_in_flight=4,
    rate=60.0,
    budget_nano_usd=60 * BOUND_NANO_USD,
    rows_per_shard=5,
    resend_failed=1,
    resend_lost=0,
    resend_refused=False,
    patience=5.0,
    spells=(),
    endings=(),
    down_s=DAY_S,
    rows=tuple(range(1, 13)),
)


def room_for(pictures: int) -> int:
    """A budget for exactly so many: the last is reserved at its bound, the others have been charged."""
    return (pictures - 1) * CHARGED_NANO_USD + BOUND_NANO_USD


def nights(count: int, day: int | None, month: int | None = None, **changes: object) -> Scenario:
    """So many nights in a row from 31 January on, with budgets as so many pictures."""
    caps = {"day_nano_usd": day and room_for(day), "month_nano_usd": month and room_for(month)}
    life = replace(CLEAN, **caps, **changes)  # type: ignore[arg-type]
    return Scenario(2, 12, 1, 60, (replace(life, down_s=EVENING_S), *[life] * (count - 1)))


def made_on() -> Counter[str]:
    """Pictures by the UTC day in which they were sent."""
    query = "SELECT date(sent_at_us / 1000000, 'unixepoch') FROM attempts WHERE state = 'posted' AND end = 'made'"
    with ledger_file().reading() as tx:
        return Counter(row[0] for row in tx.exec_driver_sql(query))


def test_three_nights_of_five_pictures_make_twelve_and_each_night_ends_by_its_budget():
    played = play_scenario(nights(3, day=5))
    assert played.broken == []
    assert made_on() == {"2027-01-31": 5, "2027-02-01": 5, "2027-02-02": 2}
    assert (played.reached["stopped: budget"], played.reached["stopped: None"]) == (2, 1)


def test_two_runs_in_one_night_share_its_budget():
    played = play_scenario(nights(3, day=5, down_s=600.0))
    assert played.broken == []
    assert made_on() == {"2027-01-31": 5}
    assert played.reached["stopped: budget"] == 3


def test_the_months_end_opens_another_month_and_not_before():
    played = play_scenario(nights(3, day=8, month=5))
    assert played.broken == []
    assert made_on() == {"2027-01-31": 5, "2027-02-01": 5}
    assert played.reached["stopped: budget"] == 3


def test_a_night_that_runs_over_midnight_spends_of_both_days():
    scenario = nights(1, day=7)
    [life] = scenario.lives
    late = replace(life, down_s=EVENING_S + 2 * 3600.0 - 5.5, max_in_flight=1)
    played = play_scenario(replace(scenario, lives=(late,)))
    assert played.broken == []
    assert made_on() == {"2027-01-31": 3, "2027-02-01": 7}
    assert played.reached["stopped: budget"] == 1


def _nights_of(seed: int) -> Scenario:
    """A world of the seed, with nights between its lives, and budgets for days and months."""
    scenario = scenario_of(seed)
    share = max(2, scenario.pictures // 3)
    lives = [
        replace(
            life,
            down_s=life.down_s + (0.0, DAY_S / 2, DAY_S)[(seed + number) % 3],
            day_nano_usd=room_for(share),
            month_nano_usd=room_for(3 * share),
            ledger_is_gone=False,
        )
        for number, life in enumerate(scenario.lives)
    ]
    return replace(scenario, lives=tuple(lives))


def test_every_promise_is_kept_over_nights_of_any_weather():
    reached: Counter[str] = Counter()
    for seed in range(700, soak(716, 1_700)):
        played = play_scenario(_nights_of(seed))
        assert played.broken == [], f"seed {seed}"
        reached += played.reached
    for what in ("stopped: budget", "adopted", "stranded", "windows of a run total", "clock jumps forth"):
        assert reached[what], what
