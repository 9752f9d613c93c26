"""What the benchmarks share: tables, the machine, scratch folders, child processes that say what they took."""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.inside import cpu_s
from fluxbatch.simulator import Simulator, SimulatorSettings

ROOT = Path(__file__).resolve().parents[1]
FREE_RATE = 1_000_000.0
"""Requests a minute: a known rate that is out of the way."""

STEADY = SimulatorSettings(latency_s=0.5, latency_spread=0.0, rate=None, paint="plain")
"""A platform without a limit and without chance, that costs as little of the machine as it can."""


@dataclass(frozen=True, slots=True)
class Took:
    """What a child process took: its own CPU, that of all it started, its peak resident memory, and what it said."""

    wall_s: float
    cpu_s: float
    descendants_cpu_s: float
    peak_bytes: int
    output: str

    @property
    def answer(self) -> Any:
        """The JSON object on its last line."""
        return json.loads(self.output.strip().splitlines()[-1])


def options(about: str | None) -> argparse.Namespace:
    """`--quick`: the same measurement, smaller."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--quick", action="store_true", help="smaller, to see that it works; not for quoting")
    return parser.parse_args()


def show(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> None:
    """A Markdown table under its title, what was measured, and the machine."""
    widths = [max(len(line[column]) for line in (header, *rows)) for column in range(len(header))]
    print(f"\n### {title}\n")
    for line in (header, ["-" * width for width in widths], *rows):
        cells = [
            line[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)),
        ]
        print(f"| {' | '.join(cells)} |")
    print()
    for note in notes:
        print(note)
    print(f"Machine: {machine()}", flush=True)


def machine() -> str:
    """Cores, Python, system, and how busy it was: figures from a busy machine are worth little."""
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()} {platform.release()} "
        f"({platform.machine()}), fluxbatch {version('fluxbatch')}, load {load:.1f} at the end."
    )


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for the block, removed with all that is in it."""
    with tempfile.TemporaryDirectory(prefix="fluxbatch-bench-") as folder:
        yield Path(folder)


def account(simulator: Simulator, ledger: Path, **settings: object) -> dict[str, str]:
    """The environment of a client that has the simulator for its Cloudflare, and a ledger of its own."""
    named = {f"FLUXBATCH_{name.upper()}": str(value) for name, value in settings.items()}
    return named | {
        "CLOUDFLARE_BASE_URL": simulator.base_url,
        "CLOUDFLARE_ACCOUNT_ID": simulator.account,
        "CLOUDFLARE_API_TOKEN": simulator.token,
        "FLUXBATCH_LEDGER": f"sqlite:///{ledger}",
    }


def clean_environment(wanted: Mapping[str, str]) -> dict[str, str]:
    """Ours without what would change a measurement, or point it at a real account; then what is wanted."""
    ours = {name: value for name, value in os.environ.items() if not name.upper().startswith(_FOREIGN)}
    return {**ours, "NO_PROXY": "127.0.0.1", **wanted}


_FOREIGN = ("CLOUDFLARE_", "FLUXBATCH_", "PREFECT_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


def prompts(path: Path, count: int) -> Path:
    """A CSV manifest of so many prompts."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["prompt"])
        writer.writerows([f"a lighthouse by the sea, number {number}"] for number in range(count))
    return path


def child(target: str, *arguments: str, environment: Mapping[str, str] | None = None, expect: int = 0) -> Took:
    """Call `target` (module:function) in a fresh interpreter with these arguments, and say what that took."""
    with tempfile.NamedTemporaryFile(prefix="fluxbatch-bench-", suffix=".json") as report:
        started, cpu_before_s = time.monotonic(), cpu_s(resource.RUSAGE_CHILDREN)
        ended = subprocess.run(
            [sys.executable, "-m", "bench.inside", report.name, target, *arguments],
            cwd=ROOT,
            env=clean_environment(environment or {}),
            capture_output=True,
            text=True,
            check=False,
        )
        wall_s = time.monotonic() - started
        if ended.returncode != expect:
            raise SystemExit(f"{target} {' '.join(arguments)} ended with {ended.returncode}:\n{ended.stderr[-4000:]}")
        took = json.load(report)
        rest_s = cpu_s(resource.RUSAGE_CHILDREN) - cpu_before_s - took["cpu_s"]
        return Took(wall_s=wall_s, descendants_cpu_s=rest_s, output=ended.stdout, **took)


def warm_up() -> None:
    """Import everything once, so that no measurement pays for cold files and missing bytecode."""
    child("fluxbatch.cli:main", "--help")


def seconds(value: float) -> str:
    return f"{value:.2f} s"


def megabytes(size_bytes: float) -> str:
    return f"{size_bytes / 1e6:.0f} MB"
