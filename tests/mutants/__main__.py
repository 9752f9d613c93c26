"""Plants each bug of `planted.py` in a copy of the sources, one at a time, and shows which test sees it.

    make mutants                                    every bug
    python -m tests.mutants "quota" "5xx"           those whose names have this in them

Exit code 1 when a bug is not caught, or when the tests named fail without any.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.planted import BUGS, Bug

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 600
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
TESTS_FAILED = 1
"""pytest's exit code when tests ran and some failed; others mean that it could not run them."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the tests said about one bug; `caught_by` is the first test that failed."""

    bug: str
    caught_by: str | None
    trouble: str | None = None


def main(wanted: list[str]) -> int:
    """The table; 0 when every bug is caught."""
    bugs = [bug for bug in BUGS if not wanted or any(word in bug.name for word in wanted)]
    if not bugs:  # without a test to name, pytest would run them all
        print(f"no bug has {' or '.join(map(repr, wanted))} in its name", *(bug.name for bug in BUGS), sep="\n")
        return 2
    tests = sorted({test for bug in bugs for test in bug.tests})
    sound = _tested(ROOT / "src", tuple(tests))
    if sound.returncode:
        print(sound.stdout, sound.stderr, "these tests fail without any bug planted", sep="\n")
        return 1
    with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        verdicts = list(pool.map(_judge, bugs))
    _show(verdicts)
    return int(any(verdict.caught_by is None for verdict in verdicts))


def _judge(bug: Bug) -> Verdict:
    with tempfile.TemporaryDirectory(prefix="fluxbatch-mutant-") as folder:
        sources = Path(folder) / "src"
        shutil.copytree(ROOT / "src", sources, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        for change in bug.changes:
            path = sources / "fluxbatch" / change.file
            text = path.read_text(encoding="utf-8")
            if text.count(change.old) != 1:
                return Verdict(bug.name, None, f"its lines stand {text.count(change.old)} times in {change.file}")
            path.write_text(text.replace(change.old, change.new), encoding="utf-8")
        run = _tested(sources, bug.tests)
    found = FAILED.search(run.stdout)
    if run.returncode == TESTS_FAILED and found:
        return Verdict(bug.name, found[1])
    return Verdict(bug.name, None, "no test failed" if run.returncode == 0 else run.stdout[-2000:] + run.stderr[-2000:])


def _tested(sources: Path, tests: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """The tests, on these sources; their own children find the same ones."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(sources), str(ROOT)))}
    command = [sys.executable, "-m", "pytest", "-n", "0", "-x", "-p", "no:cacheprovider", "-rfE", "--tb=no", *tests]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT_S)


def _show(verdicts: list[Verdict]) -> None:
    print("| planted bug | caught by |\n|---|---|")
    for verdict in verdicts:
        print(f"| {verdict.bug} | {verdict.caught_by or 'NOT CAUGHT: ' + (verdict.trouble or '')} |")
    caught = sum(verdict.caught_by is not None for verdict in verdicts)
    print(f"\n{caught} of {len(verdicts)} caught")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
