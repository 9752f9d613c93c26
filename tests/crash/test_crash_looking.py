"""Who looks at a dataset whose run is alive sees no damage, holds nothing up and changes nothing."""

from __future__ import annotations

import itertools
from collections import Counter

from tests.crash.case import BUDGET_USD, Case, OpenCase
from tests.e2e.e2e_kit import rows, until
from tests.soak import soak


def test_looking_at_a_run_that_is_alive_says_nothing_false(open_case: OpenCase) -> None:
    case = open_case(rows(soak(150, 5_000)), "--rows-per-shard", "10", in_flight=16, latency_s=0.25)
    case.desk.command("verify", str(case.desk.folder)).ended(2)  # what it imports is not the run's time
    run = case.start()
    until(lambda: case.billed() > 0 or run.poll() is not None)
    told: Counter[tuple[str, int]] = Counter()
    for what in itertools.cycle(("status", "plan", "verify")):
        if run.poll() is not None:
            break
        more = (str(case.manifest), "--out", str(case.desk.out), "--budget", BUDGET_USD)
        said = case.desk.command(what, *(more if what == "plan" else (str(case.desk.out),)))
        told[what, said.code] += 1
        assert said.code == 0 or (what == "verify" and "a run is working on this dataset" in said.err), said.all
    assert run.returncode == 0, run.err
    assert {what for what, _ in told} == {"verify", "status", "plan"}
    books = case.finish()
    assert len(books.of("posted")) == len(case.keys)


def test_status_says_that_a_run_is_under_way_or_was_killed(open_case: OpenCase) -> None:
    case = open_case(rows(60), in_flight=4, latency_s=0.05)
    run = case.start()
    until(lambda: case.billed() > 0)
    assert _last_run(case).endswith(" is under way")
    assert run.kill() == -9
    case.died()
    assert "was ended from outside: run the same command again" in _last_run(case)
    case.finish()
    assert _last_run(case).endswith(" stopped by nothing")


def _last_run(case: Case) -> str:
    return str(case.desk.command("status", str(case.desk.out), "--json").ended(0).json["last_run"])
