"""A Prefect server, workers and deployments as somebody runs them: real processes, a home of their own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tests.e2e.e2e_kit import REPOSITORY, until

BUSY_MAX_S = 60.0
PAUSE = threading.Event()
POOL = "fluxbatch-local"
FINAL = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})


@dataclass
class Orchestra:
    """A Prefect server of its own and a copy of the checkout to deploy from; logs are kept to be shown on failure.

    `environment` is what all processes have besides: that of the user who starts them.
    """

    folder: Path
    port: int
    environment: dict[str, str] = field(default_factory=dict)
    server_settings: dict[str, str] = field(default_factory=dict)
    _running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _logs: int = 0

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def checkout(self) -> Path:
        return self.folder / "checkout"

    @property
    def home(self) -> Path:
        return self.folder / "prefect-home"

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger" / "ledger.sqlite3"

    def variables(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("CLOUDFLARE_", "FLUXBATCH_", "PREFECT_"))}
        return kept | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join((str(REPOSITORY / "src"), str(self.checkout))),
            "PREFECT_HOME": str(self.home),
            "PREFECT_API_URL": self.api,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "FLUXBATCH_LEDGER": f"sqlite:///{self.ledger}",
            "FLUXBATCH_RATE": "60000",
            "FLUXBATCH_REPORT": "false",  # a second or two of each run
            "COLUMNS": "200",
            **self.environment,
        }

    def keep_in(self, database: sa.URL) -> None:
        """PostgreSQL for the server's own: on SQLite it answers 503 when many runs begin at once."""
        url = database.set(drivername="postgresql+asyncpg").render_as_string(hide_password=False)
        self.server_settings["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = url

    def start(self, *command: str, **variables: str) -> subprocess.Popen[bytes]:
        """In the background; not with a shell's `&`, which would make it deaf to signals."""
        self._logs += 1
        with (self.folder / f"{self._logs}-{command[1]}.log").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=self.checkout, env=self.variables() | variables, stdout=log, stderr=subprocess.STDOUT
            )
        self._running.append(process)
        return process

    def start_server(self) -> subprocess.Popen[bytes]:
        command = ("prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port))
        server = self.start(*command, **self.server_settings)
        until(self.is_up, seconds=90)
        return server

    def start_worker(self, queue: str = "default") -> subprocess.Popen[bytes]:
        """It looks for work every two seconds, not every ten: nobody learns anything from the wait."""
        command = ("prefect", "worker", "start", "--pool", POOL, "--work-queue", queue)
        return self.start(*command, PREFECT_WORKER_QUERY_SECONDS="2")

    def do(self, *command: str, seconds: float = 60, code: int = 0) -> str:
        done = subprocess.run(
            command,
            cwd=self.checkout,
            env=self.variables(),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}\n{self.logs()}"
        return done.stdout + done.stderr

    def fluxbatch(self, *arguments: str, code: int = 0) -> str:
        return self.do(sys.executable, "-c", "from fluxbatch.cli import main; main()", *arguments, code=code)

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return self.send("GET" if body is None else "POST", path, body)

    def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """What the server answers; None when it only says yes."""
        request = urllib.request.Request(
            f"{self.api}/{path}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"},
            method=method,
        )
        deadline = time.monotonic() + BUSY_MAX_S
        while True:
            try:
                with urllib.request.urlopen(request, timeout=20) as answer:
                    return json.loads(answer.read() or b"null")
            except urllib.error.HTTPError as error:
                if error.code != 503 or time.monotonic() > deadline:  # SQLite is locked: Prefect's own client retries
                    raise
                error.close()

    def refused(self, path: str, body: dict[str, Any]) -> tuple[int, str]:
        """The status and the text of an answer that says no."""
        try:
            self.ask(path, body)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        raise AssertionError(f"{path} took {body}")

    def is_up(self) -> bool:
        try:
            return bool(self.ask("health"))
        except OSError:
            return False

    def begin(self, deployment: str, queue: str | None = None, **parameters: Any) -> str:
        """A run of `flow/deployment`, as the UI's form makes one; its id."""
        return str(self.ask(self.form(deployment), {"parameters": parameters, "work_queue_name": queue})["id"])

    def form(self, deployment: str) -> str:
        """Where the UI's form of `flow/deployment` is sent to."""
        return f"deployments/{self.ask(f'deployments/name/{deployment}')['id']}/create_flow_run"

    def state(self, run: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ask(f"flow_runs/{run}")["state"]
        return found

    def ended(self, run: str, seconds: float = 60) -> dict[str, Any]:
        """Its final state."""
        deadline, found = time.monotonic() + seconds, self.state(run)
        while found["type"] not in FINAL:
            assert time.monotonic() < deadline, f"{found['type']}: {found['message']}\n{self.logs()}"
            PAUSE.wait(0.1)
            found = self.state(run)
        return found

    def process_of(self, run: str) -> int | None:
        """The process in which a worker runs the flow."""
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                told, command = (folder / "environ").read_bytes(), (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if f"PREFECT__FLOW_RUN_ID={run}".encode() in told and b"prefect.engine" in command:
                return int(folder.name)
        return None

    def logs(self) -> str:
        return "\n".join(
            f"--- {log.name}\n{log.read_text(errors='replace')[-4000:]}" for log in self.folder.glob("*.log")
        )

    def close(self) -> None:
        for process in reversed(self._running):
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


@contextmanager
def orchestra(folder: Path, **environment: str) -> Iterator[Orchestra]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    one = Orchestra(folder, port, environment)
    one.checkout.mkdir()
    for name in ("flows", "prompts"):
        shutil.copytree(REPOSITORY / name, one.checkout / name)
    shutil.copy(REPOSITORY / "prefect.yaml", one.checkout)
    try:
        yield one
    finally:
        one.close()
