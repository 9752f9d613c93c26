"""The ledger is lost or old, the dataset belongs to another side, or somebody holds it."""

from __future__ import annotations

import os
import shutil

import pytest

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.simulator import Simulator
from tests.e2e.e2e_kit import SMALL_CENTINEURONS, Desk, calm, centineurons, rows, table


def test_a_ledger_that_is_gone_is_booked_from_the_parts_and_nothing_is_paid_again(desk: Desk) -> None:
    manifest = desk.manifest(rows(5))
    first = desk.run(manifest).ended(0).json
    shutil.rmtree(desk.ledger.parent)
    said = desk.run(manifest).ended(0)
    assert (said.json["already"], said.json["requests"]) == (5, 0)
    assert said.json["spent_usd"] == first["spent_usd"]
    assert "5 pictures" in said.err, "the user is told that the ledger did not know them"
    assert desk.billed == 5 * SMALL_CENTINEURONS
    desk.command("verify", str(desk.out)).ended(0)


def test_an_older_copy_of_the_ledger_is_brought_up_to_date(desk: Desk) -> None:
    desk.run(desk.manifest(rows(3))).ended(0)
    shutil.copytree(desk.ledger.parent, desk.folder / "copy")
    desk.run(desk.manifest([*rows(3), *rows(4, "later")])).ended(0)
    shutil.rmtree(desk.ledger.parent)
    (desk.folder / "copy").rename(desk.ledger.parent)
    told = desk.run(desk.manifest([*rows(3), *rows(4, "later"), *rows(1, "latest")])).ended(0).json
    assert (told["already"], told["made"], told["requests"]) == (7, 1, 1)
    assert centineurons(told["spent_neurons"]) == 8 * SMALL_CENTINEURONS == desk.billed
    desk.command("verify", str(desk.out)).ended(0)


def test_what_was_booked_from_the_parts_counts_against_the_budget(desk: Desk) -> None:
    desk.run(desk.manifest(rows(5))).ended(0)
    shutil.rmtree(desk.ledger.parent)
    told = desk.run(desk.manifest(rows(10)), budget="0.003").ended(3).json
    # 5 x 0.0004125 are gone, so not even one more fits at its bound of 0.00165.
    assert (told["already"], told["made"], told["spent_usd"]) == (5, 0, "0.0020625")


def test_a_plan_knows_the_parts_without_a_ledger(desk: Desk) -> None:
    desk.run(desk.manifest(rows(5))).ended(0)
    shutil.rmtree(desk.ledger.parent)
    told = desk.plan(desk.manifest(rows(7)), "--json").ended(0).json
    assert (told["asked"], told["already"], told["expected_neurons"]) == (7, 5, "75")


def test_datasets_share_a_ledger_and_keep_their_own_books(desk: Desk) -> None:
    for name in ("one", "two"):
        desk.run(desk.manifest(rows(2)), out=desk.folder / name).ended(0)
    for name in ("one", "two"):
        told = desk.command("status", str(desk.folder / name), "--json").ended(0).json
        assert (told["pictures"], told["spent_neurons"]) == (2, "75")


class TestSides:
    """Pictures of the simulator and paid ones are never mixed."""

    @pytest.fixture
    def paid(self, desk: Desk) -> Desk:
        """The same desk with an account that is not the simulator's."""
        with Simulator(calm(account="a" * 32, token="real"), in_thread=True) as simulator:
            yield Desk(desk.folder, simulator)

    def test_a_simulated_dataset_takes_no_paid_pictures(self, desk: Desk, paid: Desk) -> None:
        desk.run(desk.manifest(rows(1))).ended(0)
        said = paid.run(desk.manifest(rows(2))).ended(2)
        assert "simulator" in said.err
        assert "--out" in said.err
        assert paid.requests == 0

    def test_a_paid_dataset_takes_no_simulated_pictures(self, desk: Desk, paid: Desk) -> None:
        paid.run(desk.manifest(rows(1))).ended(0)
        before = (desk.out / "catalogue.jsonl").read_bytes()
        desk.run(desk.manifest(rows(2))).ended(2)
        said = desk.run(desk.manifest(rows(2)), "--simulate").ended(2)
        assert "Cloudflare" in said.err
        assert (desk.out / "catalogue.jsonl").read_bytes() == before
        assert desk.requests == 0


def test_a_dataset_that_is_held_names_its_holder_and_nothing_is_touched(desk: Desk) -> None:
    desk.run(desk.manifest(rows(1))).ended(0)
    before = table(desk.out)
    with Dataset.open(desk.out).hold():
        said = desk.run(desk.manifest(rows(2))).ended(2)
    assert f"process {os.getpid()} on " in said.err
    assert desk.requests == 1
    assert table(desk.out).equals(before)
    assert desk.run(desk.manifest(rows(2))).ended(0).json["made"] == 1


def test_a_folder_with_other_files_is_not_taken_for_a_dataset(desk: Desk) -> None:
    (desk.out / "data").mkdir(parents=True)
    (desk.out / "data" / "train-00000.parquet").write_bytes(b"not ours")
    said = desk.run(desk.manifest(rows(1))).ended(2)
    assert "catalogue.jsonl" in said.err
    assert (desk.out / "data" / "train-00000.parquet").read_bytes() == b"not ours"


def test_an_account_that_the_environment_does_not_name_in_a_plan_stays_in_the_books(desk: Desk) -> None:
    """`plan` needs no credentials, so it must not write "no account" over the one that paid."""
    import sqlite3

    with Simulator(calm(account="a" * 32, token="real"), in_thread=True) as simulator:
        paid = Desk(desk.folder, simulator)
        paid.run(desk.manifest(rows(1))).ended(0)
        paid.without = ("CLOUDFLARE_ACCOUNT_ID", "CLOUDFLARE_API_TOKEN")
        paid.plan(desk.manifest(rows(2)), "--json").ended(0)
    connection = sqlite3.connect(desk.ledger)
    try:
        assert connection.execute("SELECT account FROM datasets").fetchall() == [("a" * 32,)]
    finally:
        connection.close()
