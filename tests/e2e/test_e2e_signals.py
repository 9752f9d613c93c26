"""Ctrl-C and SIGTERM, on real processes; and two runs at once."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fluxbatch.dispatch.rate import HEADROOM, WINDOW_S
from fluxbatch.simulator import Simulator, read_bill
from tests.e2e.e2e_kit import SMALL_CENTINEURONS, Desk, assert_adds_up, calm, centineurons, rows, table, until

OPTIONS = ("--budget", "5", "--json", "--max-in-flight", "4")


def _ended(process: subprocess.Popen[str], code: int) -> tuple[str, str]:
    out, err = process.communicate(timeout=20)
    assert process.returncode == code, err
    return out, err


def _busy(simulator: Simulator, made: int) -> Callable[[], bool]:
    """Some made before, and then four more in the making (in this order: the first four must not count as both)."""
    return lambda: len(simulator.bill()) >= made and simulator.stats()["making"] == 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_waits_for_what_is_in_flight_seals_and_says_how_to_go_on(
    desk: Desk, number: signal.Signals
) -> None:
    desk.simulator.change(latency_s=0.4)
    manifest = desk.manifest(rows(60))
    process = desk.start("run", str(manifest), "--out", str(desk.out), *OPTIONS)
    until(_busy(desk.simulator, made=4))
    process.send_signal(number)
    out, err = _ended(process, 130)
    told = json.loads(out.splitlines()[-1])
    assert (told["stopped_by"], told["unknown_usd"]) == ("signal", "0")
    assert 8 <= told["made"] < 60
    assert centineurons(told["spent_neurons"]) == desk.billed
    assert_adds_up(told)
    assert table(desk.out).num_rows == told["made"]
    assert "To go on: " in err
    assert str(manifest) in err.split("To go on: ")[1]
    assert "Traceback" not in err

    desk.simulator.change(latency_s=0.01)
    again = desk.run(manifest).ended(0).json
    assert (again["already"], again["requests"]) == (told["made"], 60 - told["made"])
    desk.command("verify", str(desk.out)).ended(0)


def test_the_second_signal_stops_at_once_and_what_was_in_flight_counts_as_spent(desk: Desk) -> None:
    manifest = desk.manifest([*rows(8), *rows(4, "[[fault:hang]]"), *rows(16, "after")])
    process = desk.start("run", str(manifest), "--out", str(desk.out), *OPTIONS)
    until(lambda: desk.simulator.stats()["answers"].get("hang") == 4)
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.7)  # it waits for the four
    process.send_signal(signal.SIGINT)
    _, err = _ended(process, 130)
    assert "counts as spent" in err
    assert "To go on: " in err
    assert "Traceback" not in err
    told = desk.command("status", str(desk.out), "--json").ended(0).json
    assert told["not_known"] == len(told["unknown"]) == 4

    again = desk.run(manifest).ended(4).json
    assert (again["unknown"], again["made"] + again["already"], again["requests"]) == (4, 24, 16)
    assert centineurons(again["unknown_neurons"]) == 4 * 15_000
    assert desk.billed == 28 * SMALL_CENTINEURONS, "the four were billed: that is why they count as spent"
    desk.command("verify", str(desk.out)).ended(0)


def test_ctrl_c_at_a_terminal_reaches_the_whole_group_and_the_simulator_answers_to_the_end(
    desk: Desk, tmp_path: Path
) -> None:
    bill = tmp_path / "bill.jsonl"
    desk.environment["FLUXBATCH_SIMULATOR"] = calm(latency_s=0.4, bill_file=str(bill)).to_json()
    manifest = desk.manifest(rows(60))
    process = desk.start("run", str(manifest), "--out", str(desk.out), "--simulate", *OPTIONS, group=True)
    until(lambda: len(read_bill(bill)) >= 4)
    os.killpg(process.pid, signal.SIGINT)
    out, _ = _ended(process, 130)
    told = json.loads(out.splitlines()[-1])
    assert (told["stopped_by"], told["unknown_usd"]) == ("signal", "0")
    assert centineurons(told["spent_neurons"]) == sum(charge.centineurons for charge in read_bill(bill))


def test_a_second_run_on_the_same_dataset_names_the_first_and_sends_nothing(desk: Desk) -> None:
    desk.simulator.change(latency_s=0.3)
    manifest = desk.manifest(rows(16))
    process = desk.start("run", str(manifest), "--out", str(desk.out), *OPTIONS)
    until(_busy(desk.simulator, made=0))
    said = desk.run(manifest).ended(2)
    assert f"process {process.pid} on " in said.err
    assert "Ctrl-C" in said.err
    out, _ = _ended(process, 0)
    assert json.loads(out.splitlines()[-1])["made"] == 16
    assert desk.requests == 16


def test_two_runs_of_two_datasets_share_the_accounts_pace(desk: Desk) -> None:
    """3,000 a minute for both together: 160 requests take 3.2 s; each run alone would be through in half of it. The
    first may arrive late by what the pace allows for in any window (`HEADROOM`)."""
    manifest = desk.manifest(rows(80))
    options = ("--budget", "5", "--rate", "3000")
    both = [desk.start("run", str(manifest), "--out", str(desk.folder / name), *options) for name in ("one", "two")]
    for process in both:
        _ended(process, 0)
    arrivals = sorted(desk.simulator.stats()["arrivals_s"])
    assert len(arrivals) == 160
    assert arrivals[-1] - arrivals[0] >= 159 * 0.02 * (1 + HEADROOM) - HEADROOM * WINDOW_S


@pytest.mark.skipif(shutil.which("setsid") is None, reason="no setsid to give a process a terminal of its own")
@pytest.mark.parametrize("is_ignored", [False, True])
def test_a_terminal_that_is_closed_ends_a_run_as_sigterm_does_unless_it_was_told_to_stay(
    desk: Desk, is_ignored: bool
) -> None:
    """What ssh leaves behind when its connection drops."""
    desk.simulator.change(latency_s=0.4)
    manifest = desk.manifest(rows(24))
    ours, its = pty.openpty()
    stays = ["nohup"] if is_ignored else []
    command = (sys.executable, "-c", "from fluxbatch.cli import main; main()", "run", str(manifest))
    process = subprocess.Popen(
        ["setsid", "--ctty", *stays, *command, "--out", str(desk.out), *OPTIONS],
        cwd=desk.folder,
        env=desk.variables() | {"TERM": "xterm"},
        stdin=its,
        stdout=its,
        stderr=its,
    )
    desk._started.append(process)  # type: ignore[arg-type]
    os.close(its)
    until(_busy(desk.simulator, made=4))
    os.close(ours)
    process.wait(20)
    assert process.returncode == (0 if is_ignored else 130)
    made = table(desk.out).num_rows
    assert made == 24 if is_ignored else 8 <= made < 24
    assert made * SMALL_CENTINEURONS == desk.billed, "what was in flight was waited for"
    assert desk.run(manifest).ended(0).json["already"] == made
