"""uvicorn with what a simulator needs beyond it: ending a connection under a request, and stopping at once."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from fluxbatch.simulator.app import create_app
from fluxbatch.simulator.cloud import Platform
from fluxbatch.simulator.faults import Kind
from fluxbatch.simulator.settings import SimulatorSettings

KEEP_ALIVE_S = 400
"""Cloudflare keeps idle connections for minutes; uvicorn's 5 s would lose requests that a real run does not."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class SimulatorServer(uvicorn.Server):
    """One server over one platform. `on_ready` is called when connections are taken."""

    def __init__(self, settings: SimulatorSettings, on_ready: Callable[[], None]) -> None:
        self.platform = Platform(settings)
        self._on_ready = on_ready
        config = uvicorn.Config(
            _quiet_when_cancelled(create_app(self.platform, self.cut)),
            access_log=False,
            log_level="warning",
            lifespan="off",
            ws="none",
            server_header=False,
            date_header=False,
            backlog=2048,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=2,
        )
        super().__init__(config)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drop every connection and stop every request, instead of waiting for hangs and slow pictures."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # the connections notice, so that nobody writes to them
        for task in list(self.server_state.tasks):
            task.cancel()
        await super().shutdown(sockets)

    def cut(self, scope: Scope, kind: Kind) -> None:
        """End the connection of this request: what was written goes out first, except in a reset."""
        transport = self._transport(scope["client"])
        if transport is None:
            return
        if kind is Kind.RESET:
            wire = transport.get_extra_info("socket")
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            transport.abort()
        else:
            transport.close()

    def _transport(self, client: tuple[str, int]) -> asyncio.Transport | None:
        for connection in self.server_state.connections:
            if connection.transport.get_extra_info("peername") == client:
                return connection.transport
        return None


def _quiet_when_cancelled(app: ASGIApp) -> ASGIApp:
    """Only a shutdown cancels, and its connections are gone: nothing to log."""

    async def quiet(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:
            return

    return quiet
