"""What the flow adds: one manifest through `fluxbatch run` and through the Prefect flow, with and without a server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.common import (
    FREE_RATE,
    STEADY,
    Took,
    account,
    child,
    clean_environment,
    options,
    prompts,
    scratch,
    seconds,
    show,
    warm_up,
)
from bench.throughput import SMALL
from fluxbatch.simulator import Simulator

PLATFORM = replace(STEADY, latency_s=0.2)
IN_FLIGHT = 20
ROWS_PER_SHARD = 100
START_S = 120.0

HEADER = ("", "seconds", "of which sending", "CPU", "server's CPU", "pictures")
NOTES = (
    "The whole command, from start to exit. Sending: from the first request's arrival to the last one's. CPU of the",
    "command; the server's is what Prefect's server used meanwhile (with none configured, the one that the flow starts",
    "for itself). A task is a shard of 100 pictures.",
)


@dataclass(frozen=True, slots=True)
class Server:
    """A Prefect server that runs already."""

    url: str
    pid: int


@contextmanager
def prefect_server(home: Path) -> Iterator[Server]:
    """A server with a home of its own, ready to take calls; ended with the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"]
    log = home.parent / "server.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, *command], env=clean_environment(_home(home)), stdout=output, stderr=output
        )
    try:
        _wait_until_healthy(f"http://127.0.0.1:{port}/api/health", server, log)
        yield Server(f"http://127.0.0.1:{port}/api", server.pid)
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _home(home: Path) -> dict[str, str]:
    quiet = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_LOGGING_LEVEL": "WARNING", "DO_NOT_TRACK": "1"}
    return {"PREFECT_HOME": str(home), **quiet}


def _wait_until_healthy(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + START_S
    while time.monotonic() < ends and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise SystemExit(f"the Prefect server did not start:\n{log.read_text()[-2000:]}")


@dataclass(frozen=True, slots=True)
class Bench:
    """One manifest, one platform; each run has a dataset of its own and finds the in-flight limit learned."""

    simulator: Simulator
    manifest: Path
    folder: Path
    count: int

    def measure(self, target: str, name: str, *before: str, server: Server | None = None) -> list[str]:
        """A row of the table."""
        learned = {"max_in_flight": IN_FLIGHT, "rate": FREE_RATE, "rows_per_shard": ROWS_PER_SHARD, **SMALL}
        environment = account(self.simulator, self.folder / "ledger.sqlite3", **learned)
        home = self.folder / f"home-{name.replace(' ', '-')}"
        environment |= _home(home) | ({"PREFECT_API_URL": server.url} if server else {})
        self.simulator.reset()
        before_s = tree_cpu_s(server.pid) if server else 0.0
        out = str(self.folder / f"dataset-{name.replace(' ', '-')}")
        took = child(target, *before, str(self.manifest), "--out", out, "--budget", "1000000", environment=environment)
        own_s = took.descendants_cpu_s if target.startswith("flows.") else 0.0
        return self._row(name, took, tree_cpu_s(server.pid) - before_s if server else own_s)

    def _row(self, name: str, took: Took, server_s: float) -> list[str]:
        arrivals = self.simulator.stats()["arrivals_s"]
        assert len(arrivals) == self.count, f"{len(arrivals)} requests"
        spent = [seconds(took.wall_s), seconds(max(arrivals) - min(arrivals)), seconds(took.cpu_s)]
        return [name, *spent, seconds(server_s) if server_s >= 0.01 else "", str(self.count)]


def tree_cpu_s(pid: int) -> float:
    """CPU seconds of a process and of all that descend from it, so far; 0 where there is no /proc."""
    return _cpu_s(pid) + sum(tree_cpu_s(one) for one in _children(pid))


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")  # user, system, and of children waited for


def _children(pid: int) -> list[int]:
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(one) for thread in threads for one in (thread / "children").read_text(encoding="ascii").split()]
    except OSError:
        return []


def main() -> None:
    count = 100 if options(__doc__).quick else 500
    warm_up()
    with scratch() as folder, Simulator(PLATFORM) as simulator:
        bench = Bench(simulator, prompts(folder / "prompts.csv", count), folder, count)
        bench.measure("fluxbatch.cli:main", "to learn the limit in flight", "run")
        rows = [bench.measure("fluxbatch.cli:main", "fluxbatch run", "run")]
        with prefect_server(folder / "home") as server:
            bench.measure("flows.generate:main", "to fill the caches", server=server)
            rows.append(bench.measure("flows.generate:main", "the flow, a Prefect server running", server=server))
        rows.append(bench.measure("flows.generate:main", "the flow, no server configured"))
    show(
        f"The flow's cost: {count} pictures, latency {PLATFORM.latency_s} s, {IN_FLIGHT} in flight", HEADER, rows, NOTES
    )


if __name__ == "__main__":
    main()
