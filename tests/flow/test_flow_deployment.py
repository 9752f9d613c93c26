"""prefect.yaml, for real: a server, `fluxbatch prefect setup`, deployments, workers, runs; and what dies under them.

One server for all of it. The runs that are to die are begun together, because most of the waiting is for imports. After
each death the money is right, Prefect says what is true, and the next run makes the rest and pays nothing twice.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from fluxbatch.simulator import read_bill
from tests.e2e.e2e_kit import REPOSITORY, calm, centineurons, part_files, table, until
from tests.flow.night_kit import (
    IN_FLIGHT,
    LIMITS,
    QUICK_S,
    ROWS,
    Night,
    account_of,
    begin_all,
    case_of,
    save_block,
    token_of,
)
from tests.flow.orchestra import POOL, kill, orchestra
from tests.hostile.canary_kit import everything_in
from tests.postgres_kit import Cluster, everything_in_tables, why_not
from tests.soak import soak

pytestmark = [
    pytest.mark.xdist_group("prefect"),
    pytest.mark.skipif(not (REPOSITORY / "prefect.yaml").exists(), reason="there is no prefect.yaml"),
]

HEARTBEAT_S = 30
WINDOW_S = soak(45, 90)
"""In CI a heartbeat and a half: it is the dead run's that counts here. A night tries what is shipped, three."""

DEMO_BILL = "demo-bill.jsonl"
QUEUES = {
    "flow-term": "default",
    "flow-cancelled": "default",
    "flow-killed": "default",
    "server-killed": "default",
    "worker-term": "default",
    "worker-killed": "doomed",
    "both-killed": "doomed",
}
"""The runs that are to die, each named after what does, and the work queue, so the worker, that each is on."""


@pytest.fixture(scope="module")
def prefects_own(request: pytest.FixtureRequest) -> sa.URL | None:
    """Where the server keeps its records: in PostgreSQL, or, where there is none to start, in SQLite."""
    if why_not() is not None:
        return None
    cluster: Cluster = request.getfixturevalue("postgres_cluster")
    return cluster.new_database("night")


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, prefects_own: sa.URL | None) -> Iterator[Night]:
    """A server as `fluxbatch prefect setup` and `prefect deploy` leave it, from a home that was empty."""
    folder = tmp_path_factory.mktemp("night")
    with ExitStack() as stack:
        o = stack.enter_context(orchestra(folder, **LIMITS))
        if prefects_own is not None:
            o.keep_in(prefects_own)
        found = Night(o, o.start_server())
        found.cases = {name: case_of(o, name, stack) for name in QUEUES}
        first, *others = found.cases.values()
        o.environment |= account_of(first)
        setup = ("prefect", "setup", "--block", first.name, "--heartbeat", str(HEARTBEAT_S), "--window", "90")
        assert f"block       {first.name}: made from the environment" in o.fluxbatch(*setup)
        again = o.fluxbatch(*setup)
        assert [line.split(": ")[-1] for line in again.splitlines()[1:6]] == [
            "found",
            "found",
            "registered",
            "found",
            "found",
        ]
        assert token_of(first.name) not in again
        for name in account_of(first):
            del o.environment[name]
        for case in others:
            save_block(o, case)
        o.do("prefect", "--no-prompt", "deploy", "--all")
        yield found


@pytest.fixture(scope="module")
def bad_night(night: Night) -> Night:
    """All of the runs are under way, and one of them has just died with its worker."""
    _shorten_the_window(night)
    bill = night.o.folder / DEMO_BILL
    night.o.environment["FLUXBATCH_SIMULATOR"] = calm(bill_file=str(bill)).to_json()
    night.demo = night.o.begin("generate-dataset/demo", "default")
    night.workers |= {queue: night.o.start_worker(queue) for queue in sorted(set(QUEUES.values()))}
    night.doubled = _doubled(night, "flow-term")
    _allow_many(night)
    begin_all(night, QUEUES)
    for name in ("both-killed", "worker-killed"):
        night.cases[name].died_at_s = time.monotonic()
    pid = night.process_of(night.cases["both-killed"])
    kill(night.workers["doomed"].pid)
    kill(pid)
    return night


def _doubled(night: Night, name: str) -> dict[str, Any]:
    """What becomes of a second run of the deployment, as long as it allows one."""
    case = night.cases[name]
    night.begin(case, QUEUES[name])
    until(lambda: night.o.state(case.run)["type"] in ("PENDING", "RUNNING"), seconds=60)
    return night.o.ended(night.o.begin("generate-dataset/nightly", QUEUES[name], **case.parameters))


def _shorten_the_window(night: Night) -> None:
    [automation] = night.o.ask("automations/filter", {})
    automation["trigger"]["within"] = WINDOW_S
    kept = {name: automation[name] for name in ("name", "description", "enabled", "trigger", "actions")}
    night.o.send("PUT", f"automations/{automation['id']}", kept)


def _allow_many(night: Night) -> None:
    deployment = night.o.ask("deployments/name/generate-dataset/nightly")["id"]
    night.o.send("PATCH", f"deployments/{deployment}", {"concurrency_limit": 2 * len(QUEUES)})


def test_the_deployments_are_there_and_only_what_is_switched_on_runs_by_itself(night: Night) -> None:
    found = {one["name"]: one for one in night.o.ask("deployments/filter", {})}
    assert set(found) == {"demo", "nightly", "chunk", "sweep", "reconcile"}
    assert {one["work_pool_name"] for one in found.values()} == {POOL}
    [schedule] = found["nightly"]["schedules"]
    assert (schedule["active"], schedule["schedule"]["timezone"]) == (False, "Europe/Berlin")
    assert found.pop("chunk")["global_concurrency_limit"] is None, "as many at once as the workers take"
    limits = {name: one["concurrency_options"]["collision_strategy"] for name, one in found.items()}
    assert limits == {"demo": "ENQUEUE", "sweep": "ENQUEUE", "nightly": "CANCEL_NEW", "reconcile": "CANCEL_NEW"}
    assert {one["global_concurrency_limit"]["limit"] for one in found.values()} == {1}
    assert found["nightly"]["parameters"]["budget_usd"] == 0, "it spends nothing until somebody says how much"


@pytest.mark.parametrize("deployment", ["generate-dataset/demo", "generate-sweep/sweep", "reconcile-dataset/reconcile"])
def test_the_form_explains_every_parameter(night: Night, deployment: str) -> None:
    schema = night.o.ask(f"deployments/name/{deployment}")["parameter_openapi_schema"]
    for name, field in schema["properties"].items():
        assert field["title"][0].isupper(), name
        assert len(field["description"]) > 10, name


@pytest.mark.parametrize(
    "wrong",
    [
        {"manifest": "prompts/demo.docx"},
        {"budget_usd": -1},
        {"budget_usd": "much"},
        {"budget_usd": None},
        {"model": "flux-3-dev"},
        {"width": 100_000},
        {"steps": 0},
        {"on_budget": "panic"},
        {"fit": "squeeze"},
        {"max_in_flight": 0},
        {"rate": -1},
        {"resend_lost": -1},
        {"max_price_per_picture": "$1"},
        {"credentials": "cfut_A-Token/Instead=Of-A-Name"},
        {"columns": ["prompt"]},
    ],
)
def test_wrong_parameters_are_refused_before_a_run_exists(night: Night, wrong: dict[str, Any]) -> None:
    before = night.o.ask("flow_runs/count", {})
    status, said = night.o.refused(night.o.form("generate-dataset/demo"), {"parameters": wrong})
    assert status == 409, said
    assert next(iter(wrong)) in said or str(next(iter(wrong.values()))) in said
    assert night.o.ask("flow_runs/count", {}) == before


def test_the_command_line_is_refused_as_well(night: Night) -> None:
    before = night.o.ask("flow_runs/count", {})
    said = night.o.do("prefect", "deployment", "run", "generate-dataset/demo", "-p", "budget_usd=-1", code=1)
    assert "less than the minimum" in said
    assert night.o.ask("flow_runs/count", {}) == before


def test_setup_says_where_it_has_to_be_run(night: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fluxbatch.cli_prefect import set_up
    from fluxbatch.errors import UsageError

    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"the one with prefect\.yaml"):
        set_up()


def test_the_demo_is_run_by_a_worker_and_prefect_shows_what_it_made(bad_night: Night) -> None:
    o = bad_night.o
    state = o.ended(bad_night.demo)
    run = o.ask(f"flow_runs/{bad_night.demo}")
    assert state["type"] == "COMPLETED", state
    assert "29 made" in state["message"]
    assert run["name"] == "demo to demo flux-2-dev $1"
    shown = {
        a["key"]: a["data"] for a in o.ask("artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
    }
    spent = {row["what"]: row["value"] for row in json.loads(shown["spend"])}["spent, all runs"]
    out = o.checkout / "out" / "demo"
    assert table(out).num_rows == 29
    assert [row["part"] for row in json.loads(shown["parts"])] == [str(p.relative_to(out)) for p in part_files(out)]
    billed = sum(charge.centineurons for charge in read_bill(o.folder / DEMO_BILL))
    assert centineurons(spent.split("(")[1].split()[0]) == billed
    assert "| 99% within |" in shown["summary"]
    kept = o.ask("variables/name/fluxbatch_spend_demo")["value"]
    assert (kept["made"], kept["folder"]) == (29, "out/demo")
    assert f"${Decimal(kept['spent_usd'])}" == spent.split()[0]


def test_a_night_that_runs_long_is_not_doubled(bad_night: Night) -> None:
    assert bad_night.doubled["type"] == "CANCELLED"
    assert "concurrency limit" in bad_night.doubled["message"]


def test_sigterm_to_the_flow_takes_in_what_is_in_flight_and_is_cancelled(bad_night: Night) -> None:
    """As systemd does it: to the flow, and to the process that stands between it and the worker."""
    case = bad_night.cases["flow-term"]
    flow = bad_night.process_of(case)
    between = int(Path(f"/proc/{flow}/stat").read_text().rsplit(")", 1)[1].split()[1])
    assert b"fluxbatch.outlive" in Path(f"/proc/{between}/cmdline").read_bytes()
    for pid in (flow, between):
        os.kill(pid, signal.SIGTERM)
    case.died_at_s = time.monotonic()
    kind, message = bad_night.ended(case)
    assert kind == "CANCELLED", message
    assert message.startswith("interrupted: ")
    case.assert_the_next_run_makes_the_rest(lost_max=0)


def test_a_run_that_is_cancelled_takes_in_what_is_in_flight(bad_night: Night) -> None:
    case = bad_night.cases["flow-cancelled"]
    bad_night.o.do("prefect", "flow-run", "cancel", case.run)
    case.died_at_s = time.monotonic()
    kind, message = bad_night.ended(case)
    assert kind == "CANCELLED", message
    case.assert_the_next_run_makes_the_rest(lost_max=0)


def test_a_flow_that_is_killed_is_crashed_and_loses_at_most_what_was_in_flight(bad_night: Night) -> None:
    case = bad_night.cases["flow-killed"]
    kill(bad_night.process_of(case))
    case.died_at_s = time.monotonic()
    kind, message = bad_night.ended(case)
    assert kind == "CRASHED", message
    assert "SIGKILL" in message
    case.assert_the_next_run_makes_the_rest(lost_max=IN_FLIGHT)


def test_a_run_whose_worker_is_killed_goes_on_to_its_end(bad_night: Night) -> None:
    case = bad_night.cases["worker-killed"]
    bill = case.bill
    until(lambda: case.bill > bill + IN_FLIGHT)
    case.pace(QUICK_S)
    kind, message = bad_night.ended(case)
    assert (kind, message) == ("COMPLETED", f"{ROWS} made, 0 before, 0 left of {ROWS}")
    case.assert_the_next_run_makes_the_rest(lost_max=0)


def test_worker_and_flow_killed_together_are_crashed_by_the_automation(bad_night: Night) -> None:
    case = bad_night.cases["both-killed"]
    kind, message = bad_night.ended(case, seconds=WINDOW_S + HEARTBEAT_S + 60)
    assert kind == "CRASHED", message
    assert message.startswith("No heartbeat for ")
    case.assert_the_next_run_makes_the_rest(lost_max=IN_FLIGHT)


def test_a_run_outlives_its_server_and_tells_the_next_one_how_it_ended(bad_night: Night) -> None:
    case = bad_night.cases["server-killed"]
    kill(bad_night.server.pid)
    bad_night.server.wait()
    bill = case.bill
    until(lambda: case.bill > bill + IN_FLIGHT)
    case.pace(QUICK_S)
    until(lambda: case.bill == ROWS, seconds=60)
    case.died_at_s = time.monotonic()
    bad_night.server = bad_night.o.start_server()
    kind, message = bad_night.ended(case, kind="COMPLETED")  # until then, the automation may call it crashed
    assert (kind, message) == ("COMPLETED", f"{ROWS} made, 0 before, 0 left of {ROWS}")
    shown = bad_night.o.ask("artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [case.run]}}})
    assert {"spend", "parts", "summary"} <= {artifact["key"] for artifact in shown}
    case.assert_the_next_run_makes_the_rest(lost_max=0)


def test_a_run_that_is_called_crashed_while_it_is_alive_says_so(bad_night: Night) -> None:
    """As the automation does when the server was away for longer than its window."""
    run = bad_night.cases["worker-term"].run
    crashed = {"type": "CRASHED", "message": "No heartbeat for 90 s: the process is gone."}
    bad_night.o.ask(f"flow_runs/{run}/set_state", {"state": crashed, "force": True})
    until(lambda: bad_night.o.state(run)["message"] == "its heartbeats are back", seconds=30)
    assert bad_night.o.state(run)["type"] == "RUNNING"


def test_sigterm_to_the_worker_lets_its_run_take_in_what_is_in_flight_and_say_so(bad_night: Night) -> None:
    case, worker = bad_night.cases["worker-term"], bad_night.workers["default"]
    until(lambda: bool(bad_night.o.state(case.run)["type"] == "RUNNING"), seconds=30)  # see the test before
    worker.send_signal(signal.SIGTERM)
    case.died_at_s = time.monotonic()
    kind, message = bad_night.ended(case)
    assert kind == "CANCELLED", message
    assert worker.wait(30) == 0
    case.assert_the_next_run_makes_the_rest(lost_max=0)


def test_no_token_of_that_night_is_in_any_record(bad_night: Night, prefects_own: sa.URL | None) -> None:
    """Blocks have them, encrypted; nothing else has."""
    asked = (
        "flow_runs",
        "task_runs",
        "artifacts",
        "logs",
        "variables",
        "block_documents",
        "deployments",
        "automations",
    )
    told = {name: json.dumps(bad_night.o.ask(f"{name}/filter", {"limit": 200})) for name in asked}
    ours = {"limit": 50, "filter": {"event": {"prefix": ["fluxbatch."]}}}
    told["events"] = json.dumps(bad_night.o.ask("events/filter", ours))
    assert "fluxbatch.dataset." in told["events"]
    assert "cloudflare-credentials" in told["block_documents"]
    told |= everything_in(bad_night.o.folder)
    if prefects_own is None:
        assert "prefect-home/prefect.db" in told
    else:
        told |= everything_in_tables(prefects_own)
        assert bad_night.cases["flow-term"].run in told["flow_run"]
    for name in QUEUES:
        assert [where for where, text in told.items() if token_of(name) in text] == []
