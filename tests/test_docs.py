"""The README's session is run as it stands: each command, and each line that is shown of its answer, in order."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def session() -> Iterator[tuple[str, list[str]]]:
    """Each command of the README's session, and the lines shown of what it says."""
    for block in re.findall(r"```console\n(.*?)```", README, flags=re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *shown = part.rstrip().split("\n")
            yield command, [line for line in shown if line.strip() != "…"]


def squeezed(text: str) -> str:
    return " ".join(text.split())


def test_the_session_says_what_the_readme_shows(tmp_path: Path) -> None:
    (tmp_path / "prompts").symlink_to(ROOT / "prompts")
    environment = {**os.environ, "FLUXBATCH_LEDGER": f"sqlite:///{tmp_path}/ledger.sqlite3", "COLUMNS": "160"}
    steps = list(session())
    assert [shlex.split(command)[1] for command, _ in steps] == ["plan", "run", "run", "verify", "sweep"]
    for command, shown in steps:
        words = shlex.split(command)
        assert words[0] == "fluxbatch"
        run = [sys.executable, "-c", "from fluxbatch.cli import main; main()", *words[1:]]
        done = subprocess.run(
            run, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        said = squeezed(done.stdout + done.stderr)
        for line in shown:
            assert squeezed(line) in said, f"{command} does not say: {line}\n{said}"
            said = said[said.index(squeezed(line)) + len(squeezed(line)) :]


def test_every_command_and_option_that_the_readme_names_is_there() -> None:
    helps = {
        command: subprocess.run(
            [sys.executable, "-c", "from fluxbatch.cli import main; main()", *command.split(), "--help"],
            capture_output=True, text=True, timeout=60, check=True, env={**os.environ, "COLUMNS": "160"},
        ).stdout
        for command in COMMANDS
    }  # fmt: skip
    for option in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README)) - FOREIGN:
        assert any(option in text for text in helps.values()), f"no command has {option}"
    assert set(re.findall(r"`fluxbatch ([a-z]+)", README)) <= {command.split()[0] for command in COMMANDS}


COMMANDS = (
    "plan", "run", "sweep", "models", "status", "verify", "reconcile", "simulate", "doctor",
    "budget show", "budget set", "ledger show", "ledger upgrade", "prefect setup",
    "check", "ctl", "export", "publish", "report", "view",
)  # fmt: skip
FOREIGN = {"--type", "--no-prompt", "--all", "--pool", "--watch"}
"""Prefect's own options."""


@pytest.mark.parametrize(
    "document", ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "prompts/README.md", "prompts/TEMPLATES.md"]
)
def test_every_path_that_is_named_exists(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    tests = re.findall(r"`(tests/[\w/.]+?\.py)(?:::(\w+))?`", text)
    for link in links:
        assert ((ROOT / document).parent / link).exists(), link
    for path, name in tests:
        assert (ROOT / path).exists(), path
        assert not name or f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path} has no {name}"
