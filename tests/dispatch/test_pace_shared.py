"""One account's pace over several processes, on PostgreSQL: never more than N, few statements, and death is cheap."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from fluxbatch.budget.store import Store
from fluxbatch.dispatch.pace import LEASE_S
from fluxbatch.dispatch.rate import HEADROOM, WINDOW_S
from tests.soak import soak

PROCESSES, SPENDERS = 4, 2
RATE = 720.0
INTERVAL_S = (1 + HEADROOM) * 60 / RATE
SECONDS = soak(5.0, 60.0)


@pytest.fixture
def ledger(postgres_url: str) -> str:
    Store(postgres_url).close()
    return postgres_url


@contextmanager
def pacers(url: str, count: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes with two spenders each, which wait to be let go."""
    command = [sys.executable, "-m", "tests.dispatch.pacer", url, str(SPENDERS), str(RATE)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    started = [subprocess.Popen(command, **pipes) for _ in range(count)]  # type: ignore[call-overload]
    try:
        for one in started:
            assert one.stdout.readline() == "ready\n"
        yield started
    finally:
        for one in started:
            one.kill()
            one.communicate()


def let_go(started: list[subprocess.Popen[str]]) -> None:
    for one in started:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()


def said(one: subprocess.Popen[str]) -> tuple[list[int], dict[str, float]]:
    """The turns of a process, and what it told at its end (nothing when it was killed)."""
    out, _ = one.communicate(timeout=60)
    lines = out.splitlines()
    turns = [int(line.split()[1]) for line in lines if line.startswith("turn ")]
    return turns, json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}


def gaps(turns: list[int]) -> list[float]:
    return [(after - before) / 1e6 for before, after in itertools.pairwise(sorted(turns))]


def test_eight_spenders_keep_one_grid_use_it_fairly_and_ask_the_ledger_seldom(ledger: str) -> None:
    with pacers(ledger, PROCESSES) as started:
        let_go(started)
        threading.Event().wait(SECONDS)
        for one in started:
            assert one.stdin is not None
            one.stdin.close()  # all at about the same moment
            one.stdin = None
        results = [said(one) for one in started]
    turns = [turn for mine, _ in results for turn in mine]
    # Never more than N in any window: no two moments, of whichever processes, are closer than a minute / N.
    assert min(gaps(turns)) >= 60 / RATE
    departures = sorted(at for _, told in results for at in told["left"])  # type: ignore[attr-defined]
    most = max(sum(at <= other < at + 1.0 for other in departures) for at in departures)
    assert most <= RATE / 60 + 1 + HEADROOM * WINDOW_S / INTERVAL_S  # in a second, one that was late included
    assert len(turns) >= 0.7 * SECONDS / INTERVAL_S  # and it is used
    assert min(len(mine) for mine, _ in results) >= 0.5 * len(turns) / PROCESSES  # by all of them
    statements = sum(told["statements"] for _, told in results) / max(told["seconds"] for _, told in results)
    assert statements <= 30, "a few dozen a second at most"
    print(f"{len(turns)} turns, {[len(mine) for mine, _ in results]} each, {statements:.1f} statements a second")


def test_a_process_that_dies_costs_the_others_no_more_than_its_leases(ledger: str) -> None:
    with pacers(ledger, 2) as started:
        let_go(started)
        dying, other = started
        assert dying.stdout is not None
        while not dying.stdout.readline().startswith("turn "):
            pass
        dying.kill()
        threading.Event().wait(3.5)
        turns, told = said(other)
    assert told["left"]
    lost_s = SPENDERS * (LEASE_S + INTERVAL_S)
    assert max(gaps(turns)) <= lost_s + INTERVAL_S
    with closing(Store(ledger)) as store:
        assert store.version() is not None  # nothing of it is left that would hold anybody up
