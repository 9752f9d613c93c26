"""The flow is killed as the command is: its shards are Prefect's tasks, its dataset and its books are the same."""

from __future__ import annotations

import itertools
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest

from tests.crash.case import Case, OpenCase, seed_of
from tests.crash.point_kit import die
from tests.crash.points import ANY_RECOVERY, PART, PICTURE
from tests.crash.warm import Run, Warm
from tests.e2e.e2e_kit import rows, until
from tests.soak import soak

IN_FLIGHT = 16
POINTS = soak(
    [("part in place, not listed", "recovered part listed", "lost counted, not committed")],
    list(zip((*PICTURE, *PART), itertools.cycle(ANY_RECOVERY), strict=False)),
)


@pytest.fixture(scope="module")
def prefect_variables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Prefect server of its own in a process of its own, which takes a while to start."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    home = tmp_path_factory.mktemp("prefect-home")
    variables = {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "ERROR",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "--no-services"], env=os.environ | variables, stdout=log, stderr=log, start_new_session=True
        )
        try:
            until(lambda: _is_well(port), seconds=120)
            yield variables
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _is_well(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/api/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@pytest.fixture(scope="module")
def warm_flow(
    prefect_variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Warm, dict[str, str]]]:
    with Warm(tmp_path_factory.mktemp("flow"), "flows.generate", prefect_variables) as warm:
        yield warm, prefect_variables


@pytest.fixture
def case(open_case: OpenCase, warm_flow: tuple[Warm, dict[str, str]]) -> Case:
    """A case whose runs are the flow's."""
    case = open_case(rows(120), in_flight=IN_FLIGHT, latency_s=0.05)
    case.warm, variables = warm_flow
    case.is_flow = True
    settings = {"FLUXBATCH_MAX_IN_FLIGHT": str(IN_FLIGHT), "FLUXBATCH_ROWS_PER_SHARD": "12"}
    case.desk.environment |= variables | settings
    return case


@pytest.mark.parametrize("seed", range(soak(1, 20)))
def test_a_flow_that_is_killed_goes_on_where_it_was(seed: int, case: Case) -> None:
    chance = random.Random(seed_of(seed))
    print(f"seed {seed_of(seed)}: set FLUXBATCH_SEED={seed_of(seed) - seed} to meet it again")
    for _ in range(3):
        run, aim = case.start(), case.billed() + chance.randrange(1, 30)
        _until_billed(case, run, aim)
        assert run.kill() == -9, f"it ended before it was killed\n{run.err}"
        case.died()
    case.finish()


def _until_billed(case: Case, run: Run, aim: int) -> None:
    until(lambda: case.billed() >= aim or run.poll() is not None, seconds=60)


@pytest.mark.parametrize("points", POINTS)
def test_a_flow_that_kills_itself_while_it_seals_and_recovers(points: tuple[str, ...], case: Case) -> None:
    for point in points:
        die(case, point)
    case.finish()
