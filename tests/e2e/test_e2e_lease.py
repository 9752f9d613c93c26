"""Two runs of one dataset: the second fails, waits or leaves; one that stood still beyond its lease is pushed out."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import re
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from fluxbatch import held
from fluxbatch.budget import lease
from fluxbatch.budget import store as side
from fluxbatch.budget.here import Here
from fluxbatch.budget.lease import LENGTH_S, Taken
from fluxbatch.budget.store import Store
from fluxbatch.dataset import catalogue
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dispatch.engine import Ended
from fluxbatch.held import Hold, holding
from fluxbatch.holder import holder_of
from fluxbatch.job import Job
from fluxbatch.models.money import parse_usd
from fluxbatch.prepare import prepared
from fluxbatch.run import open_batch
from fluxbatch.settings import load_settings
from fluxbatch.summary import Summary
from tests.e2e.e2e_kit import SMALL_CENTINEURONS, Desk, centineurons, placed, rows, table, until

ELSEWHERE = """
import fluxbatch.dataset.catalogue as catalogue
import fluxbatch.held as held
from fluxbatch.cli import main

# Another machine sees another lock: what its own kernel knows of a network's disk.
catalogue.lock_file = held.lock_file = lambda folder: folder / ".fluxbatch" / "lock-of-another-machine"
main()
"""


def elsewhere(desk: Desk, *arguments: str) -> subprocess.Popen[str]:
    """The command on what looks like another machine."""
    return desk.start_code(ELSEWHERE, *arguments)


def options(desk: Desk, manifest: Path, *more: str) -> tuple[str, ...]:
    return ("run", str(manifest), "--out", str(desk.out), "--budget", "5", "--json", "--max-in-flight", "4", *more)


def ended(process: subprocess.Popen[str], code: int) -> str:
    out, err = process.communicate(timeout=30)
    assert process.returncode == code, err
    assert "Traceback" not in err
    return out + err


def attempts(desk: Desk) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(desk.ledger)) as plain:
        return plain.execute("SELECT run, state FROM attempts").fetchall()


def leases(desk: Desk) -> list[tuple[str, int]]:
    with closing(sqlite3.connect(desk.ledger)) as plain:
        return plain.execute("SELECT run, heartbeat_at_us FROM leases").fetchall()


@contextmanager
def another_run(desk: Desk, length_s: float = LENGTH_S) -> Iterator[Hold]:
    """Somebody else at work on the dataset, in this process."""
    with (
        closing(Store(f"sqlite:///{desk.ledger}")) as store,
        holding(Dataset.open(desk.out), store, "run-of-another", length_s) as hold,
    ):
        yield hold


def on_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (catalogue, held):
        monkeypatch.setattr(module, "lock_file", lambda folder: folder / ".fluxbatch" / "lock-of-another-machine")


@pytest.fixture
def manifest(desk: Desk) -> Path:
    """Of a dataset that is there, with more to make."""
    desk.run(desk.manifest(rows(2))).ended(0)
    return desk.manifest(rows(6))


def test_the_second_run_fails_or_leaves_as_it_was_told(desk: Desk, manifest: Path) -> None:
    with another_run(desk):
        assert "--if-running wait" in desk.run(manifest).ended(2).err
        said = desk.run(manifest, "--if-running", "leave").ended(0)
        assert said.json == {"left_to": f"process {os.getpid()} on {platform.node()}"}
        assert "is working on this dataset (--if-running leave)" in said.err
        assert "'fail', 'wait' or 'leave'" in desk.run(manifest, "--if-running", "push").ended(2).err
    assert desk.requests == 2
    assert desk.run(manifest, "--if-running", "leave").ended(0).json["made"] == 4


def test_another_machine_hears_of_the_run_by_its_lease(
    desk: Desk, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with another_run(desk):
        on_another_machine(monkeypatch)
        said = desk.run(manifest).ended(2).err
        assert f"run run-of-another (process {os.getpid()} on {platform.node()}), which is alive by its lease" in said
        told = desk.run(manifest, "--if-running", "leave").ended(0).json["left_to"]
        assert told.startswith("run run-of-another")
        for command in (("verify", "--repair"), ("reconcile", "--offline")):
            assert "is working on this dataset" in desk.command(command[0], str(desk.out), command[1]).ended(2).err
        assert [run for run, _ in leases(desk)] == ["run-of-another"]
    assert desk.run(manifest).ended(0).json["made"] == 4
    assert leases(desk) == []


def test_status_says_who_is_at_work_on_another_machine_and_takes_nothing(
    desk: Desk, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with another_run(desk) as hold:
        with hold.store.transaction() as tx:
            side.open_run(tx, hold.run, hold.dataset, str(manifest), 2**60)
        on_another_machine(monkeypatch)
        told = desk.command("status", str(desk.out), "--json").ended(0).json
        who = rf"run run-of-another \(process {os.getpid()} on {re.escape(platform.node())}\)"
        assert re.fullmatch(rf"{who}, heard of \d+ s ago", told["held_by"])
        assert told["last_run"] == "run-of-another is under way"
        assert "heard of" in desk.command("status", str(desk.out)).ended(0).out
        assert [run for run, _ in leases(desk)] == ["run-of-another"]
    told = desk.command("status", str(desk.out), "--json").ended(0).json
    assert (told["held_by"], leases(desk)) == (None, [])
    assert told["last_run"].startswith("run-of-another was ended from outside")


def test_who_holds_a_dataset_is_told_until_its_lease_runs_out(desk: Desk, manifest: Path) -> None:
    dataset = Dataset.open(desk.out)
    take_over(desk, dataset.id)
    with closing(Store(f"sqlite:///{desk.ledger}")) as store:
        [(_, heard_us)] = leases(desk)
        after = [holder_of(dataset, store, heard_us + round(s * 1e6)) for s in (12, LENGTH_S - 1, LENGTH_S)]
    who = "run taker (process 1 on elsewhere), heard of"
    assert after == [f"{who} 12 s ago", f"{who} 89 s ago", None]


def test_a_lease_is_kept_while_there_is_no_journal_yet(
    desk: Desk, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with another_run(desk, length_s=0.9):
        on_another_machine(monkeypatch)
        first = leases(desk)
        until(lambda: leases(desk)[0][1] > first[0][1] + 1_000_000)
        assert "alive by its lease" in desk.run(manifest).ended(2).err


def test_a_run_that_was_taken_over_writes_nothing_more(desk: Desk, manifest: Path) -> None:
    """Between its last answer and its sealing; what it made lies in the spool for the next."""
    before = (desk.out / "catalogue.jsonl").read_bytes()

    async def run() -> Summary:
        with prepared(job) as ready:
            async with open_batch(ready) as batch:
                async for shard in batch.shards():
                    made: list[Ended] = []
                    await batch.engine.send_all(shard.due, made.append, shard.line)
                    take_over(desk, ready.dataset.id)
                    await batch._seal([one.kept for one in made if one.kept is not None])
                    assert len(made) == 4
        assert batch.summary is not None
        return batch.summary

    with placed(desk.folder, desk.variables()):
        job = Job(manifest, desk.out, parse_usd("5"), load_settings())
        summary = asyncio.run(run())
    assert summary.exit_code == 5
    assert "run taker has taken this dataset over" in str(summary.reason)
    assert (desk.out / "catalogue.jsonl").read_bytes() == before
    told = desk.run(manifest).ended(2).err
    assert "run taker" in told
    with closing(Store(f"sqlite:///{desk.ledger}")) as store, store.transaction() as tx:
        lease.release(tx, Dataset.open(desk.out).id, "taker")
    assert desk.run(manifest).ended(0).json["already"] == 6
    assert table(desk.out).num_rows == 6


def take_over(desk: Desk, dataset: str) -> None:
    with closing(Store(f"sqlite:///{desk.ledger}")) as store, store.transaction() as tx:
        elsewhere = Here("elsewhere", 1, "another machine", "")
        taken = lease.take(tx, dataset, "taker", elsewhere, LENGTH_S, is_dead=lambda one: True)
        assert isinstance(taken, Taken)


def test_who_waits_begins_when_the_other_is_done(desk: Desk, manifest: Path) -> None:
    with another_run(desk):
        waiting = desk.start(*options(desk, manifest, "--if-running", "wait"))
        assert waiting.stderr is not None
        line = waiting.stderr.readline()
        assert f"waiting until process {os.getpid()} on {platform.node()} is done with this dataset" in line
        assert desk.requests == 2
    said = ended(waiting, 0)
    assert '"already": 2, "made": 4' in said
    assert "waiting until" not in said, "it is said once"


def test_who_waits_can_be_stopped(desk: Desk, manifest: Path) -> None:
    with another_run(desk):
        waiting = desk.start(*options(desk, manifest, "--if-running", "wait"))
        assert waiting.stderr is not None
        assert "waiting until" in waiting.stderr.readline()
        waiting.send_signal(signal.SIGINT)
        assert "Nothing was sent." in ended(waiting, 130)
    assert desk.requests == 2


def test_a_run_that_slept_beyond_its_lease_wakes_up_and_spends_nothing(desk: Desk) -> None:
    desk.environment["FLUXBATCH_LEASE"] = "0.9"
    desk.simulator.change(latency_s=0.3)
    manifest = desk.manifest(rows(60))
    sleeper = desk.start(*options(desk, manifest))
    until(lambda: len(desk.simulator.bill()) >= 4 and desk.simulator.stats()["making"] == 4)
    first = leases(desk)
    until(lambda: leases(desk)[0][1] > first[0][1])  # by the journal, while it sends
    sleeper.send_signal(signal.SIGSTOP)
    [(asleep, _)] = leases(desk)
    taker = elsewhere(desk, *options(desk, manifest, "--if-running", "wait"))
    said = ended(taker, 4)
    assert f"taken over from run {asleep} (process {sleeper.pid} on " in said
    told = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    assert told["unknown"] <= 4, "what the sleeper had under way"
    assert told["already"] + told["made"] + told["unknown"] == 60
    billed, catalogue = desk.billed, (desk.out / "catalogue.jsonl").read_bytes()

    sleeper.send_signal(signal.SIGCONT)
    assert "has taken this dataset over" in ended(sleeper, 5) or told["unknown"]
    assert (desk.billed, desk.requests) == (billed, 60), "not one more was sent"
    assert (desk.out / "catalogue.jsonl").read_bytes() == catalogue
    assert {state for run, state in attempts(desk) if run == asleep} <= {"posted", "unknown"}

    last = desk.run(manifest).ended(0).json  # what the sleeper's answers brought is in its spool: evidence
    assert (last["made"], last["unknown_usd"], last["requests"]) == (0, "0", 0)
    assert centineurons(last["spent_neurons"]) == desk.billed == 60 * SMALL_CENTINEURONS
    assert table(desk.out).num_rows == 60
    desk.command("verify", str(desk.out)).ended(0)
