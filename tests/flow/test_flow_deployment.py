"""prefect.yaml, for real: a server, a work pool, a worker, and a run of the deployment (a process each)."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.e2e_kit import REPOSITORY, calm, centineurons, part_files, table, until

pytestmark = [
    pytest.mark.xdist_group("prefect"),
    pytest.mark.skipif(not (REPOSITORY / "prefect.yaml").exists(), reason="there is no prefect.yaml"),
]

POOL = "fluxbatch-local"


@dataclass
class Orchestra:
    """A Prefect server of its own and a copy of the checkout to deploy from; logs are kept to be shown on failure."""

    folder: Path
    port: int
    ledger: Path
    bill: Path
    _running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def checkout(self) -> Path:
        return self.folder / "checkout"

    def variables(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("CLOUDFLARE_", "FLUXBATCH_", "PREFECT_"))}
        return kept | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PREFECT_HOME": str(self.folder / "prefect-home"),
            "PREFECT_API_URL": self.api,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "FLUXBATCH_LEDGER": f"sqlite:///{self.ledger}",
            "FLUXBATCH_RATE": "60000",
            "FLUXBATCH_SIMULATOR": calm(bill_file=str(self.bill)).to_json(),
        }

    def start(self, *command: str, **variables: str) -> subprocess.Popen[bytes]:
        """In the background; not with a shell's `&`, which would make it deaf to signals."""
        with (self.folder / f"{command[1]}.log").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=self.checkout, env=self.variables() | variables, stdout=log, stderr=subprocess.STDOUT
            )
        self._running.append(process)
        return process

    def do(self, *command: str, seconds: float = 60) -> str:
        done = subprocess.run(
            command,
            cwd=self.checkout,
            env=self.variables(),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}\n{self.logs()}"
        return done.stdout

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            f"{self.api}/{path}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())

    def is_up(self) -> bool:
        try:
            return bool(self.ask("health"))
        except OSError:
            return False

    def logs(self) -> str:
        return "\n".join(
            f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}" for log in self.folder.glob("*.log")
        )

    def close(self) -> None:
        for process in reversed(self._running):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def orchestra(folder: Path) -> Iterator[Orchestra]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    one = Orchestra(folder, port, folder / "ledger" / "ledger.sqlite3", folder / "bill.jsonl")
    one.checkout.mkdir()
    for name in ("flows", "prompts"):
        shutil.copytree(REPOSITORY / name, one.checkout / name)
    shutil.copy(REPOSITORY / "prefect.yaml", one.checkout)
    try:
        yield one
    finally:
        one.close()


def test_the_deployment_is_really_run_by_a_worker_and_makes_the_demo(tmp_path: Path) -> None:
    with orchestra(tmp_path) as o:
        o.start("prefect", "server", "start", "--host", "127.0.0.1", "--port", str(o.port))
        until(o.is_up, seconds=60)
        o.do("prefect", "work-pool", "create", POOL, "--type", "process")
        assert "demo" in o.do("prefect", "--no-prompt", "deploy", "--all")
        o.start("prefect", "worker", "start", "--pool", POOL)
        o.do("prefect", "deployment", "run", "generate-dataset/demo", "--watch", seconds=80)

        [run] = o.ask("flow_runs/filter", {})
        assert run["state"]["type"] == "COMPLETED", run["state"]
        assert "29 made" in run["state"]["message"]
        assert run["name"] == "demo to demo flux-2-dev $1"
        [artifact] = [a for a in o.ask("artifacts/filter", {}) if a["key"] == "spend"]
        spent = {row["what"]: row["value"] for row in json.loads(artifact["data"])}["spent, all runs"]

        out = o.checkout / "out" / "demo"
        assert table(out).num_rows == 29
        assert part_files(out)
        billed = sum(json.loads(line)["centineurons"] for line in o.bill.read_text().splitlines())
        assert centineurons(spent.split("(")[1].split()[0]) == billed
