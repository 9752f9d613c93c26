"""A way to PostgreSQL that can be cut at the worst moment: around a COMMIT and its answer."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum

COMMIT = b"COMMIT\0"
"""How psycopg's simple query ends."""


class Cut(Enum):
    """What becomes of a connection when a COMMIT comes by."""

    BEFORE = "the COMMIT is lost with the connection"
    AFTER = "the COMMIT is done, its answer is lost with the connection"
    LATE = "the client is cut off, and the COMMIT reaches the server only when it is let go"
    SILENT = "nothing is forwarded any more, and nobody hangs up"


@dataclass(slots=True)
class _Way:
    """One connection through the proxy."""

    client: socket.socket
    server: socket.socket
    muted: bool = False
    answered: threading.Event = field(default_factory=threading.Event)


class Proxy:
    """Forwards to a port on loopback. `plan` is asked at each COMMIT with its number, from 1: None lets it pass."""

    def __init__(self, port: int, plan: Callable[[int], Cut | None] = lambda number: None) -> None:
        self._server = port
        self.plan = plan
        self.commits = 0
        self.cuts = 0
        self.let_go = threading.Event()
        """What a LATE cut waits for."""
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.let_go.set()
        for one in self._open:
            _hang_up(one)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._server))
                except OSError:
                    _hang_up(client)
                    continue
                self._open += [client, server]
                way = _Way(client, server)
                for forward in (self._to_server, self._to_client):
                    threading.Thread(target=forward, args=(way,), daemon=True).start()

    def _to_server(self, way: _Way) -> None:
        with contextlib.suppress(OSError):
            while received := way.client.recv(65536):
                cut = self._asked(received)
                if cut is not None:
                    self._cut(cut, received, way)
                    return
                way.server.sendall(received)
        _hang_up(way.server)

    def _asked(self, received: bytes) -> Cut | None:
        if not received.endswith(COMMIT):
            return None
        with self._lock:
            self.commits += 1
            cut = self.plan(self.commits)
            self.cuts += cut is not None
        return cut

    def _cut(self, cut: Cut, received: bytes, way: _Way) -> None:
        way.muted = True
        if cut is Cut.SILENT:
            return  # both stay open, and nobody reads the client's any more
        if cut is Cut.LATE:
            _hang_up(way.client)
            self.let_go.wait(60)
        if cut is not Cut.BEFORE:
            way.server.sendall(received)
            way.answered.wait(30)
        _hang_up(way.client)
        _hang_up(way.server)

    @staticmethod
    def _to_client(way: _Way) -> None:
        with contextlib.suppress(OSError):
            while received := way.server.recv(65536):
                if way.muted:
                    way.answered.set()
                else:
                    way.client.sendall(received)
        if not way.muted:
            _hang_up(way.client)


@contextlib.contextmanager
def proxied(port: int, plan: Callable[[int], Cut | None] = lambda number: None) -> Iterator[Proxy]:
    """A proxy for the block."""
    one = Proxy(port, plan)
    try:
        yield one
    finally:
        one.close()


def _hang_up(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
