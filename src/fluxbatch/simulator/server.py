"""Running the simulator: in the foreground, in a thread, or in a process of its own that ends with its parent."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from fluxbatch.errors import FluxbatchError
from fluxbatch.simulator.bill import Charge
from fluxbatch.simulator.settings import SimulatorSettings

if TYPE_CHECKING:
    from fluxbatch.simulator.wire import SimulatorServer

HOST = "127.0.0.1"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 5.0


def serve(
    settings: SimulatorSettings, port: int, ready: Callable[[str], None] | None = None, until_eof: bool = False
) -> None:
    """Serve in the foreground until Ctrl-C or SIGTERM; `ready` is told the base URL once connections are taken.

    `until_eof`: also until standard input ends, which is how a child learns that its parent is gone.
    """
    from fluxbatch.simulator.wire import SimulatorServer

    listener = _listen(port)
    server = SimulatorServer(settings, on_ready=lambda: ready(_base_url(listener)) if ready else None)
    if until_eof:
        threading.Thread(target=_stop_at_eof, args=(server,), daemon=True).start()
    try:
        server.run([listener])
    except KeyboardInterrupt:
        pass
    finally:
        server.platform.close()


class Simulator:
    """A running simulator, for `with`: by default in a process of its own, so that its work is not the client's CPU.

    `base_url` is what CLOUDFLARE_BASE_URL wants. FluxbatchError when it does not start.
    """

    def __init__(self, settings: SimulatorSettings | None = None, *, port: int = 0, in_thread: bool = False) -> None:
        self.settings = settings or SimulatorSettings()
        self._host: _ThreadHost | _ProcessHost = (_ThreadHost if in_thread else _ProcessHost)(self.settings, port)
        self.base_url = self._host.base_url

    @property
    def account(self) -> str:
        return self.settings.account

    @property
    def token(self) -> str:
        return self.settings.token

    @property
    def pid(self) -> int | None:
        """The process to kill in a crash test; None in a thread."""
        return self._host.pid

    def bill(self) -> list[Charge]:
        """Every charge so far, in order; its last `total_centineurons` is the sum."""
        return [Charge(**charge) for charge in self._control("GET", "bill?entries=1")["charges"]]

    def total_centineurons(self) -> int:
        """The sum of the bill, without carrying its entries over."""
        return int(self._control("GET", "bill")["total_centineurons"])

    def stats(self) -> dict[str, Any]:
        """requests, answers, arrivals_s, prompts, models, in_flight(_peak), making(_peak), disconnects."""
        return self._control("GET", "stats?arrivals=1&prompts=1")

    def bodies(self) -> list[dict[str, Any]]:
        """The last bodies that could be read, in order: `model` (full id), and the `fields` as they came."""
        found: list[dict[str, Any]] = self._control("GET", "stats?bodies=1")["bodies"]
        return found

    def change(self, **settings: Any) -> None:
        """Change fields of SimulatorSettings while it runs."""
        self._control("POST", "settings", json.dumps(settings))

    def reset(self) -> None:
        """Empty bill and statistics, as if just started."""
        self._control("POST", "reset")

    def close(self) -> None:
        """Stop it; connections are dropped, what is in the making is billed."""
        self._host.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _control(self, method: str, path: str, body: str | None = None) -> dict[str, Any]:
        connection = HTTPConnection(HOST, self._host.port, timeout=30)
        try:
            connection.request(method, f"/__simulator__/{path}", body)
            response = connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
        except (OSError, HTTPException) as error:
            raise FluxbatchError(f"the simulator at {self.base_url} does not answer ({error})") from error
        finally:
            connection.close()
        if response.status != 200:
            raise FluxbatchError(f"the simulator refused: {answer.get('error', answer)}")
        return answer


class _ThreadHost:
    pid = None

    def __init__(self, settings: SimulatorSettings, port: int) -> None:
        from fluxbatch.simulator.wire import SimulatorServer

        self._listener = _listen(port)
        self.base_url, self.port = _base_url(self._listener), self._listener.getsockname()[1]
        started = threading.Event()
        self._server = SimulatorServer(settings, on_ready=started.set)
        self._thread = threading.Thread(target=self._run, name="simulator", daemon=True)
        self._thread.start()
        if not started.wait(START_TIMEOUT_S):
            raise FluxbatchError(f"the simulator did not start within {START_TIMEOUT_S:.0f} s")

    def _run(self) -> None:
        asyncio.run(self._server.serve([self._listener]))

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(STOP_TIMEOUT_S)
        self._server.platform.close()


class _ProcessHost:
    def __init__(self, settings: SimulatorSettings, port: int) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "fluxbatch.simulator", "--port", str(port), "--json-settings", settings.to_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(),
            start_new_session=True,  # Ctrl-C is for the client, which wants its answers before it stops
        )
        self.pid = self._process.pid
        assert self._process.stdout is not None
        try:
            said = json.loads(self._process.stdout.readline())
        except ValueError:
            self.close()
            raise FluxbatchError(f"the simulator did not start (exit code {self._process.returncode})") from None
        self.base_url, self.port = said["base_url"], said["port"]

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def _environment() -> dict[str, str]:
    """Ours, with this very package on the path, wherever the parent found it."""
    source = str(Path(__file__).resolve().parents[2])
    rest = os.environ.get("PYTHONPATH")
    return os.environ | {"PYTHONPATH": f"{source}{os.pathsep}{rest}" if rest else source}


def _listen(port: int) -> socket.socket:
    # IPPROTO_TCP by name, or asyncio leaves Nagle's algorithm on and small answers wait 40 ms for an ACK.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise FluxbatchError(
            f"the simulator cannot take port {port} ({error}); choose another, or 0 for any"
        ) from error
    listener.listen(2048)
    return listener


def _base_url(listener: socket.socket) -> str:
    return f"http://{HOST}:{listener.getsockname()[1]}/client/v4"


def _stop_at_eof(server: SimulatorServer) -> None:
    while os.read(0, 4096):  # not sys.stdin: a thread that waits in its buffer breaks the interpreter's exit
        pass
    server.should_exit = True
