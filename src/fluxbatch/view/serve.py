"""Serving the pages on loopback until Ctrl-C."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Any

import uvicorn

from fluxbatch.dataset.place import Place
from fluxbatch.errors import UsageError
from fluxbatch.view.app import create_app
from fluxbatch.view.viewed import Viewer

HOST = "127.0.0.1"
_CONFIG: dict[str, Any] = {
    "access_log": False,
    "log_level": "warning",
    "lifespan": "off",
    "ws": "none",
    "server_header": False,
    "timeout_graceful_shutdown": 1,
}


class Server(uvicorn.Server):
    """Of one dataset, at one port, which it has from the beginning. `ready` is called once connections are taken."""

    def __init__(self, folder: Place, port: int, ready: Callable[[str], None]) -> None:
        """DatasetError when there is no dataset, UsageError when the port cannot be had; 0 is one that is free."""
        self._listener = _listen(port)
        self._ready = ready
        try:
            app = create_app(Viewer(folder))
        except BaseException:
            self._listener.close()
            raise
        super().__init__(uvicorn.Config(app, **_CONFIG))

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self._listener.getsockname()[1]}"

    def serve_here(self) -> None:
        """Until Ctrl-C, or until `should_exit` is true."""
        with self._listener:
            self.run([self._listener])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready(self.address)


def serve(folder: Place, port: int, ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C; `ready` is told the address. Raises what `Server` does."""
    server = Server(folder, port, ready)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_here()


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise UsageError(f"port {port} of {HOST} cannot be had: {error}; give another --port, or 0") from error
    return listener
