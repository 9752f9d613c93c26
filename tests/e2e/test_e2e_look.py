"""`status`, `verify`, `doctor` and the help: looking without touching."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys

import pytest

from fluxbatch.dataset.catalogue import Dataset
from tests.e2e.e2e_kit import Desk, part_files, rows, unreachable_address

COMMANDS = ("plan", "run", "status", "check", "verify", "reconcile", "simulate", "doctor")
HEAVY = (
    "pyarrow",
    "PIL",
    "numpy",
    "scipy",
    "imagehash",
    "sqlalchemy",
    "aiohttp",
    "httpx",
    "prefect",
    "pandas",
    "starlette",
)


class TestStatus:
    def test_it_says_pictures_money_and_the_last_run(self, desk: Desk) -> None:
        desk.run(desk.manifest(rows(3)), budget="0.5").ended(0)
        told = desk.command("status", str(desk.out), "--json").ended(0).json
        assert (told["pictures"], told["parts"], told["in_spool"], told["not_known"]) == (3, 1, 0, 0)
        assert (told["budget_usd"], told["spent_neurons"], told["unknown"]) == ("0.5", "112.5", [])
        assert told["simulated"] is True
        shown = desk.command("status", str(desk.out)).ended(0)
        assert "112.50 neurons" in shown.out

    def test_a_folder_that_is_no_dataset(self, desk: Desk) -> None:
        said = desk.command("status", str(desk.folder)).ended(2)
        assert "catalogue.jsonl" in said.err

    def test_a_dataset_that_the_ledger_does_not_know_is_shown_all_the_same(self, desk: Desk) -> None:
        desk.run(desk.manifest(rows(2))).ended(0)
        shutil.rmtree(desk.ledger.parent)
        assert desk.command("status", str(desk.out), "--json").ended(0).json["pictures"] == 2
        assert desk.command("status", str(desk.out)).ended(0)

    def test_it_can_be_asked_while_a_run_holds_the_dataset(self, desk: Desk) -> None:
        desk.run(desk.manifest(rows(2))).ended(0)
        with Dataset.open(desk.out).hold():
            told = desk.command("status", str(desk.out), "--json").ended(0).json
            assert told["held_by"] == f"process {os.getpid()} on {platform.node()}"
        assert desk.command("status", str(desk.out), "--json").ended(0).json["held_by"] is None


class TestVerify:
    def test_a_whole_dataset(self, desk: Desk) -> None:
        desk.run(desk.manifest(rows(3))).ended(0)
        assert "3 pictures" in desk.command("verify", str(desk.out)).ended(0).out
        assert desk.command("verify", str(desk.out), "--json").ended(0).json["findings"] == []

    @pytest.mark.parametrize("place", [0.05, 0.3, 0.6, 0.9, 0.999])
    def test_one_flipped_bit_is_found_and_the_part_named(self, desk: Desk, place: float) -> None:
        desk.run(desk.manifest(rows(6)), "--rows-per-shard", "3").ended(0)
        part = part_files(desk.out)[1]
        content = bytearray(part.read_bytes())
        content[int(place * len(content))] ^= 1
        part.write_bytes(content)
        said = desk.command("verify", str(desk.out), "--json").ended(1)
        findings = said.json["findings"]
        assert findings
        assert all(part.name in finding for finding in findings if "attempt" not in finding)
        assert "train-00000" not in said.out
        assert part.name in desk.command("verify", str(desk.out)).ended(1).out

    def test_what_moves_under_a_run_that_is_alive_is_not_called_lost(self, desk: Desk) -> None:
        desk.run(desk.manifest(rows(2))).ended(0)
        (moving,) = part_files(desk.out)
        content = moving.read_bytes()
        with Dataset.open(desk.out).hold():
            desk.command("verify", str(desk.out)).ended(0)
            moving.unlink()
            said = desk.command("verify", str(desk.out)).ended(2)
            assert "a run is working on this dataset" in said.err
            moving.write_bytes(content)
        desk.command("verify", str(desk.out)).ended(0)

    def test_a_missing_part_and_a_stranger_are_named(self, desk: Desk) -> None:
        desk.run(desk.manifest(rows(4)), "--rows-per-shard", "2").ended(0)
        first, second = part_files(desk.out)
        shutil.copy(first, desk.out / "data" / "train-00009.parquet")
        second.unlink()
        said = desk.command("verify", str(desk.out)).ended(1)
        assert f"data/{second.name}" in said.out
        assert "train-00009.parquet" in said.out

    def test_a_ledger_that_knows_of_less_is_named(self, desk: Desk) -> None:
        desk.run(desk.manifest(rows(2))).ended(0)
        shutil.rmtree(desk.ledger.parent)
        said = desk.command("verify", str(desk.out)).ended(1)
        assert "not in the ledger" in said.out


class TestDoctor:
    def test_all_is_well(self, desk: Desk) -> None:
        said = desk.command("doctor", "--out", str(desk.out)).ended(0)
        for what in ("ledger", "disk", "account", "clock"):
            assert what in said.out
        assert desk.requests == 0
        assert not desk.out.exists()
        assert not list(desk.folder.glob(".fluxbatch*"))

    def test_a_network_that_is_down(self, desk: Desk) -> None:
        desk.environment["CLOUDFLARE_BASE_URL"] = unreachable_address()
        said = desk.command("doctor").ended(1)
        assert "CLOUDFLARE_BASE_URL" in said.out

    @pytest.mark.parametrize(
        ("name", "value"), [("CLOUDFLARE_API_TOKEN", "cfut_wrong"), ("CLOUDFLARE_ACCOUNT_ID", "2" * 32)]
    )
    def test_a_wrong_credential_is_named(self, desk: Desk, name: str, value: str) -> None:
        desk.environment[name] = value
        said = desk.command("doctor").ended(1)
        assert name in said.out
        assert "cfut_wrong" not in said.all

    def test_no_credentials(self, desk: Desk) -> None:
        desk.without = ("CLOUDFLARE_ACCOUNT_ID", "CLOUDFLARE_API_TOKEN")
        assert "CLOUDFLARE_API_TOKEN" in desk.command("doctor").ended(1).out

    def test_a_ledger_that_cannot_be_opened(self, desk: Desk) -> None:
        (desk.folder / "file").write_text("in the way")
        desk.environment["FLUXBATCH_LEDGER"] = f"sqlite:///{desk.folder}/file/ledger.sqlite3"
        assert "--ledger" in desk.command("doctor").ended(1).out


class TestHelp:
    @pytest.mark.parametrize("command", COMMANDS)
    def test_each_command_shows_an_example(self, desk: Desk, command: str) -> None:
        said = desk.command(command, "--help").ended(0)
        assert f"Example: fluxbatch {command}" in said.out

    def test_the_whole_lists_each_command_and_a_first_try(self, desk: Desk) -> None:
        said = desk.command("--help").ended(0)
        assert all(f"  {command} " in said.out for command in COMMANDS)
        assert "--simulate" in said.out

    def test_run_says_its_exit_codes(self, desk: Desk) -> None:
        text = " ".join(desk.command("run", "--help").ended(0).out.split())
        for meaning in ("0 complete", "2 bad usage", "3 stopped by the budget", "4 complete", "5 stopped", "130"):
            assert meaning in text

    def test_no_command_at_all_shows_the_help(self, desk: Desk) -> None:
        assert "Commands" in desk.command().all

    def test_the_help_imports_nothing_heavy(self, desk: Desk) -> None:
        asked = f"""
import sys
sys.argv = ["fluxbatch", "--help"]
from fluxbatch.cli import main
try:
    main()
except SystemExit:
    print([name for name in {HEAVY!r} if name in sys.modules])
"""
        done = subprocess.run(
            [sys.executable, "-c", asked], capture_output=True, text=True, check=True, cwd=desk.folder
        )
        assert done.stdout.splitlines()[-1] == "[]"
        assert "Usage" in done.stdout


class TestSimulate:
    def test_it_serves_and_says_what_to_set_and_ends_on_a_signal(self, desk: Desk) -> None:
        process = desk.start("simulate", "--port", "0", "--settings", json.dumps({"latency_s": 0.01, "paint": "plain"}))
        assert process.stdout is not None
        said = dict(process.stdout.readline().strip().removeprefix("export ").split("=", 1) for _ in range(3))
        desk.environment |= said
        try:
            assert desk.run(desk.manifest(rows(2))).ended(0).json["made"] == 2
        finally:
            process.terminate()
            out, err = process.communicate(timeout=10)
        assert (out, err) == ("", "")

    def test_a_setting_that_it_does_not_know_is_named(self, desk: Desk) -> None:
        said = desk.command("simulate", "--settings", '{"latencyy": 1}').ended(2)
        assert "latencyy" in said.err
