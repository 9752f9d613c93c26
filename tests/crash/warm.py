"""A process that has the libraries loaded and forks runs of the command line from itself: a start in 0.1 s, not 1.5 s.

A run is a process of its own, as with `python -m`, and dies like one; only the imports were done before it was born.
It can be told to kill itself at a named point (`points.py`). `Warm` is the side that asks, `main` the one that forks.
When the asking side is gone, so are all runs.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
SOURCES = (ROOT / "src", ROOT)


@dataclass
class Run:
    """A process that was forked, and where it writes what it says."""

    warm: Warm
    pid: int
    out_file: Path
    err_file: Path
    note: Path
    returncode: int | None = None

    def poll(self) -> int | None:
        """The return code, minus the signal's number; None while it runs."""
        if self.returncode is None:
            self.returncode = self.warm.ask(do="poll", pid=self.pid)
        return self.returncode

    def wait(self, seconds: float = 60.0) -> int:
        deadline = time.monotonic() + seconds
        never, pause_s = threading.Event(), 0.004
        while (code := self.poll()) is None:
            assert time.monotonic() < deadline, f"the run did not end\n{self.err}"
            never.wait(pause_s)
            pause_s = min(1.1 * pause_s, 0.03)
        return code

    def kill(self) -> int:
        """SIGKILL, unless it has ended: the return code says which."""
        if self.returncode is None:
            self.returncode = self.warm.ask(do="kill", pid=self.pid)
        assert self.returncode is not None
        return self.returncode

    @property
    def out(self) -> str:
        return self.out_file.read_text()

    @property
    def err(self) -> str:
        return self.err_file.read_text()

    @property
    def reached(self) -> str:
        """The point at which it killed itself, as it wrote down before."""
        return self.note.read_text() if self.note.exists() else ""


@dataclass
class Warm:
    """The asking side. `module` is what its runs run, loaded before they begin: its `main` is called."""

    folder: Path
    module: str = "fluxbatch.cli"
    variables: Mapping[str, str] = field(default_factory=dict)
    _count: int = 0

    def __enter__(self) -> Self:
        path = os.pathsep.join([*map(str, SOURCES), os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.warm", self.module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": path} | dict(self.variables),
            text=True,
        )
        assert self._answer() == "warm"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()  # the end of its input is the end of all its runs
        self._process.wait(30)
        self._process.stdout.close()

    def start(
        self, arguments: Sequence[str], folder: Path, variables: Mapping[str, str], die: tuple[str, int] | None = None
    ) -> Run:
        """A run with these arguments; `die` names a point and at which passing the run kills itself there."""
        self._count += 1
        out, err, note = (self.folder / f"{self._count}.{name}" for name in ("out", "err", "note"))
        pid = self.ask(
            do="start", arguments=list(arguments), folder=str(folder), variables=dict(variables),
            out=str(out), err=str(err), note=str(note), die=die,
        )  # fmt: skip
        return Run(self, pid, out, err, note)

    def ask(self, **what: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the process that forks has died"
        return json.loads(line)


def main() -> None:
    """Serve one request a line until the input ends."""
    module = sys.argv[1]
    _load(module)
    living: set[int] = set()
    print(json.dumps("warm"), flush=True)
    try:
        while line := sys.stdin.readline():
            asked = json.loads(line)
            print(json.dumps(_serve(asked, living, module)), flush=True)
    finally:
        for pid in living:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _load(module: str) -> None:
    """What a run imports at its start and before its first request, loaded once."""
    import gc
    import tempfile

    import pyarrow as pa
    import yaml  # noqa: F401 - the card's

    import fluxbatch.examine
    import fluxbatch.foreground  # noqa: F401
    from fluxbatch.dataset.spool import Spool
    from fluxbatch.dispatch.keep import Keeper

    with tempfile.TemporaryDirectory() as folder:
        Keeper(Spool(Path(folder)), pa.schema([]), "warm").warm()
    found = importlib.import_module(module)
    if hasattr(found, "command"):  # fluxbatch.cli: the options of all commands are read
        found.command()
    gc.freeze()


def _serve(asked: dict[str, Any], living: set[int], module: str) -> int | None:
    if asked["do"] == "start":
        pid = os.fork()
        if pid == 0:
            _be(asked, module)
        living.add(pid)
        return pid
    pid = asked["pid"]
    if asked["do"] == "kill":
        os.kill(pid, signal.SIGKILL)
    found, status = os.waitpid(pid, 0 if asked["do"] == "kill" else os.WNOHANG)
    if found == 0:
        return None
    living.discard(pid)
    return os.waitstatus_to_exitcode(status)


def _be(asked: dict[str, Any], module: str) -> None:
    """Become the run; never returns."""
    code: object = 70
    try:
        _settle_in(asked)
        if asked["die"] is not None:
            from tests.crash.points import arm

            arm(asked["die"][0], asked["die"][1], Path(asked["note"]))
        sys.argv = ["fluxbatch", *asked["arguments"]]
        importlib.import_module(module).main()
        code = 0
    except SystemExit as ended:
        code = ended.code
    except BaseException:  # noqa: BLE001 - as the interpreter would at its end
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def _settle_in(asked: dict[str, Any]) -> None:
    """A new life: its own folder, environment, files, and its own name for the temp files that it makes."""
    import itertools
    import random
    import secrets

    from fluxbatch.dataset import files

    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["variables"])
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for number, path, how in ((0, os.devnull, os.O_RDONLY), (1, asked["out"], flags), (2, asked["err"], flags)):
        opened = os.open(path, how, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    random.seed()
    files._WRITER = f"{os.getpid()}-{secrets.token_hex(4)}"  # made when the module is imported, so once a life
    files._number = itertools.count()


if __name__ == "__main__":
    main()
