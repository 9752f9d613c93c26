"""`fluxbatch run`: its object, its exit codes, its budget."""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import Decimal

import pytest

from fluxbatch.simulator import FAULTS
from tests.e2e.e2e_kit import (
    SMALL_CENTINEURONS,
    Desk,
    assert_adds_up,
    calm,
    centineurons,
    failures,
    nano_usd,
    rows,
    table,
    unreachable_address,
)

COUNTS = ("asked", "already", "made", "refused", "failed", "unknown", "left", "requests")
AMOUNTS = ("budget_usd", "expected_usd", "spent_usd", "unknown_usd", "spent_neurons", "unknown_neurons")


def test_the_last_line_of_a_run_with_json_is_one_object_with_every_promised_key(desk: Desk) -> None:
    said = desk.run(desk.manifest(rows(3)), budget="1.50").ended(0)
    told = said.json
    assert all(type(told[name]) is int for name in COUNTS)
    assert all(type(told[name]) is str for name in AMOUNTS)
    assert type(told["seconds"]) is float
    assert told["stopped_by"] is None
    assert told["dataset"] == str(desk.out)
    assert len(said.out.splitlines()) == 1, "the tables are for people, so they go to standard error"


def test_amounts_are_exact_and_the_ledger_says_what_the_bill_says(desk: Desk) -> None:
    told = (
        desk.run(desk.manifest([*rows(3), {"prompt": "large", "width": 1008, "height": 496, "steps": 7}])).ended(0).json
    )
    large = round(7 * 3750 * 1008 * 496 / 262144)
    assert desk.billed == 3 * SMALL_CENTINEURONS + large
    assert centineurons(told["spent_neurons"]) == desk.billed
    assert nano_usd(told["spent_usd"]) == 110 * desk.billed
    assert told["expected_usd"] == told["spent_usd"]
    assert (told["unknown_usd"], told["unknown_neurons"]) == ("0", "0")
    assert told["budget_usd"] == "5"
    assert_adds_up(told)


def test_a_second_run_sends_nothing_and_costs_nothing(desk: Desk) -> None:
    manifest = desk.manifest(rows(3))
    first = desk.run(manifest).ended(0).json
    again = desk.run(manifest).ended(0).json
    assert (again["already"], again["made"], again["requests"], again["expected_usd"]) == (3, 0, 0, "0")
    assert again["spent_usd"] == first["spent_usd"]
    assert desk.requests == 3


def test_a_manifest_without_rows_is_complete(desk: Desk) -> None:
    path = desk.folder / "empty.csv"
    path.write_text("prompt,id\n")
    told = desk.run(path).ended(0).json
    assert (told["asked"], told["requests"], told["stopped_by"]) == (0, 0, None)


def test_a_refused_prompt_is_a_result_and_not_a_failure_of_the_run(desk: Desk) -> None:
    told = desk.run(desk.manifest([*rows(2), {"id": "nsfw", "prompt": "x [[fault:8007]]"}])).ended(0).json
    assert (told["made"], told["refused"], told["unknown_usd"]) == (2, 1, "0")
    assert failures(desk.out)["nsfw"]["failure"] == "refused"
    assert_adds_up(told)


def test_failed_rows_end_a_complete_run_with_exit_code_4(desk: Desk) -> None:
    said = desk.run(desk.manifest([*rows(2), {"id": "bad", "prompt": "x [[fault:3043]]"}]), "--resend-failed", "0")
    told = said.ended(4).json
    assert (told["made"], told["failed"], told["stopped_by"]) == (2, 1, None)
    assert "failures.parquet" in said.err
    assert_adds_up(told)


class TestUsage:
    """Exit code 2: the command or the manifest has to change; nothing was sent, and a new dataset was not begun."""

    @pytest.fixture(autouse=True)
    def _nothing_happens(self, desk: Desk) -> Iterator[None]:
        yield
        assert desk.requests == 0
        assert not desk.out.exists()

    def test_no_budget(self, desk: Desk) -> None:
        said = desk.command("run", str(desk.manifest(rows(1))), "--out", str(desk.out)).ended(2)
        assert "--budget" in said.err

    @pytest.mark.parametrize("budget", ["much", "-1", "nan", "inf", "0.0000000001", ""])
    def test_a_budget_that_is_no_amount(self, desk: Desk, budget: str) -> None:
        said = desk.run(desk.manifest(rows(1)), budget=budget).ended(2)
        assert "--budget" in said.err

    def test_a_manifest_that_is_not_there(self, desk: Desk) -> None:
        said = desk.run(desk.folder / "absent.csv").ended(2)
        assert "absent.csv" in said.err

    def test_every_complaint_about_a_manifest_with_place_and_remedy(self, desk: Desk) -> None:
        manifest = desk.manifest(
            [*rows(2), {"prompt": ""}, {"prompt": "a", "width": 500}, {"prompt": "a", "steps": 99, "model": "sdxl"}]
        )
        said = desk.run(manifest).ended(2)
        for complaint in ("row 3, column prompt", "row 4, column width", "row 5, column steps", "row 5, column model"):
            assert complaint in said.err
        assert "prompts.csv:4" in said.err
        assert "take 496 or 512" in said.err
        assert "--skip-invalid" in said.err

    def test_a_column_that_looks_like_a_misspelt_parameter(self, desk: Desk) -> None:
        said = desk.run(desk.manifest([{"prompt": "a", "widht": 512}])).ended(2)
        assert "widht" in said.err
        assert "width" in said.err

    @pytest.mark.parametrize(
        "option", [("--max-in-flight", "0"), ("--resend-failed", "-1"), ("--rate", "-5"), ("--patience", "0")]
    )
    def test_a_setting_out_of_range(self, desk: Desk, option: tuple[str, str]) -> None:
        said = desk.run(desk.manifest(rows(1)), *option).ended(2)
        assert option[0].removeprefix("--").replace("-", "_") in said.err

    def test_an_option_that_is_not_there(self, desk: Desk) -> None:
        assert "--resume" in desk.run(desk.manifest(rows(1)), "--resume").ended(2).err

    def test_an_unknown_model_names_the_known(self, desk: Desk) -> None:
        said = desk.run(desk.manifest(rows(1)), "--model", "sdxl").ended(2)
        assert "sdxl" in said.err
        assert "flux-2-dev" in said.err

    def test_no_credentials_says_what_to_set(self, desk: Desk) -> None:
        desk.without = ("CLOUDFLARE_ACCOUNT_ID", "CLOUDFLARE_API_TOKEN")
        said = desk.run(desk.manifest(rows(1))).ended(2)
        assert "CLOUDFLARE_ACCOUNT_ID" in said.err
        assert "CLOUDFLARE_API_TOKEN" in said.err
        assert "--simulate" in said.err

    def test_empty_credentials_count_as_missing(self, desk: Desk) -> None:
        desk.environment |= {"CLOUDFLARE_ACCOUNT_ID": "", "CLOUDFLARE_API_TOKEN": ""}
        said = desk.run(desk.manifest(rows(1))).ended(2)
        assert "CLOUDFLARE_ACCOUNT_ID" in said.err
        assert "CLOUDFLARE_API_TOKEN" in said.err

    def test_a_token_with_spaces_is_refused_and_not_shown(self, desk: Desk) -> None:
        desk.environment["CLOUDFLARE_API_TOKEN"] = "canary with spaces"
        said = desk.run(desk.manifest(rows(1))).ended(2)
        assert "CLOUDFLARE_API_TOKEN" in said.err
        assert "canary" not in said.all


def test_the_advice_to_simulate_first_works_after_a_run_without_credentials(desk: Desk) -> None:
    manifest = desk.manifest(rows(1))
    desk.without = ("CLOUDFLARE_ACCOUNT_ID", "CLOUDFLARE_API_TOKEN")
    desk.run(manifest).ended(2)
    desk.environment["FLUXBATCH_SIMULATOR"] = calm().to_json()
    assert desk.run(manifest, "--simulate").ended(0).json["made"] == 1


class TestBudget:
    def test_a_stop_keeps_what_was_made_and_says_what_is_left_and_what_it_would_cost(self, desk: Desk) -> None:
        manifest = desk.manifest(rows(10))
        fits = desk.plan(manifest, "--json", budget="0.004").ended(0).json["fits"]
        said = desk.run(manifest, budget="0.004").ended(3)
        told = said.json
        assert told["stopped_by"] == "budget"
        # After k pictures at their actual price, one more has to fit at its bound: 0.0004125 k + 0.00165 <= 0.004.
        assert told["made"] == fits == 6
        assert told["left"] == 4
        assert told["left_expected_usd"] == "0.00165"
        assert "4 pictures are left" in said.err
        assert "$0.0016" in said.err
        assert table(desk.out).num_rows == 6
        assert_adds_up(told)

    def test_more_budget_continues_and_pays_only_for_the_rest(self, desk: Desk) -> None:
        manifest = desk.manifest(rows(10))
        desk.run(manifest, budget="0.004").ended(3)
        told = desk.run(manifest, budget="0.02").ended(0).json
        assert (told["already"], told["made"]) == (6, 4)
        assert desk.billed == 10 * SMALL_CENTINEURONS == centineurons(told["spent_neurons"])
        assert desk.requests == 10

    def test_the_advice_after_a_stop_is_enough_to_finish(self, desk: Desk) -> None:
        manifest = desk.manifest(rows(30))
        said = desk.run(manifest, budget="0.004").ended(3)
        advised = said.err.split("--budget ")[1].split()[0]
        desk.run(manifest, budget=advised).ended(0)

    def test_a_budget_that_holds_nothing_sends_nothing(self, desk: Desk) -> None:
        told = desk.run(desk.manifest(rows(2)), budget="0").ended(3).json
        assert (told["left"], told["requests"], told["spent_usd"]) == (2, 0, "0")
        assert desk.requests == 0

    def test_a_budget_below_what_was_spent_sends_nothing_more(self, desk: Desk) -> None:
        desk.run(desk.manifest(rows(3)), budget="1").ended(0)
        told = desk.run(desk.manifest(rows(5)), budget="0.001").ended(3).json
        assert (told["already"], told["left"], told["requests"]) == (3, 2, 0)
        assert told["budget_usd"] == "0.001"

    def test_a_budget_is_the_datasets_and_another_dataset_has_its_own(self, desk: Desk) -> None:
        manifest = desk.manifest(rows(2))
        desk.run(manifest, budget="0.003").ended(0)
        told = desk.run(manifest, budget="0.003", out=desk.folder / "other").ended(0).json
        assert told["made"] == 2
        assert desk.billed == 4 * SMALL_CENTINEURONS

    @pytest.mark.parametrize("seed", range(6))
    def test_nothing_is_spent_past_it_whatever_fails(self, desk: Desk, seed: int) -> None:
        chance = random.Random(seed)
        faults = ("3043+billed", "3046+free", "lost-after", "lost-before", "3030-flagged+billed", "bad-base64", "3040")
        desk.simulator.change(faults=dict.fromkeys(faults, chance.choice((0.01, 0.03, 0.05))))
        manifest = desk.manifest(rows(40, width=chance.choice((256, 512, 768)), steps=chance.choice((1, 4, 25))))
        for budget in ("0.01", "0.03", "0.04"):
            said = desk.run(manifest, "--resend-failed", "2", "--resend-lost", "1", budget=budget)
            assert said.code in (0, 3, 4), said.err
            told = said.json
            assert_adds_up(told)
            assert desk.billed <= centineurons(told["spent_neurons"]) + centineurons(told["unknown_neurons"])
            assert Decimal(desk.billed) * 110 / 10**9 <= Decimal(budget)


class TestAccount:
    def test_a_bad_token_stops_the_run_before_anything_is_sent(self, desk: Desk) -> None:
        desk.environment["CLOUDFLARE_API_TOKEN"] = "cfut_canaryThatIsNotTheToken"
        said = desk.run(desk.manifest(rows(3))).ended(5)
        assert "CLOUDFLARE_API_TOKEN" in said.err
        assert "canary" not in said.all
        assert desk.requests == 0

    def test_a_bad_token_has_its_object_too(self, desk: Desk) -> None:
        desk.environment["CLOUDFLARE_API_TOKEN"] = "cfut_canaryThatIsNotTheToken"
        told = desk.run(desk.manifest(rows(3))).ended(5).json
        assert (told["asked"], told["left"], told["stopped_by"], told["spent_usd"]) == (3, 3, "account", "0")

    def test_an_unknown_account_stops_the_run(self, desk: Desk) -> None:
        desk.environment["CLOUDFLARE_ACCOUNT_ID"] = "1" * 32
        said = desk.run(desk.manifest(rows(3))).ended(5)
        assert "CLOUDFLARE_ACCOUNT_ID" in said.err

    def test_used_up_free_neurons_stop_the_run_and_say_when_they_come_back(self, desk: Desk) -> None:
        manifest = desk.manifest([*rows(5), {"prompt": "x [[fault:3036*1]]"}, *rows(30, "later")])
        said = desk.run(manifest, "--max-in-flight", "2").ended(5)
        told = said.json
        assert told["stopped_by"] == "account"
        assert "UTC" in told["reason"]
        assert 5 <= told["made"] <= 8
        assert told["unknown_usd"] == "0"
        assert centineurons(told["spent_neurons"]) == desk.billed
        assert_adds_up(told)
        assert desk.run(manifest).ended(0).json["made"] == 36 - told["made"]

    @pytest.mark.parametrize(
        "fault",
        [f.name for f in FAULTS.values() if f.status in (401, 402, 404, 405) or f.code in (7000, 5007, 4006)]
        + ["10000-permission", "5018", "3041", "5016", "3023", "5035"],
    )
    def test_each_answer_that_is_about_the_account_stops_the_run_unbilled(self, desk: Desk, fault: str) -> None:
        told = desk.run(desk.manifest([{"prompt": f"x [[fault:{fault}]]"}, *rows(2)]), "--max-in-flight", "1").ended(5)
        assert told.json["stopped_by"] == "account"
        assert (told.json["made"], told.json["left"], told.json["unknown_usd"]) == (0, 3, "0")
        assert len(told.json["reason"]) > 30, "says what happened and what to do"
        assert desk.billed == 0


class TestPlatform:
    def test_an_outage_does_not_eat_the_budget(self, desk: Desk) -> None:
        desk.simulator.change(outages=[{"from": 0, "to": 600, "fault": "502+billed"}])
        told = desk.run(desk.manifest(rows(200)), "--patience", "0.01", "--max-in-flight", "16").ended(5).json
        assert told["stopped_by"] == "platform"
        assert told["made"] == 0
        # 20 failures in a row trip the breaker; what was on its way at that moment comes on top, and one probe.
        assert 20 <= told["requests"] <= 20 + 16 + 1
        assert desk.billed <= centineurons(told["unknown_neurons"])
        assert_adds_up(told)

    def test_total_sends_stay_within_a_tenth_when_everything_fails(self, desk: Desk) -> None:
        """Fewer than the breaker needs, so it is the quota that bounds the second tries."""
        told = desk.run(desk.manifest(rows(19, "[[fault:3043+billed]]")), "--resend-failed", "9").ended(4).json
        assert (told["made"], told["failed"]) == (0, 19)
        assert 19 < told["requests"] <= 1.1 * 19
        assert desk.billed == told["requests"] * SMALL_CENTINEURONS <= centineurons(told["unknown_neurons"])

    def test_a_network_that_is_down_costs_nothing(self, desk: Desk) -> None:
        desk.environment["CLOUDFLARE_BASE_URL"] = unreachable_address()
        said = desk.run(desk.manifest(rows(5)), "--patience", "0.01").ended(5)
        told = said.json
        assert told["stopped_by"] == "platform"
        assert (told["left"], told["unknown_usd"], told["spent_usd"]) == (5, "0", "0")
        assert "cannot be reached" in told["reason"]
        del desk.environment["CLOUDFLARE_BASE_URL"]
        assert desk.run(desk.manifest(rows(5))).ended(0).json["made"] == 5

    def test_no_room_at_all_ends_when_patience_does_and_nothing_is_billed(self, desk: Desk) -> None:
        desk.simulator.change(capacity=0)
        told = desk.run(desk.manifest(rows(5)), "--patience", "0.01", "--max-in-flight", "1").ended(5).json
        assert (told["stopped_by"], told["left"], told["spent_usd"], told["unknown_usd"]) == ("platform", 5, "0", "0")
        assert desk.billed == 0
