"""Between a Prefect worker and a flow run: what is killed in the flow's place, so that the flow can end in peace.

    worker ── python -m fluxbatch.outlive ── python -m prefect.engine (a session of its own)

A worker that is stopped kills its runs at once, and `prefect flow-run cancel` kills after 30 s; a picture takes
minutes, and what is in flight has been paid. So the worker has this process to kill. The run hears that it is to stop,
or that this process is gone, by the end of a connection: it sends nothing more, takes in what is in flight, and tells
Prefect.

Nothing of Prefect is imported: this process is small, and there at once.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from socket import MSG_PEEK, SHUT_WR, socket, socketpair
from types import FrameType
from typing import NoReturn

CONNECTION = "FLUXBATCH_OUTLIVES"
"""The variable that names the run's end of the connection, a file descriptor."""


def main() -> NoReturn:
    """Run the engine; end as it ends."""
    ours, theirs = socketpair()
    with theirs:
        environment = os.environ | {CONNECTION: str(theirs.fileno())}
        command = [sys.executable, "-m", "prefect.engine", *sys.argv[1:]]
        engine = subprocess.Popen(  # noqa: S603 - our own interpreter
            command, env=environment, pass_fds=(theirs.fileno(),), start_new_session=True
        )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _Stopper(engine, ours))
    code = engine.wait()
    if code < 0:  # what ended it ends this process as well, so that the worker sees the same
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


class _Stopper:
    """A run that listens is told by the connection: a signal besides, from systemd to all, is then its first, and not
    the second one that stops at once. One that does not listen yet has nothing in flight, and gets the signal."""

    def __init__(self, engine: subprocess.Popen[bytes], ours: socket) -> None:
        self._engine, self._ours = engine, ours
        ours.setblocking(False)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if _listens(self._ours):
            self._ours.shutdown(SHUT_WR)
        else:
            self._engine.send_signal(number)


def _listens(ours: socket) -> bool:
    """Whether the run has said that it listens. It stays said: the byte is left where it is."""
    try:
        return bool(ours.recv(1, MSG_PEEK))
    except OSError:
        return False


if __name__ == "__main__":
    main()
