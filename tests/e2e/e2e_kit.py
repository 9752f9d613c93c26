"""A user at a desk: a folder, a ledger of their own, a simulator, and the command line driven as they would.

`Desk.run(...)` is the command in this process (quick, and warnings are errors); `Desk.start(...)` is a process of its
own, for what only a process can show: signals, kills, imports.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import pty
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fluxbatch import cli
from fluxbatch.simulator import Simulator, SimulatorSettings

REPOSITORY = Path(__file__).resolve().parents[2]
CALM: dict[str, Any] = {"latency_s": 0.02, "latency_spread": 0.0, "rate": None, "paint": "plain"}
"""What the shared simulator is set back to before each test."""
SMALL = {"width": 256, "height": 256, "steps": 4}
SMALL_CENTINEURONS = 3750
"""4 steps x 37.5 neurons x a quarter of a tile."""
SMALL_BOUND_USD = Decimal("0.00164")
"""4 steps x $0.00041 x one whole tile: the dollar list is the larger of the two (0.00165 = 150 neurons is larger)."""


def calm(**changes: Any) -> SimulatorSettings:
    return SimulatorSettings(**(CALM | changes))


@dataclass(frozen=True)
class Said:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The object on the last line of standard output."""
        found: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return found

    @property
    def all(self) -> str:
        return self.out + self.err

    def ended(self, code: int) -> Said:
        assert self.code == code, f"exit code {self.code}, expected {code}\n{self.out}\n{self.err}"
        return self


@dataclass
class Desk:
    """`environment` is what this user has set beside (or instead of) what every desk has, `without` what is not set."""

    folder: Path
    simulator: Simulator
    environment: dict[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    _started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger" / "ledger.sqlite3"

    def variables(self) -> dict[str, str]:
        """The whole environment: nothing of the machine's own settings for Cloudflare or fluxbatch is let through."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("CLOUDFLARE_", "FLUXBATCH_"))}
        given = kept | {
            "CLOUDFLARE_BASE_URL": self.simulator.base_url,
            "CLOUDFLARE_ACCOUNT_ID": self.simulator.account,
            "CLOUDFLARE_API_TOKEN": self.simulator.token,
            "FLUXBATCH_LEDGER": f"sqlite:///{self.ledger}",
            "FLUXBATCH_RATE": "60000",
            "FLUXBATCH_REPORT": "false",  # two seconds a run; test_e2e_report.py draws it
            "COLUMNS": "200",
            **self.environment,
        }
        return {name: value for name, value in given.items() if name not in self.without}

    def manifest(self, rows: Iterable[Mapping[str, object]], name: str = "prompts.csv") -> Path:
        """A CSV of these rows; small and cheap pictures unless a row says otherwise."""
        whole = [SMALL | dict(row) for row in rows]
        headers = list(dict.fromkeys(header for row in whole for header in row))
        path = self.folder / name
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, headers, restval="")
            writer.writeheader()
            writer.writerows(whole)
        return path

    def run(self, manifest: Path, *options: str, budget: str = "5", out: Path | None = None) -> Said:
        """`fluxbatch run` with `--json`."""
        return self.command("run", str(manifest), "--out", str(out or self.out), "--budget", budget, "--json", *options)

    def plan(self, manifest: Path, *options: str, budget: str = "5", out: Path | None = None) -> Said:
        return self.command("plan", str(manifest), "--out", str(out or self.out), "--budget", budget, *options)

    def command(self, *arguments: str) -> Said:
        """The command line in this process, as its own `main` runs it."""
        out, err = io.StringIO(), io.StringIO()
        with placed(self.folder, self.variables()), _quiet_afterwards(), redirect_stdout(out), redirect_stderr(err):
            before, sys.argv = sys.argv, ["fluxbatch", *arguments]
            try:
                cli.main()
            except SystemExit as ended:
                code = ended.code
            finally:
                sys.argv = before
        assert isinstance(code, int)
        return Said(code, out.getvalue(), err.getvalue())

    def start(self, *arguments: str, group: bool = False) -> subprocess.Popen[str]:
        """The command line in a process (or a process group) of its own, which does not outlive the test."""
        return self.start_code("from fluxbatch.cli import main; main()", *arguments, group=group)

    def start_code(self, code: str, *arguments: str, group: bool = False) -> subprocess.Popen[str]:
        """The same of any Python code."""
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=self.folder,
            env=self.variables(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0 if group else None,
        )
        self._started.append(process)
        return process

    def close(self) -> None:
        """End what is still running."""
        for process in self._started:
            process.kill()
            process.communicate()

    @property
    def billed(self) -> int:
        """The simulator's bill, in hundredths of a neuron."""
        return self.simulator.total_centineurons()

    @property
    def requests(self) -> int:
        return int(self.simulator.stats()["requests"])


def rows(count: int, prompt: str = "a fox", **fields: object) -> list[dict[str, object]]:
    """So many rows, each with a prompt and an id of its own."""
    return [{"id": f"{prompt}-{index}", "prompt": f"{prompt} {index}", **fields} for index in range(count)]


def part_files(dataset: Path) -> list[Path]:
    """The parts that the catalogue lists."""
    lines = (dataset / "catalogue.jsonl").read_text().splitlines()[1:]
    return [dataset / json.loads(line)["part"]["file"] for line in lines]


def table(dataset: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """All listed parts; there has to be one."""
    found = [pq.read_table(path, columns=columns, partitioning=None) for path in part_files(dataset)]
    return pa.concat_tables(found)


def failures(dataset: Path) -> dict[str, dict[str, Any]]:
    """The rows of failures.parquet by their id."""
    path = dataset / "failures.parquet"
    return {row["id"]: row for row in pq.read_table(path).to_pylist()} if path.exists() else {}


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for something that another process does. It is asked seldomer with time: asking takes from its processor."""
    deadline = time.monotonic() + seconds
    never, pause_s = threading.Event(), 0.01
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        never.wait(pause_s)
        pause_s = min(1.1 * pause_s, 0.05)


def at_a_terminal(
    desk: Desk, *arguments: str, is_error: bool = True, then: Callable[[], object] | None = None, **variables: str
) -> str:
    """Everything that the command wrote to its standard error (or its output), which is a terminal. `then` is called
    when it has drawn something."""
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "from fluxbatch.cli import main; main()", *arguments],
        cwd=desk.folder,
        env=desk.variables() | {"TERM": "xterm", "COLUMNS": "160", "CI": "", "GITHUB_ACTIONS": ""} | variables,
        stdout=subprocess.DEVNULL if is_error else its,
        stderr=its if is_error else subprocess.DEVNULL,
    )
    os.close(its)
    os.set_blocking(ours, False)
    seen = bytearray()

    def ended() -> bool:
        nonlocal then
        try:
            while chunk := os.read(ours, 65536):
                seen.extend(chunk)
                if then is not None and b"/min" in seen:
                    call, then = then, None
                    call()
        except BlockingIOError:
            return False
        except OSError:  # Linux says so when the other end is closed
            return True
        return True

    try:
        until(ended, seconds=30)
        process.wait(10)
    finally:
        os.close(ours)
        process.kill()
        process.wait()
    return seen.decode(errors="replace")


def unreachable_address() -> str:
    """A base URL on loopback at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}/client/v4"


def centineurons(text: str) -> int:
    """An exact decimal string of neurons, in hundredths."""
    amount = Decimal(text) * 100
    assert amount == int(amount)
    return int(amount)


def nano_usd(text: str) -> int:
    amount = Decimal(text) * 10**9
    assert amount == int(amount)
    return int(amount)


def assert_adds_up(summary: Mapping[str, Any]) -> None:
    """What holds after every run, however it ended: each picture is counted once, and the budget is kept."""
    ends = ("already", "made", "refused", "failed", "unknown", "left")
    assert sum(summary[end] for end in ends) == summary["asked"], summary
    gone = Decimal(summary["spent_usd"]) + Decimal(summary["unknown_usd"])
    assert gone <= Decimal(summary["budget_usd"]), summary


@contextmanager
def placed(folder: Path, variables: Mapping[str, str]) -> Iterator[None]:
    before, at = dict(os.environ), Path.cwd()
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(at)
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _quiet_afterwards() -> Iterator[None]:
    """The command sets up logging for its process; here it is set back, or the next test would write to a
    closed file."""
    logger = logging.getLogger("fluxbatch")
    before = logger.handlers[:], logger.level, logger.propagate
    try:
        yield
    finally:
        logger.handlers[:], logger.level, logger.propagate = before
