"""The ledger's server dies in the middle of a run: spending pauses, what is in flight is kept, the run goes on."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tests.e2e.e2e_kit import Desk, assert_adds_up, centineurons, rows, table, until
from tests.postgres_kit import PASSWORD, Cluster, own_schema

PICTURES = 60
OPTIONS = ("--budget", "5", "--json", "--max-in-flight", "8", "--rate", "1200")


@pytest.fixture
def away(desk: Desk, postgres_cluster: Cluster) -> Iterator[Desk]:
    """A desk whose ledger is on the server, by an address as one has it for Prefect."""
    with own_schema(postgres_cluster.url) as url:
        desk.environment["FLUXBATCH_LEDGER"] = url.replace("postgresql+psycopg:", "postgresql+asyncpg:")
        desk.simulator.change(latency_s=0.2)
        yield desk


def begun(desk: Desk, requests: int, *options: str) -> subprocess.Popen[str]:
    manifest = desk.manifest(rows(PICTURES))
    process = desk.start("run", str(manifest), "--out", str(desk.out), *OPTIONS, *options)
    until(lambda: desk.requests >= requests, 60)
    return process


def check(desk: Desk, told: dict[str, Any], not_sent: int = 0) -> None:
    """All are made but those, the bill equals the ledger, and nothing was paid twice."""
    assert_adds_up(told)
    assert (centineurons(told["spent_neurons"]), told["unknown"]) == (desk.billed, not_sent)
    asked = desk.simulator.stats()["prompts"]
    assert len(asked) == PICTURES - not_sent
    assert set(asked.values()) == {1}
    assert table(desk.out, ["id"]).num_rows == PICTURES - not_sent
    found = desk.command("status", str(desk.out), "--json").ended(0).json
    assert Decimal(found["spent_usd"]) == Decimal(told["spent_usd"])


def test_a_server_that_is_killed_and_comes_back_costs_a_run_nothing_but_time(
    away: Desk, postgres_cluster: Cluster
) -> None:
    process = begun(away, 20)
    postgres_cluster.kill()
    try:
        at_most = away.requests + 8
        until(lambda: away.simulator.stats()["in_flight"] == 0)
        assert away.requests <= at_most < PICTURES, "nothing more is sent than was reserved"
    finally:
        postgres_cluster.start()
    out, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    check(away, json.loads(out.splitlines()[-1]))
    assert said.count("waiting, nothing is sent") == said.count("the ledger is back after") == 1
    assert PASSWORD not in out + said


def test_when_patience_ends_the_run_says_so_and_the_next_start_goes_on(away: Desk, postgres_cluster: Cluster) -> None:
    process = begun(away, 20, "--patience", "0.01")
    postgres_cluster.crash()
    try:
        out, said = process.communicate(timeout=60)
    finally:
        postgres_cluster.start()
    assert process.returncode == 5, said
    told = json.loads(out.splitlines()[-1])
    assert told["stopped_by"] == "platform"
    assert "cannot be reached" in told["reason"]
    assert "run the same command again" in told["reason"]
    assert PASSWORD not in out + said
    again = away.command("run", str(away.folder / "prompts.csv"), "--out", str(away.out), *OPTIONS).json
    # What was reserved while the server died, and so was never sent, counts as spent: nobody was left to be told.
    check(away, again, not_sent=again["unknown"])
    assert again["unknown"] <= 8
