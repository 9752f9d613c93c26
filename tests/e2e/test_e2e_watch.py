"""`fluxbatch status --watch`: another terminal, or another machine, sees the run until it has ended."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess

from tests.e2e.e2e_kit import Desk, at_a_terminal, rows, until

WATCH = ("--watch", "--every", "0.2")


def begun(desk: Desk, count: int, *more: str) -> subprocess.Popen[str]:
    """A run of its own process that has made some pictures."""
    desk.simulator.change(latency_s=0.3)
    command = ("run", str(desk.manifest(rows(count))), "--out", str(desk.out), "--budget", "5", "--max-in-flight", "4")
    process = desk.start(*command, *more)
    until(lambda: len(desk.simulator.bill()) >= 4, 30)
    return process


def paused(desk: Desk, count: int) -> subprocess.Popen[str]:
    """The same, held until whoever watches is there."""
    process = begun(desk, count)
    desk.command("ctl", str(desk.out), "pause").ended(0)
    return process


def test_lines_and_objects_tell_of_the_run_until_it_has_ended(desk: Desk) -> None:
    desk.simulator.change(faults={"8007": 0.2})
    process = paused(desk, 40)
    watching = [desk.start("status", str(desk.out), *WATCH, *more) for more in ((), ("--json",))]
    first = [one.stdout.readline() for one in watching if one.stdout is not None]
    desk.simulator.change(latency_s=1.0)  # it tells once a second: what is left takes several
    desk.command("ctl", str(desk.out), "resume", "--no-wait").ended(0)
    said, objects = (begin + one.communicate(timeout=30)[0] for begin, one in zip(first, watching, strict=True))
    process.communicate(timeout=30)
    for fact in ("/40", "spent", "left", "/min", "in flight", "refusals"):
        assert fact in first[0], fact
    assert "paused by ctl (" in said
    assert "\x1b" not in said
    assert "has ended: " in said.splitlines()[-1]
    assert said.endswith("complete\n")
    *looks, last = [json.loads(line) for line in objects.splitlines()]
    dones = [one["whole"]["done"] for one in looks if one["whole"] is not None]
    assert dones == sorted(dones)
    assert len(set(dones)) > 1
    assert {one["runs"][0]["pid"] for one in looks if one["runs"]} == {process.pid}
    (summary,) = last["ended"].values()
    assert summary["made"] + summary["refused"] == 40
    assert any(reason["code"] == "8007" for one in looks for reason in (one["whole"] or {}).get("reasons", ()))


def test_a_terminal_elsewhere_draws_the_run_from_the_ledger_alone(desk: Desk) -> None:
    """As on another machine: the dataset's folder is not there, its name and the ledger are."""
    process = paused(desk, 40)
    stranger = desk.start("status", str(desk.out), *WATCH)
    assert stranger.stdout is not None
    stranger.stdout.readline()
    stranger.send_signal(signal.SIGINT)
    assert stranger.wait(10) == 130
    assert "Traceback" not in stranger.communicate()[1]
    assert process.poll() is None, "who stops watching stops nothing"
    hidden = desk.folder / "hidden"
    shutil.move(desk.out / "catalogue.jsonl", hidden)

    def go_on() -> None:
        shutil.move(hidden, desk.out / "catalogue.jsonl")
        desk.command("ctl", str(desk.out), "stop", "--no-wait").ended(0)

    watched = at_a_terminal(desk, "status", str(desk.out), *WATCH, is_error=False, then=go_on, COLUMNS="100")
    assert process.wait(30) == 130
    for fact in ("/40", "pictures", "money", "speed", "in flight of 4", "paused by ctl", "has ended", "ctl stop by"):
        assert fact in watched, fact


def test_one_that_was_killed_ends_the_watching_and_one_that_is_not_there_is_told(desk: Desk) -> None:
    process = paused(desk, 24)
    watching = desk.start("status", str(desk.out), *WATCH)
    assert watching.stdout is not None
    assert "/24" in watching.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    out, err = watching.communicate(timeout=30)
    assert "it left no summary: it was ended from outside" in out, err
    said = desk.command("status", str(desk.out), "--watch").ended(0)
    assert said.out.startswith("No run is going on.")
    desk.simulator.change(latency_s=0.01)
    told = desk.run(desk.manifest(rows(24)), "--resend-lost", "1").ended(0).json
    assert told["already"] + told["made"] == 24, "the pause went with the run that it was said to"
    assert "no such dataset" in desk.command("status", str(desk.folder / "nothing"), "--watch").ended(2).err
    assert "--every" in desk.command("status", str(desk.out), "--every", "3").ended(2).err
