"""What may have been billed: listed, held against the simulator's own figures, and settled by a decision only."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from fluxbatch.budget import ledger
from fluxbatch.budget.entries import AttemptId
from fluxbatch.budget.store import Store
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.models.money import charge
from tests.e2e.e2e_kit import SMALL_CENTINEURONS, Desk, Said, centineurons, rows

LOST_BILLED = {"id": "billed", "prompt": "b [[fault:lost-after*1]]"}
LOST_FREE = {"id": "free", "prompt": "f [[fault:lost-before*1]]"}
BOUND_USD = "0.00165"


def reconcile(desk: Desk, *options: str) -> Said:
    return desk.command("reconcile", str(desk.out), "--json", *options)


def run(desk: Desk, *lost: dict[str, str], count: int = 3, code: int = 4) -> None:
    desk.run(desk.manifest([*lost, *rows(count)])).ended(code)


def verdicts(told: dict[str, Any]) -> set[str]:
    return {stretch["verdict"] for stretch in told["compared"]}


class TestFigures:
    def test_books_without_anything_unknown_agree(self, desk: Desk) -> None:
        run(desk, code=0)
        told = reconcile(desk).ended(0).json
        assert verdicts(told) == {"agrees"}
        quarters = [quarter for stretch in told["compared"] for quarter in stretch["quarters"]]
        assert sum(centineurons(quarter["cloudflare_neurons"]) for quarter in quarters) == desk.billed
        assert sum(centineurons(quarter["posted_neurons"]) for quarter in quarters) == desk.billed
        assert told["unknown"] == []
        assert "agrees" in desk.command("reconcile", str(desk.out)).ended(0).out

    def test_an_answer_that_was_lost_and_not_billed_is_suggested_as_that(self, desk: Desk) -> None:
        run(desk, LOST_FREE)
        told = reconcile(desk).ended(4).json
        [one] = told["unknown"]
        assert (one["end"], one["suggested"], one["bound_usd"], one["number"]) == ("lost", "not billed", BOUND_USD, 1)
        assert told["before"] == told["after"], "nothing is settled by itself"
        said = desk.command("reconcile", str(desk.out)).ended(4).out
        assert "--not-billed all" in said
        assert "figures come late: ask again after" in said

    def test_an_answer_that_was_lost_and_billed_is_suggested_as_that(self, desk: Desk) -> None:
        run(desk, LOST_BILLED)
        assert [one["suggested"] for one in reconcile(desk).ended(4).json["unknown"]] == ["billed"]

    def test_one_of_two_that_was_billed_decides_nothing(self, desk: Desk) -> None:
        run(desk, LOST_BILLED, LOST_FREE)
        told = reconcile(desk).ended(4).json
        assert [one["suggested"] for one in told["unknown"]] == [None, None]
        assert verdicts(told) == {"agrees"}

    def test_somebody_else_on_the_account_is_noticed(self, desk: Desk) -> None:
        run(desk, code=0)
        desk.environment["FLUXBATCH_LEDGER"] = f"sqlite:///{desk.folder}/another.sqlite3"
        desk.run(desk.manifest(rows(2, "else")), out=desk.folder / "else").ended(0)
        del desk.environment["FLUXBATCH_LEDGER"]
        told = reconcile(desk).ended(4).json
        assert verdicts(told) == {"more"}
        assert "somebody else" in desk.command("reconcile", str(desk.out)).ended(4).out

    def test_another_dataset_of_the_same_ledger_is_nobody_else(self, desk: Desk) -> None:
        run(desk, code=0)
        desk.run(desk.manifest(rows(2, "other")), out=desk.folder / "other").ended(0)
        assert verdicts(reconcile(desk).ended(0).json) == {"agrees"}

    def test_figures_that_are_late_are_less_and_decide_nothing(self, desk: Desk) -> None:
        run(desk, LOST_BILLED)
        desk.simulator.change(analytics_lag_s=3600)
        told = reconcile(desk).ended(4).json
        assert verdicts(told) == {"less"}
        assert told["unknown"][0]["suggested"] is None

    def test_a_ledger_that_was_filled_from_parts_knows_when_they_were_sent(self, desk: Desk) -> None:
        run(desk, code=0)
        desk.ledger.unlink()
        assert verdicts(reconcile(desk).ended(0).json) == {"agrees"}
        desk.environment["FLUXBATCH_LEDGER"] = f"sqlite:///{desk.folder}/another.sqlite3"
        desk.run(desk.manifest(rows(1, "else")), out=desk.folder / "else").ended(0)
        del desk.environment["FLUXBATCH_LEDGER"]
        assert verdicts(reconcile(desk).ended(4).json) == {"more"}


class TestNotCompared:
    @pytest.fixture(autouse=True)
    def _one_lost(self, desk: Desk) -> None:
        run(desk, LOST_FREE)

    def test_offline(self, desk: Desk) -> None:
        before = desk.simulator.stats()
        told = reconcile(desk, "--offline").ended(4).json
        assert (told["compared"], told["not_compared"]) == (None, "--offline was given")
        assert len(told["unknown"]) == 1
        assert desk.simulator.stats() == before

    def test_a_token_without_the_permission(self, desk: Desk) -> None:
        desk.simulator.change(analytics=False)
        told = reconcile(desk).ended(4).json
        desk.simulator.change(analytics=True)
        assert "Account Analytics: Read" in told["not_compared"]

    def test_too_many_questions(self, desk: Desk) -> None:
        desk.simulator.change(analytics_queries=0)
        told = reconcile(desk).ended(4).json
        desk.simulator.change(analytics_queries=300)
        assert "in 5 minutes" in told["not_compared"]

    def test_no_credentials(self, desk: Desk) -> None:
        desk.without = ("CLOUDFLARE_ACCOUNT_ID", "CLOUDFLARE_API_TOKEN")
        assert "CLOUDFLARE_API_TOKEN" in reconcile(desk).ended(4).json["not_compared"]

    def test_a_simulators_pictures_are_no_matter_of_cloudflares(self, desk: Desk) -> None:
        desk.without = ("CLOUDFLARE_BASE_URL",)
        assert "simulator" in reconcile(desk).ended(4).json["not_compared"]

    def test_another_account(self, desk: Desk) -> None:
        desk.environment["CLOUDFLARE_ACCOUNT_ID"] = "e" * 32
        assert "another account" in reconcile(desk).ended(4).json["not_compared"]

    def test_nobody_answers(self, desk: Desk) -> None:
        desk.environment["CLOUDFLARE_BASE_URL"] = "http://127.0.0.1:9/client/v4"
        assert "check the network" in reconcile(desk).ended(4).json["not_compared"]


class TestDecisions:
    def test_not_billed_frees_the_money_and_the_next_run_sends_the_row_again(self, desk: Desk) -> None:
        run(desk, LOST_FREE)
        told = reconcile(desk, "--not-billed", "all", "--why", "the dashboard of today").ended(0).json
        [one] = told["settled"]
        assert (one["as"], one["why"], one["usd"]) == ("not billed", "the dashboard of today", "0")
        assert (told["before"]["unknown_usd"], told["after"]["unknown_usd"]) == (BOUND_USD, "0")
        assert told["before"]["spent_usd"] == told["after"]["spent_usd"]
        assert float(told["after"]["free_usd"]) - float(told["before"]["free_usd"]) == pytest.approx(float(BOUND_USD))
        again = desk.run(desk.manifest([LOST_FREE, *rows(3)])).ended(0).json
        assert (again["already"], again["made"], again["unknown_usd"]) == (3, 1, "0")
        assert centineurons(again["spent_neurons"]) == desk.billed == 4 * SMALL_CENTINEURONS
        assert verdicts(reconcile(desk).ended(0).json) == {"agrees"}

    def test_billed_spends_the_bound_and_the_row_is_not_bought_again_by_itself(self, desk: Desk) -> None:
        run(desk, LOST_BILLED)
        [one] = reconcile(desk).ended(4).json["unknown"]
        told = reconcile(desk, "--billed", f"{one['key'][:12]}#1").ended(0).json
        assert told["settled"][0]["usd"] == BOUND_USD
        assert told["after"]["unknown_usd"] == "0"
        assert told["before"]["free_usd"] == told["after"]["free_usd"]
        assert verdicts(told) == {"agrees"}
        again = desk.run(desk.manifest([LOST_BILLED, *rows(3)])).ended(4).json
        assert (again["requests"], again["unknown"]) == (0, 1)
        sent = desk.run(desk.manifest([LOST_BILLED, *rows(3)]), "--resend-lost", "1").ended(0).json
        assert sent["made"] == 1
        assert desk.command("verify", str(desk.out)).ended(0)

    def test_what_changed_is_said(self, desk: Desk) -> None:
        run(desk, LOST_BILLED, LOST_FREE)
        listed = reconcile(desk).ended(4).json["unknown"]
        keys = {one["key"]: one for one in listed}
        first, second = keys
        said = desk.command("reconcile", str(desk.out), "--billed", first, "--not-billed", second).ended(0).out
        assert f"{first[:16]}#1 as billed" in said
        assert f"{second[:16]}#1 as not billed" in said
        assert "->" in said
        assert "sent again by the next run" in said
        assert "--resend-lost" in said
        status = desk.command("status", str(desk.out), "--json").ended(0).json
        assert (status["not_known"], status["settled"]) == (0, "1 billed, 1 not billed")

    def test_a_decision_stands(self, desk: Desk) -> None:
        run(desk, LOST_FREE)
        [one] = reconcile(desk).ended(4).json["unknown"]
        reconcile(desk, "--not-billed", "all", "--why", "first").ended(0)
        said = reconcile(desk, "--billed", one["key"]).ended(2)
        assert "settled as not billed before (first)" in said.err

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (("--billed", "all", "--not-billed", "all"), "say one"),
            (("--billed", "xyz"), "is no attempt"),
            (("--billed", "0" * 64), "no unknown attempt"),
            (("--not-billed", "all", "--billed", "0" * 12), "no unknown attempt"),
        ],
    )
    def test_a_wish_that_fits_nothing_settles_nothing(self, desk: Desk, options: tuple[str, ...], words: str) -> None:
        run(desk, LOST_FREE)
        assert words in reconcile(desk, *options).ended(2).err
        assert desk.command("status", str(desk.out), "--json").ended(0).json["not_known"] == 1

    def test_while_a_run_is_alive_nothing_is_touched(self, desk: Desk) -> None:
        run(desk, LOST_FREE)
        with Dataset.open(desk.out).hold():
            assert "is working on this dataset" in reconcile(desk, "--not-billed", "all").ended(2).err
        assert desk.command("status", str(desk.out), "--json").ended(0).json["not_known"] == 1

    def test_what_a_dead_run_left_on_its_way_can_be_settled(self, desk: Desk) -> None:
        run(desk, code=0)
        dataset, store = Dataset.open(desk.out), Store(f"sqlite:///{desk.ledger}")
        with store.transaction() as tx:
            ledger.reserve(
                tx, AttemptId(dataset.id, "ab" * 32, 1), "dead", "@cf/x", charge(15_000), 1_795_348_800_000_000
            )
        store.close()
        told = reconcile(desk, "--offline", "--not-billed", "abababab").ended(0).json
        assert told["settled"][0]["key"] == "ab" * 32

    def test_each_decision_is_an_entry_of_the_ledger(self, desk: Desk) -> None:
        run(desk, LOST_FREE)
        reconcile(desk, "--not-billed", "all").ended(0)
        connection = sqlite3.connect(desk.ledger)
        try:
            found = connection.execute("SELECT state, why FROM settlements").fetchall()
        finally:
            connection.close()
        assert found == [("void", "decided with fluxbatch reconcile")]
