"""`fluxbatch ctl`: a run that is going on is steered from another process, and the next one starts unsteered."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from contextlib import closing
from typing import Any

import pytest

from fluxbatch import chunked
from fluxbatch.chunked import Ends, joined
from fluxbatch.dispatch.stop import Stop
from tests.e2e.e2e_kit import SMALL_CENTINEURONS, Desk, assert_adds_up, centineurons, placed, rows, table, until
from tests.e2e.test_e2e_chunks import begun as begun_in_chunks
from tests.e2e.test_e2e_chunks import job_of

OPTIONS = ("--budget", "5", "--json", "--max-in-flight", "4")


def begun(desk: Desk, count: int = 400, *more: str) -> subprocess.Popen[str]:
    """A run of its own process that has made some pictures."""
    desk.simulator.change(latency_s=0.1)
    process = desk.start("run", str(desk.manifest(rows(count))), "--out", str(desk.out), *OPTIONS, *more)
    until(lambda: len(desk.simulator.bill()) >= 4, 30)
    return process


def ended(process: subprocess.Popen[str], code: int) -> tuple[dict[str, Any], str]:
    out, err = process.communicate(timeout=40)
    assert process.returncode == code, err
    assert "Traceback" not in err
    return json.loads(out.splitlines()[-1]), err


def test_a_run_is_paused_resumed_slowed_narrowed_and_stopped(desk: Desk):
    process = begun(desk, 400, "--rate", "6000")
    for words, most in ((("rate", "6001"), "6000 requests a minute"), (("max-in-flight", "5"), "4 requests in flight")):
        assert f"more than the {most}" in desk.command("ctl", str(desk.out), *words).ended(2).err
    said = desk.command("ctl", str(desk.out), "pause").ended(0)
    assert "paused: nothing new is sent" in said.out
    assert "has taken it up" in said.out
    until(lambda: desk.simulator.stats()["making"] == 0)
    requests = desk.requests
    told = desk.command("ctl", str(desk.out), "rate", "60", "--json").ended(0).json
    assert (told["action"], told["number"], told["taken_up"], len(told["runs"])) == ("rate", 60.0, True, 1)
    assert desk.requests == requests, "it is paused"
    desk.command("ctl", str(desk.out), "max-in-flight", "2").ended(0)
    desk.command("ctl", str(desk.out), "resume").ended(0)
    until(lambda: desk.requests >= requests + 2)
    desk.command("ctl", str(desk.out), "rate", "off").ended(0)
    until(lambda: desk.requests >= requests + 20)
    stopped = desk.command("ctl", str(desk.out), "stop", "--wait").ended(0)
    assert "has ended: " in stopped.out
    summary, err = ended(process, 130)
    assert summary["stopped_by"] == "signal"
    assert summary["reason"].startswith("ctl stop by ")
    for word in ("paused by ctl (", "resumed by ctl", "at most 60 requests a minute", "at most 2 in flight"):
        assert word in err, word
    assert_adds_up(summary)
    assert centineurons(summary["spent_neurons"]) == desk.billed == summary["made"] * SMALL_CENTINEURONS
    assert table(desk.out).num_rows == summary["made"]
    arrivals = sorted(desk.simulator.stats()["arrivals_s"])[requests:]
    assert arrivals[1] - arrivals[0] >= 0.9, "60 a minute are one a second; the first may wait for its connection"
    with closing(sqlite3.connect(desk.ledger)) as plain:
        assert (
            plain.execute("SELECT * FROM wishes").fetchall() == plain.execute("SELECT * FROM progress").fetchall() == []
        )


def test_a_paused_run_is_stopped_and_what_is_not_here_is_found_in_the_ledger_by_its_name(desk: Desk):
    """As from another machine, which has the ledger and not the folder."""
    process = begun(desk)
    desk.command("ctl", str(desk.out), "pause").ended(0)
    elsewhere = desk.folder / "elsewhere"
    elsewhere.mkdir()
    ledger = ("--ledger", f"sqlite:///{desk.ledger}")
    hidden = desk.folder / "hidden"
    identity = desk.command("status", str(desk.out), "--json").json["id"]
    shutil.move(desk.out / "catalogue.jsonl", hidden)
    try:
        for name in (identity, str(desk.out)):
            desk.command("ctl", name, "max-in-flight", "1", *ledger).ended(0)
        wrong = desk.command("ctl", "another", "stop").ended(2)
        assert "no such dataset" in wrong.err
        assert str(desk.out) in wrong.err
        assert "was told" in desk.command("ctl", identity, "stop", "--no-wait").ended(0).out
    finally:
        shutil.move(hidden, desk.out / "catalogue.jsonl")
    summary, _ = ended(process, 130)
    assert_adds_up(summary)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("dance",), "there are pause, resume, rate, max-in-flight, stop"),
        (("pause", "7"), "pause takes no number"),
        (("rate",), "rate needs a number"),
        (("rate", "fast"), "no number (requests a minute)"),
        (("rate", "0"), "more than 0"),
        (("rate", "inf"), "more than 0"),
        (("max-in-flight", "2.5"), "a whole number"),
        (("pause", "--wait"), "--wait is for stop"),
        (("pause",), "no run is going on"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(desk: Desk, words: tuple[str, ...], told: str):
    if not desk.out.exists():
        desk.run(desk.manifest(rows(1))).ended(0)
    said = desk.command("ctl", str(desk.out), *words).ended(2)
    assert told in said.err
    assert "Traceback" not in said.err


def test_what_is_said_to_a_batch_in_chunks_holds_for_a_chunk_that_begins_later(desk: Desk):
    """Both are stopped by one word, though neither has a lease yet; the next batch is not."""
    manifest = desk.manifest(rows(8))
    with placed(desk.folder, desk.variables()):
        job = job_of(manifest, desk.out)
    with begun_in_chunks(desk, job, 2) as (ready, chunks):
        desk.command("ctl", str(desk.out), "stop", "--no-wait").ended(0)
        with placed(desk.folder, desk.variables()):
            summaries = [chunked.made(job, chunk) for chunk in chunks]
        assert [(one.made, one.stopped_by) for one in summaries] == [(0, "signal"), (0, "signal")]
        summary = joined(ready, Ends([one.to_dict() for one in summaries]), Stop())
    assert (summary.exit_code, summary.left, desk.requests) == (130, 8, 0)
    assert desk.run(manifest).ended(0).json["made"] == 8
