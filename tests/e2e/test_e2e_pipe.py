"""A run whose output goes to a pipe that somebody closes: `2>&1 | head`, a pager that was left."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.e2e_kit import REPOSITORY, Desk, calm, centineurons, rows, table, until

IN_FLIGHT = 4


@contextmanager
def piped(desk: Desk, *arguments: str, **variables: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The command, and the end of the pipe to which it says all it says."""
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", "from fluxbatch.cli import main; main()", *arguments],
        cwd=desk.folder,
        env=desk.variables() | variables,
        stdout=writing,
        stderr=writing,
    )
    os.close(writing)
    try:
        yield process, reading
    finally:
        process.kill()
        process.wait()


def options(desk: Desk, manifest: Path, *more: str) -> tuple[str, ...]:
    flight = ("--max-in-flight", str(IN_FLIGHT))
    return ("run", str(manifest), "--out", str(desk.out), "--budget", "5", *flight, *more)


@pytest.mark.parametrize("more", [(), ("--json",)], ids=["words", "json"])
@pytest.mark.parametrize(
    "colour", [{}, {"FORCE_COLOR": "1", "TERM": "xterm"}], ids=["lines", "live"]
)  # CI sets FORCE_COLOR, and then rich takes a pipe for a terminal
def test_a_reader_that_goes_away_in_the_middle_of_a_run_costs_no_picture(
    desk: Desk, colour: dict[str, str], more: tuple[str, ...]
) -> None:
    desk.simulator.change(latency_s=0.3)
    manifest = desk.manifest(rows(16))
    with piped(desk, *options(desk, manifest, *more), **colour) as (process, reading):
        until(lambda: desk.simulator.stats()["making"] == IN_FLIGHT)
        os.close(reading)
        assert process.wait(30) == 0
    assert table(desk.out).num_rows == 16
    told = desk.command("status", str(desk.out), "--json").ended(0).json
    assert (told["not_known"], centineurons(told["spent_neurons"])) == (0, desk.billed)
    assert told["last_run"].endswith(" stopped by nothing")


def test_the_exit_code_is_the_runs_own_whoever_reads(desk: Desk) -> None:
    desk.simulator.change(latency_s=0.1)
    for name, budget, code in (("stopped", "0.0035", 3), ("refused", "much", 2)):
        arguments = list(options(desk, desk.manifest(rows(8, prompt=name))))
        arguments[arguments.index("--budget") + 1] = budget
        with piped(desk, *arguments) as (process, reading):
            os.close(reading)
            assert process.wait(30) == code, name


def test_head_gets_its_line_and_the_run_goes_on(desk: Desk) -> None:
    """As somebody types it, with the example that README begins with."""
    run = """"$PYTHON" -c 'from fluxbatch.cli import main; main()' run "$DEMO" --out out --budget 1 --simulate"""
    desk.environment |= {
        "PYTHON": sys.executable,
        "DEMO": str(REPOSITORY / "prompts" / "demo.csv"),
        "FORCE_COLOR": "1",
        "TERM": "xterm",
        "FLUXBATCH_SIMULATOR": calm(latency_s=0.3).to_json(),
        "FLUXBATCH_MAX_IN_FLIGHT": str(IN_FLIGHT),
    }
    line = f"({run} 2>&1; echo $? >code) | head -c 1"
    subprocess.run(["/bin/sh", "-c", line], cwd=desk.folder, env=desk.variables(), check=True, timeout=60)
    assert (desk.folder / "code").read_text() == "0\n"
    assert table(desk.out).num_rows == 29
    assert desk.command("status", str(desk.out), "--json").ended(0).json["not_known"] == 0
