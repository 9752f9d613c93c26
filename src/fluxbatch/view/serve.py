"""Serving the pages on loopback until Ctrl-C."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn

from fluxbatch.dataset.place import Place
from fluxbatch.errors import UsageError
from fluxbatch.view.app import create_app
from fluxbatch.view.viewed import Viewer

HOST = "127.0.0.1"


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


def serve(folder: Place, port: int, ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C; `ready` is told the address once connections are taken.

    DatasetError when there is no dataset, UsageError when the port cannot be had; 0 is one that is free.
    """
    listener = _listen(port)
    with listener:
        app = create_app(Viewer(folder))
        address = f"http://{HOST}:{listener.getsockname()[1]}/"
        config = uvicorn.Config(
            app,
            access_log=False,
            log_level="warning",
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        try:
            _Server(config, lambda: ready(address)).run([listener])
        except KeyboardInterrupt:
            return


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise UsageError(f"port {port} of {HOST} cannot be had: {error}; give another --port, or 0") from error
    return listener
