"""`fluxbatch view` as a process: it says where it is, answers, and ends with Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fluxbatch.errors import DatasetError, UsageError
from fluxbatch.view.serve import Server
from tests.view.view_kit import HOST, ask, served, six

COMMAND = "import sys; from fluxbatch.cli import main; sys.argv = ['fluxbatch', 'view', *sys.argv[1:]]; main()"


@contextmanager
def started(*arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments],
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_it_says_its_address_opens_nothing_without_a_terminal_and_ends_with_ctrl_c(tmp_path: Path):
    opened = tmp_path / "opened"
    with started(str(six(tmp_path / "d").folder), BROWSER=f"touch {opened} #%s", DISPLAY=":0") as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[1]
        assert address.startswith(f"http://{HOST}:")
        assert ask(address.rstrip("/")).page.shown[0] == "picture 1"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (0, "", "")
    assert not opened.exists()


def test_a_port_that_is_taken_is_said(tmp_path: Path):
    folder = six(tmp_path / "d").folder
    with served(folder) as address:
        port = int(address.rpartition(":")[2])
        with pytest.raises(UsageError, match=f"port {port} of 127.0.0.1 cannot be had.*--port"):
            Server(folder, port, lambda address: None)


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_that_is_none_is_said(tmp_path: Path, port: int):
    with pytest.raises(UsageError, match=str(port)):
        Server(tmp_path, port, lambda address: None)


def test_where_there_is_no_dataset_the_command_says_so(tmp_path: Path):
    with pytest.raises(DatasetError, match="nowhere"):
        Server(tmp_path / "nowhere", 0, lambda address: None)
