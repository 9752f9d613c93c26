"""Looks before it buys, and what a short budget buys: the commands against the simulator, and its bill."""

from __future__ import annotations

import itertools
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.e2e_kit import (
    REPOSITORY,
    SMALL_CENTINEURONS,
    Desk,
    Said,
    assert_adds_up,
    centineurons,
    failures,
    nano_usd,
    rows,
    table,
)

MIXED = (256, 512, 768)
"""512x512 costs four times as much as 256x256; 768x768 nine times as much, and 16 times is reserved."""


def mixed(count: int) -> list[dict[str, object]]:
    return [
        {"id": str(n), "prompt": f"picture {n}", "width": MIXED[n % 3], "height": MIXED[n % 3]} for n in range(count)
    ]


def sweep() -> list[dict[str, object]]:
    """3 x 4 x 5 pictures of one price, the last axis fastest."""
    cells = itertools.product(("oil", "ink", "chalk"), ("fox", "owl", "eel", "elk"), range(5))
    return [{"prompt": f"{animal} in {style}", "style": style, "seed": seed} for style, animal, seed in cells]


def ids(dataset: Path) -> set[str]:
    return set(table(dataset, ["id"])["id"].to_pylist())


def sound(desk: Desk, said: Said) -> dict[str, Any]:
    """What the run told, when its books and the platform's bill say the same, and the budget holds."""
    told = said.json
    if not told["too_dear"]:
        assert_adds_up(told)
    assert centineurons(told["spent_neurons"]) == desk.billed
    assert desk.billed * 110 <= nano_usd(told["budget_usd"])
    return told


class TestCheapestFirst:
    @pytest.mark.parametrize("budget", ["0.0017", "0.01", "0.03"])
    def test_it_buys_at_least_as_many_as_in_order_and_what_the_plan_says(self, desk: Desk, budget: str) -> None:
        manifest, in_order = desk.manifest(mixed(30)), desk.folder / "in order"
        others = sound(desk, desk.run(manifest, budget=budget, out=in_order).ended(3))["made"]
        desk.simulator.reset()
        fits = desk.plan(manifest, "--json", "--on-budget", "cheapest-first", budget=budget).ended(0).json["fits"]
        told = sound(desk, desk.run(manifest, "--on-budget", "cheapest-first", budget=budget).ended(3))
        assert told["made"] == fits >= others
        assert told["left"] == 30 - fits
        widths = Counter(table(desk.out, ["width"])["width"].to_pylist())
        assert widths[256] == min(10, fits)

    def test_with_enough_budget_all_are_made_and_the_run_is_complete(self, desk: Desk) -> None:
        told = sound(desk, desk.run(desk.manifest(mixed(12)), "--on-budget", "cheapest-first").ended(0))
        assert (told["made"], told["left"]) == (12, 0)

    def test_more_budget_continues_and_pays_for_nothing_twice(self, desk: Desk) -> None:
        manifest = desk.manifest(mixed(30))
        for budget, code in (("0.01", 3), ("0.03", 3), ("0.20", 0)):
            said = desk.run(manifest, "--on-budget", "cheapest-first", budget=budget).ended(code)
            sound(desk, said)
        assert desk.requests == 30
        assert said.json["already"] + said.json["made"] == 30

    def test_what_refusals_leave_over_buys_more_in_the_same_run(self, desk: Desk) -> None:
        free = [{"id": f"no {n}", "prompt": f"refused {n} [[fault:8007]]"} for n in range(4)]
        manifest = desk.manifest([*free, *rows(10)])
        budget = "0.0045375"  # 8 pictures as expected: 7 x 0.0004125, and the last at its bound of 0.00165
        assert desk.plan(manifest, "--json", "--on-budget", "cheapest-first", budget=budget).json["fits"] == 8
        told = sound(desk, desk.run(manifest, "--on-budget", "cheapest-first", budget=budget).ended(3))
        assert (told["refused"], told["made"], told["left"]) == (4, 8, 2)
        assert len(failures(desk.out)) == 4

    def test_a_failure_is_not_bought_again_by_a_later_round_nor_told_twice(self, desk: Desk) -> None:
        failing = [{"id": "bad", "prompt": "x [[fault:3043+free]]"}]
        refused = [{"id": f"no {n}", "prompt": f"refused {n} [[fault:8007]]"} for n in range(5)]
        manifest = desk.manifest([*failing, *refused, *rows(10)])
        said = desk.run(manifest, "--on-budget", "cheapest-first", "--resend-failed", "0", budget="0.006").ended(3)
        told = said.json
        assert_adds_up(told)
        assert (told["failed"], told["refused"]) == (1, 5)
        assert sorted(failures(desk.out)) == ["bad", *(f"no {n}" for n in range(5))]
        assert Decimal(told["spent_usd"]) + Decimal(told["unknown_usd"]) <= Decimal("0.006")


class TestSpread:
    def test_a_third_of_the_budget_buys_a_third_of_every_value(self, desk: Desk) -> None:
        manifest = desk.manifest(sweep())
        budget = str(20 * Decimal("0.0004125") + Decimal("0.0012375"))  # and the last one's bound
        planned = desk.plan(manifest, "--json", "--on-budget", "spread", budget=budget).ended(0).json
        assert planned["fits"] == 20
        assert {axis["name"]: axis["values"] for axis in planned["axes"]} == {"style": 3, "seed": 5, "prompt": 12}
        assert [(kind["width"], kind["due"], kind["fits"]) for kind in planned["coverage"]] == [(256, 60, 20)]
        [seeds] = [axis for axis in planned["axes"] if axis["name"] == "seed"]
        assert (seeds["least"], seeds["most"]) == (0.3333, 0.3333)
        assert (
            "20 of 60 pictures fit, spread over 3 axes"
            in desk.plan(manifest, "--on-budget", "spread", budget=budget).out
        )
        told = sound(desk, desk.run(manifest, "--on-budget", "spread", budget=budget).ended(3))
        assert (told["made"], told["left"]) == (20, 40)
        made = table(desk.out, ["style", "seed", "prompt"]).to_pylist()
        assert sorted(Counter(row["style"] for row in made).values()) in ([6, 7, 7], [6, 6, 8])
        assert sorted(Counter(row["seed"] for row in made).values()) == [4] * 5
        animals = Counter(row["prompt"].split()[0] for row in made)
        assert sorted(animals.values()) == [5] * 4

    def test_more_budget_adds_to_it_and_in_the_end_all_is_made_once(self, desk: Desk) -> None:
        manifest = desk.manifest(sweep())
        for budget, code in (("0.006", 3), ("0.015", 3), ("0.03", 0)):
            sound(desk, desk.run(manifest, "--on-budget", "spread", "--rows-per-shard", "7", budget=budget).ended(code))
        assert desk.requests == 60
        assert desk.billed == 60 * SMALL_CENTINEURONS
        desk.command("verify", str(desk.out)).ended(0)

    def test_what_was_stopped_in_the_middle_goes_on_to_the_same_sample(self, desk: Desk) -> None:
        cells = sweep()
        cells[0] = cells[0] | {"prompt": "x [[fault:3036*1]]"}  # the account is used up, once
        manifest = desk.manifest(cells)
        options = ("--on-budget", "spread", "--max-in-flight", "2")
        budget = "0.0095"
        desk.run(manifest, *options, budget=budget).ended(5)
        sound(desk, desk.run(manifest, *options, budget=budget).ended(3))
        at_once = desk.folder / "at once"
        desk.simulator.reset()
        desk.run(manifest, *options, budget=budget, out=at_once)
        desk.run(manifest, *options, budget=budget, out=at_once).ended(3)
        columns = ["prompt", "seed"]
        assert sorted(map(str, table(desk.out, columns).to_pylist())) == sorted(
            map(str, table(at_once, columns).to_pylist())
        )

    def test_a_budget_that_holds_nothing_sends_nothing(self, desk: Desk) -> None:
        told = desk.run(desk.manifest(sweep()), "--on-budget", "spread", budget="0").ended(3).json
        assert (told["left"], told["requests"]) == (60, 0)

    def test_nothing_is_spent_past_it_whatever_fails(self, desk: Desk) -> None:
        faults = ("3043+billed", "3046+free", "lost-after", "lost-before", "3030-flagged+billed", "bad-base64")
        desk.simulator.change(faults=dict.fromkeys(faults, 0.04))
        manifest = desk.manifest(mixed(45))
        for budget, on_budget in (("0.01", "spread"), ("0.02", "cheapest-first"), ("0.04", "spread"), ("0.05", "stop")):
            said = desk.run(manifest, "--on-budget", on_budget, "--resend-failed", "2", budget=budget)
            assert said.code in (3, 4), said.err
            assert_adds_up(said.json)
            assert desk.billed <= centineurons(said.json["spent_neurons"]) + centineurons(said.json["unknown_neurons"])
            assert desk.billed * 110 <= nano_usd(budget)


class TestSample:
    def test_a_sample_is_asked_for_alone_and_again_costs_nothing(self, desk: Desk) -> None:
        manifest = desk.manifest(rows(40))
        told = sound(desk, desk.run(manifest, "--sample", "7", "--seed", "3").ended(0))
        assert (told["asked"], told["made"], told["left"], told["not_selected"]) == (7, 7, 0, 33)
        again = sound(desk, desk.run(manifest, "--sample", "7", "--seed", "3").ended(0))
        assert (again["already"], again["requests"]) == (7, 0)
        assert "33" in (desk.out / "report.md").read_text()

    def test_a_larger_one_and_then_all_cost_the_difference(self, desk: Desk) -> None:
        manifest = desk.manifest(rows(40))
        desk.run(manifest, "--sample", "7").ended(0)
        few = ids(desk.out)
        told = sound(desk, desk.run(manifest, "--sample", "12").ended(0))
        assert (told["already"], told["made"]) == (7, 5)
        assert few < ids(desk.out)
        whole = sound(desk, desk.run(manifest).ended(0))
        assert (whole["already"], whole["made"], desk.requests) == (12, 28, 40)
        desk.command("verify", str(desk.out)).ended(0)

    def test_the_plan_and_the_run_take_the_same_and_another_seed_takes_others(self, desk: Desk) -> None:
        manifest = desk.manifest(rows(40))
        plan = desk.plan(manifest, "--json", "--sample", "5").ended(0).json
        assert (plan["asked"], plan["not_selected"], plan["fits"]) == (5, 35, 5)
        desk.run(manifest, "--sample", "5").ended(0)
        other = desk.folder / "other"
        desk.run(manifest, "--sample", "5", "--seed", "1", out=other).ended(0)
        assert ids(desk.out) != ids(other)

    def test_a_row_outside_of_it_that_cannot_be_sent_is_told_all_the_same(self, desk: Desk) -> None:
        manifest = desk.manifest([*rows(9), {"prompt": ""}])
        assert "row 10, column prompt" in desk.run(manifest, "--sample", "1").ended(2).err
        assert desk.requests == 0

    def test_it_works_together_with_a_policy(self, desk: Desk) -> None:
        options = ("--sample", "12", "--on-budget", "spread")
        told = sound(desk, desk.run(desk.manifest(sweep()), *options, budget="0.004").ended(3))
        assert (told["asked"], told["not_selected"]) == (12, 48)
        assert told["made"] == 6


class TestPreview:
    """A sweep's corners, in a budget of their own: the budget is the dataset's, so all of it comes from one purse."""

    def test_it_shows_the_corners_and_the_full_run_does_not_pay_for_them_again(self, desk: Desk) -> None:
        manifest = REPOSITORY / "prompts" / "matrix.yaml"
        told = sound(desk, desk.run(manifest, "--preview", "8", budget="0.06").ended(0))
        assert (told["asked"], told["made"], told["not_selected"]) == (8, 8, 47)
        seen = table(desk.out, ["animal", "style", "guidance"]).to_pylist()
        assert {row["guidance"] for row in seen} >= {2.5, 4.0}
        assert {row["style"] for row in seen} == {"woodcut", "watercolour"}
        again = sound(desk, desk.run(manifest, "--preview", "8", budget="0.06").ended(0))
        assert (again["already"], again["requests"]) == (8, 0)
        whole = sound(desk, desk.run(manifest, budget="1").ended(0))
        assert (whole["asked"], whole["already"], whole["made"]) == (55, 8, 47)
        assert desk.requests == 55
        assert Decimal(whole["spent_usd"]) == Decimal("0.3894")  # as a run without a preview
        desk.command("verify", str(desk.out)).ended(0)

    def test_the_plan_of_a_preview_is_its_price_alone(self, desk: Desk) -> None:
        manifest = REPOSITORY / "prompts" / "matrix.yaml"
        told = desk.plan(manifest, "--json", "--preview", "2", budget="0.06").ended(0).json
        assert (told["asked"], told["due"], told["fits"]) == (2, 2, 2)
        assert "2 corners of the sweep" in desk.plan(manifest, "--preview", "2", budget="0.06").ended(0).out

    def test_a_budget_of_a_preview_that_is_too_small_stops_it_as_any_run(self, desk: Desk) -> None:
        told = desk.run(REPOSITORY / "prompts" / "matrix.yaml", "--preview", "8", budget="0.01").ended(3).json
        assert_adds_up(told)
        assert told["made"] < 8


class TestLimit:
    def test_the_first_are_made_and_the_rest_is_not_even_read(self, desk: Desk) -> None:
        manifest = desk.manifest([*rows(5), {"prompt": ""}])
        told = sound(desk, desk.run(manifest, "--limit", "3").ended(0))
        assert (told["asked"], told["made"], told["left"]) == (3, 3, 0)
        assert ids(desk.out) == {"a fox-0", "a fox-1", "a fox-2"}
        more = sound(desk, desk.run(manifest, "--limit", "5").ended(0))
        assert (more["already"], more["made"]) == (3, 2)

    def test_it_may_stand_in_the_environment(self, desk: Desk) -> None:
        desk.environment["FLUXBATCH_LIMIT"] = "2"
        assert desk.run(desk.manifest(rows(5))).ended(0).json["asked"] == 2


class TestPrice:
    def test_what_may_cost_more_is_left_out_counted_and_listed(self, desk: Desk) -> None:
        manifest = desk.manifest([*rows(4), {"id": "large", "prompt": "large", "width": 1024, "height": 512}])
        options = ("--max-price-per-picture", "0.00165")
        plan = desk.plan(manifest, "--json", *options).ended(0).json
        assert (plan["due"], plan["too_dear"], plan["expected_usd"]) == (4, 1, "0.00165")
        assert "1 picture may cost more than $0.00165 each" in desk.plan(manifest, *options).ended(0).out
        said = desk.run(manifest, *options).ended(0)
        told = sound(desk, said)
        assert (told["asked"], told["made"], told["too_dear"], told["left"]) == (5, 4, 1, 0)
        [listed] = failures(desk.out).values()
        assert (listed["id"], listed["failure"], listed["failure_attempts"]) == ("large", "too_dear", 0)
        assert "$0.0033" in listed["failure_message"]
        assert "too dear" in said.err
        assert "| too dear | 1 |" in (desk.out / "report.md").read_text()

    def test_without_the_option_the_same_command_makes_them(self, desk: Desk) -> None:
        manifest = desk.manifest([*rows(2), {"id": "large", "prompt": "large", "width": 512, "height": 512}])
        desk.run(manifest, "--max-price-per-picture", "0.001").ended(0)
        told = sound(desk, desk.run(manifest).ended(0))
        assert (told["made"], told["too_dear"]) == (3, 0)
        assert failures(desk.out) == {}

    @pytest.mark.parametrize("on_budget", ["cheapest-first", "spread"])
    def test_a_policy_leaves_them_out_too(self, desk: Desk, on_budget: str) -> None:
        manifest = desk.manifest(mixed(9))
        told = desk.run(manifest, "--on-budget", on_budget, "--max-price-per-picture", "0.00165").ended(0).json
        assert (told["made"], told["too_dear"], told["left"]) == (6, 3, 0)
        assert len(failures(desk.out)) == 3


class TestUsage:
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (("--limit", "3", "--sample", "3"), "--limit and --sample exclude each other"),
            (("--sample", "3", "--preview", "3"), "--sample and --preview exclude each other"),
            (("--seed", "3"), "there is no --sample"),
            (("--preview", "3"), "--sample 3"),
            (("--on-budget", "dearest"), "on_budget"),
            (("--limit", "0"), "limit"),
            (("--max-price-per-picture", "much"), "--max-price-per-picture"),
        ],
        ids=" ".join,
    )
    def test_it_is_said_before_anything_is_made(self, desk: Desk, options: tuple[str, ...], said: str) -> None:
        manifest = desk.manifest(rows(3))
        assert said in desk.run(manifest, *options).ended(2).err
        assert said in desk.plan(manifest, *options).ended(2).err
        assert desk.requests == 0
        assert not desk.out.exists()
