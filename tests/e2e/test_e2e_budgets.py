"""Budgets over time as a user meets them: set, shown, planned, kept over datasets and nights, and told when used up."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fluxbatch.job import Job
from fluxbatch.models.money import parse_usd
from fluxbatch.prepare import prepared
from fluxbatch.run import drive, open_batch
from fluxbatch.settings import load_settings
from fluxbatch.summary import Summary
from tests.e2e.e2e_kit import SMALL_CENTINEURONS, Desk, Said, nano_usd, placed, rows, table

PICTURE_NANO_USD = SMALL_CENTINEURONS * 110
BOUND_NANO_USD = 1_650_000
"""A whole tile, 4 steps: 150 neurons."""


def room_for(pictures: int) -> str:
    """US dollars for exactly so many small pictures: the last is reserved at its bound."""
    return f"{((pictures - 1) * PICTURE_NANO_USD + BOUND_NANO_USD) / 1e9:.9f}"


def budget(desk: Desk, *options: str) -> Said:
    return desk.command("budget", *options)


def shown(desk: Desk, *options: str) -> dict[tuple[str, str], dict[str, Any]]:
    told = budget(desk, "show", "--json", *options).ended(0).json
    return {(one["scope"], one["period"]): one for one in told["budgets"]}


def test_what_is_set_is_shown_kept_and_told_when_it_is_used_up(desk: Desk) -> None:
    said = budget(desk, "set", "--day", room_for(3), "--month", "100").ended(0)
    assert said.out.splitlines() == [
        f"account {desk.simulator.account}, day: none -> $0.002475",
        f"account {desk.simulator.account}, month: none -> $100.0000",
    ]
    manifest = desk.manifest(rows(5))
    done = desk.run(manifest).ended(3)
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert done.json["made"] == 3
    assert done.json["reason"].startswith(
        f"the account's budget for the day {today} is used up ($0.0012375 left of $0.002475); the next begins on "
    )
    assert "To go on: " in done.err
    found = shown(desk)
    assert found["account", "day"]["gone_usd"] == found["account", "month"]["gone_usd"] == "0.0012375"
    assert found["account", "day"]["left_usd"] == "0.0012375"
    assert found["account", "day"]["gone_neurons"] == "112.5"
    human = budget(desk, "show").ended(0).out
    assert "112.5" in human
    assert "of 10000 neurons are used today" in human
    budget(desk, "set", "--day", "none").ended(0)
    assert desk.run(manifest).ended(0).json["made"] == 2


def test_everything_that_is_wrong_is_said_at_once_and_nothing_is_changed(desk: Desk) -> None:
    said = budget(desk, "set", "--account", "x", "--project", "a b", "--day", "5q", "--month", "free").ended(2)
    for words in ("--day '5q'", "--month cannot be free", "--account 'x' is no account", "'a b' is no name", "exclude"):
        assert words in said.err
    assert "give --day, --month or --total" in budget(desk, "set").ended(2).err
    assert "--total is for a project or a dataset" in budget(desk, "set", "--day", "1", "--total", "2").ended(2).err
    assert "is no dataset" in budget(desk, "set", "--dataset", str(desk.folder), "--total", "2").ended(2).err
    wrong = budget(desk, "set", "--project", "p", "--total", "-1", "--day", "free").ended(2).err
    assert "--total '-1'" in wrong
    assert "not to a project" in wrong
    assert all(one["budget_usd"] is None for one in shown(desk).values())


def test_whose_is_asked_for_where_no_account_is_known(desk: Desk) -> None:
    desk.without = ("CLOUDFLARE_ACCOUNT_ID",)
    assert "whose? give --account" in budget(desk, "set", "--day", "5").ended(2).err
    budget(desk, "set", "--account", "c" * 32, "--day", "5").ended(0)
    assert [one["name"] for one in shown(desk).values()] == ["c" * 32] * 2


def test_a_project_is_shared_by_its_datasets_and_others_are_not_asked(desk: Desk) -> None:
    budget(desk, "set", "--project", "cats", "--total", room_for(6)).ended(0)
    one, two = desk.manifest(rows(4), "one.csv"), desk.manifest(rows(4, "a cat"), "two.csv")
    assert desk.run(one, "--project", "cats").ended(0).json["made"] == 4
    second = desk.run(two, "--project", "cats", out=desk.folder / "two").ended(3).json
    assert second["made"] == 2
    assert second["reason"].startswith("the budget of project cats is used up ($0.0012375 left of $0.0037125)")
    desk.environment["FLUXBATCH_PROJECT"] = "dogs"
    assert desk.run(two, out=desk.folder / "two").ended(0).json["made"] == 2
    assert shown(desk, "--project", "cats")["project", "total"]["gone_usd"] == "0.002475"
    assert shown(desk, "--project", "dogs")["project", "total"]["gone_usd"] == "0.000825"
    assert "is no name of a project" in desk.run(one, "--project", "a/b").ended(2).err


def test_a_run_has_a_budget_of_its_own_and_the_next_another(desk: Desk) -> None:
    manifest = desk.manifest(rows(5))
    made = [desk.run(manifest, "--run-budget", room_for(2)) for _ in range(3)]
    assert [one.json["made"] for one in made] == [2, 2, 1]
    assert [one.code for one in made] == [3, 3, 0]
    assert "this run's budget is used up" in made[0].json["reason"]
    assert "the next run has one of its own" in made[0].json["reason"]
    assert "--run-budget 'much'" in desk.run(manifest, "--run-budget", "much").ended(2).err


@pytest.mark.parametrize("how", ["the option", "the account's budget"])
def test_only_the_free_neurons_of_the_day_are_spent(desk: Desk, how: str) -> None:
    """1024x1024 at 25 steps are 3,750 neurons: two are 7,500, and a third would be 11,250 of 10,000."""
    desk.environment["CLOUDFLARE_ACCOUNT_ID"] = desk.simulator.account
    manifest = desk.manifest(rows(3, width=1024, height=1024, steps=25))
    options = ("--free-only",) if how == "the option" else ()
    if not options:
        budget(desk, "set", "--day", "free").ended(0)
    told = desk.run(manifest, *options).ended(3).json
    assert (told["made"], told["spent_neurons"]) == (2, "7500")
    assert "($0.0275 left of the free allocation, $0.11)" in told["reason"]
    plan = desk.plan(manifest, "--json", *options).ended(0).json
    assert (plan["fits_now"], plan["nights"]) == (0, 1)  # tomorrow


def test_free_only_counts_what_others_of_this_ledger_sent_and_binds_nobody_else(desk: Desk) -> None:
    dear = {"width": 1024, "height": 1024, "steps": 25}
    desk.run(desk.manifest(rows(2, **dear), "other.csv"), out=desk.folder / "other").ended(0)
    mine = desk.manifest(rows(2, "mine", **dear))
    assert desk.run(mine, "--free-only").ended(3).json["made"] == 0
    assert desk.run(mine).ended(0).json["made"] == 2


def test_a_datasets_budget_is_set_without_a_run_and_every_change_is_kept(desk: Desk) -> None:
    manifest = desk.manifest(rows(2))
    desk.run(manifest, budget="1").ended(0)
    budget(desk, "set", "--dataset", str(desk.out), "--total", "3").ended(0)
    budget(desk, "set", "--day", "10000n").ended(0)
    budget(desk, "set", "--day", "10000n").ended(0)  # no change, no entry
    budget(desk, "set", "--day", "none").ended(0)
    [dataset] = budget(desk, "show", "--json").ended(0).json["datasets"]
    assert (dataset["folder"], dataset["budget_usd"], dataset["spent_usd"]) == (str(desk.out), "3", "0.000825")
    with closing(sqlite3.connect(desk.ledger)) as plain:
        query = "SELECT scope, period, before_nano_usd, after_nano_usd FROM cap_changes ORDER BY number"
        assert plain.execute(query).fetchall() == [
            ("dataset", "total", 10**9, 3 * 10**9),
            ("account", "day", None, 110_000_000),
            ("account", "day", 110_000_000, None),
        ]


@pytest.mark.parametrize("on_budget", ["cheapest-first", "spread"])
def test_a_short_day_is_spent_in_the_order_that_was_asked_for(desk: Desk, on_budget: str) -> None:
    """Half of each: the dear rows stand first, and the day has room for six small ones, or for two of each size."""
    sizes = [rows(4, f"size {side}", width=side, height=side) for side in (512, 384, 256)]
    manifest = desk.manifest([row for group in sizes for row in group])
    budget(desk, "set", "--day", "0.008").ended(0)
    told = desk.run(manifest, "--on-budget", on_budget).ended(3).json
    assert told["made"] < 12
    assert told["reason"].startswith("the account's budget for the day ")
    made = [row["id"].split("-")[0] for row in table(desk.out, ["id"]).to_pylist()]
    counts = {side: made.count(f"size {side}") for side in (512, 384, 256)}
    if on_budget == "spread":
        assert max(counts.values()) - min(counts.values()) <= 1, counts
    else:
        assert counts[256] >= counts[384] >= counts[512], counts
        assert counts[256] == 4
    found = shown(desk)["account", "day"]
    assert nano_usd(found["gone_usd"]) == desk.billed * 110 <= nano_usd("0.008")


def test_a_plan_says_what_fits_now_what_binds_and_how_many_nights_it_takes(desk: Desk) -> None:
    manifest = desk.manifest(rows(8))
    before = desk.plan(manifest, "--json").ended(0).json
    assert (before["fits_now"], before["binds"], before["nights"], before["budgets"]) == (
        8,
        "the dataset's own budget",
        1,
        [],
    )
    assert not desk.ledger.exists(), "a plan makes no ledger"
    budget(desk, "set", "--day", room_for(3), "--month", "1").ended(0)
    told = desk.plan(manifest, "--json").ended(0).json
    assert (told["fits"], told["fits_now"], told["nights"], told["nights_pictures"]) == (8, 3, 3, 8)
    assert told["binds"].startswith("the account's budget for the day ")
    human = desk.plan(manifest).ended(0).out
    assert "3 of 8 pictures fit; the account's budget for the day" in human
    assert "3 nights at these budgets" in human
    assert "4 nights" in desk.plan(manifest, "--run-budget", room_for(2)).ended(0).out
    budget(desk, "set", "--day", "0.0001").ended(0)
    assert "8 are left that never fit" in desk.plan(manifest).ended(0).out


def night(desk: Desk, manifest: Path, at: str, **options: Any) -> Summary:
    """One night's run by a clock that was moved to this moment, and runs on from there."""
    ahead_s = datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp() - time.time()

    async def run() -> Summary:
        with prepared(job) as ready:
            async with open_batch(ready) as batch:
                await drive(batch, batch.work)
        assert batch.summary is not None
        return batch.summary

    with placed(desk.folder, desk.variables()):
        job = Job(manifest, desk.out, parse_usd("5"), load_settings(**options))
        job = replace(job, clock=lambda: time.time() + ahead_s)
        return asyncio.run(run())


def test_three_nights_over_a_months_end_and_the_clock_is_moved(desk: Desk) -> None:
    manifest = desk.manifest(rows(9))
    budget(desk, "set", "--day", room_for(4), "--month", room_for(5)).ended(0)
    first = night(desk, manifest, "2026-11-29 22:00:00")
    assert (first.made, first.exit_code) == (4, 3)
    assert first.reason is not None
    assert "for the day 2026-11-29 is used up" in first.reason
    assert "the next begins on 2026-11-30 at 00:00 UTC" in first.reason
    again = night(desk, manifest, "2026-11-29 23:00:00")
    assert (again.made, again.requests) == (0, 0)
    second = night(desk, manifest, "2026-11-30 22:00:00")
    assert second.made == 1
    assert second.reason is not None
    assert "for the month 2026-11 is used up" in second.reason
    assert "the next begins on 2026-12-01 at 00:00 UTC" in second.reason
    third = night(desk, manifest, "2026-12-01 00:00:00")
    assert (third.made, third.already, third.exit_code) == (4, 5, 0)
    assert nano_usd(str(third.spent.usd)) == 9 * PICTURE_NANO_USD == desk.billed * 110
    days = sql_days(desk)
    assert days == {"2026-11-29": 4, "2026-11-30": 1, "2026-12-01": 4}


def test_each_days_free_allocation_is_used_and_no_more(desk: Desk) -> None:
    manifest = desk.manifest(rows(5, width=1024, height=1024, steps=25))
    made = [night(desk, manifest, f"2026-12-{day} 03:00:00", free_only=True).made for day in ("30", "31", "31")]
    assert made == [2, 2, 0]
    assert night(desk, manifest, "2027-01-01 03:00:00", free_only=True).exit_code == 0


def sql_days(desk: Desk) -> dict[str, int]:
    """Pictures by the UTC day in which they were sent."""
    with closing(sqlite3.connect(desk.ledger)) as plain:
        query = "SELECT date(sent_at_us / 1000000, 'unixepoch') AS day, count(*) FROM attempts GROUP BY day"
        return dict(plain.execute(query).fetchall())
