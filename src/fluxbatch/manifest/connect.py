"""One connection to a host on the open internet: looked up once, judged, pinned, and looked at again.

The name is looked up once; if any of its addresses is not global, there is no connection. It is made to the very
address that was judged, so that a resolver that says something else the next time changes nothing; the peer is compared
with it before a byte is sent. The certificate is verified against the name. Proxies of the environment are not used: a
proxy would look the name up again.

`Wire` has what touches the world as arguments. Nothing that a user can set reaches it: that another resolver or
another connection is used is the tests' alone.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import httpcore  # noqa: TID251 - one of the two modules that fetch references

from fluxbatch.manifest.netblocks import IPAddress, read_ip, why_not_global
from fluxbatch.manifest.trouble import Unfetched

CONNECT_S: Final = 10.0
SLICE_S: Final = 0.5
TRIED_MAX: Final = 4
"""So many of a host's addresses are tried, in the resolver's order."""

Resolve = Callable[[str, int], Sequence[str]]
"""Host and port -> its IP addresses as text. OSError when there are none."""
Connect = Callable[[IPAddress, int, float], socket.socket]
"""An IP address, a port and seconds -> a connected socket. OSError when there is none."""


def look_up(host: str, port: int) -> Sequence[str]:
    """What the system's resolver says."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def connect(address: IPAddress, port: int, timeout_s: float) -> socket.socket:
    """A TCP connection to exactly this address."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    opened = socket.socket(family, socket.SOCK_STREAM)
    with closed_unless_well(opened):
        opened.settimeout(timeout_s)
        opened.connect((str(address), port))
    return opened


@contextmanager
def closed_unless_well(opened: socket.socket) -> Iterator[None]:
    """A block that does not end well leaves no open socket."""
    with ExitStack() as undo:
        undo.callback(opened.close)
        yield
        undo.pop_all()


@lru_cache(maxsize=1)
def _public_trust() -> ssl.SSLContext:
    return httpcore.default_ssl_context()  # the system's authorities and certifi's; loading them takes 20 ms


@dataclass(frozen=True, slots=True)
class Wire:
    """What touches the world. Seconds are of a clock that only goes forward."""

    resolve: Resolve = look_up
    connect: Connect = connect
    trust: Callable[[], ssl.SSLContext] = _public_trust
    now: Callable[[], float] = time.monotonic
    wait: Callable[[float], object] | None = None
    """How the time between two tries is spent; None to wait until then, or until `stop`."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Set when nobody waits for the pictures any more: what is under way ends within `SLICE_S`."""

    def pause(self, seconds: float) -> None:
        (self.wait or self.stop.wait)(seconds)


@dataclass(slots=True)
class Limits:
    """What one try may take in all: time until `deadline` (of the wire's clock), and bytes that come in."""

    deadline: float
    bytes_left: int


class PinnedBackend(httpcore.NetworkBackend):
    """httpcore's way to the network, for one try."""

    def __init__(self, wire: Wire, limits: Limits) -> None:
        self._wire = wire
        self._limits = limits

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Unfetched when the host is not on the open internet, or cannot be reached."""
        failed: OSError | None = None
        for address in judged(host, self._wire.resolve, port)[:TRIED_MAX]:
            seconds = min(CONNECT_S, remaining_s(self._wire, self._limits))
            try:
                opened = self._wire.connect(address, port, seconds)
            except OSError as error:
                failed = error
                continue
            with closed_unless_well(opened):
                check_peer(opened, address, host)
            return _Stream(opened, self._wire, self._limits)
        assert failed is not None, "a name that is looked up has at least one address"
        raise failed

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        raise NotImplementedError("an address never leads to a local socket")


def judged(host: str, resolve: Resolve, port: int) -> list[IPAddress]:
    """The host's addresses, looked up once: all of them global. Unfetched when one is not."""
    try:
        texts = resolve(host, port)
    except (OSError, UnicodeError) as error:
        passing = isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN
        raise Unfetched(
            f"{host} is not found", "correct the host, or look at this machine's DNS", again=passing, of_host=True
        ) from None
    found = []
    for text in texts:
        address = read_ip(text)
        why = "no IP address" if address is None else why_not_global(address)
        if why is not None:
            raise Unfetched(f"{host} leads to {text}, which is {why}", "only public hosts are fetched", of_host=True)
        assert address is not None
        found.append(address)
    if not found:
        raise Unfetched(f"{host} has no IP address", "correct the host", of_host=True)
    return found


def check_peer(opened: socket.socket, pinned: IPAddress, host: str) -> None:
    """The second lock: whatever made the connection, it leads where it was judged to lead."""
    peer = read_ip(str(opened.getpeername()[0]))
    if peer != pinned or why_not_global(pinned) is not None:
        raise Unfetched(f"{host} was to be reached at {pinned}, and {peer} answered", "look at this machine's network")


def remaining_s(wire: Wire, limits: Limits) -> float:
    """Seconds that are left; TimeoutError when there are none, Unfetched when nobody waits any more."""
    if wire.stop.is_set():
        raise Unfetched("it was interrupted", "run the same command again")
    left = limits.deadline - wire.now()
    if left <= 0:
        raise TimeoutError("the deadline has passed")
    return left


class _Stream(httpcore.NetworkStream):
    """A socket under the limits of its try: each call gets only what is left, so a drip of bytes cannot hold it."""

    def __init__(self, opened: socket.socket, wire: Wire, limits: Limits) -> None:
        self._socket = opened
        self._wire = wire
        self._limits = limits

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        content = self._received(max_bytes)
        self._limits.bytes_left -= len(content)
        if self._limits.bytes_left < 0:
            raise Unfetched("the answer does not end", "give the address of a picture")
        return content

    def _received(self, max_bytes: int) -> bytes:
        while True:
            self._socket.settimeout(min(SLICE_S, remaining_s(self._wire, self._limits)))
            try:
                return self._socket.recv(max_bytes)
            except TimeoutError:
                continue  # the deadline, and whether anybody waits, are looked at anew

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._socket.settimeout(remaining_s(self._wire, self._limits))
        self._socket.sendall(buffer)

    def close(self) -> None:
        self._socket.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        with closed_unless_well(self._socket):
            self._socket.settimeout(min(CONNECT_S, remaining_s(self._wire, self._limits)))
            # A body without a length ends with the connection: then TLS has to say that it was the end.
            secure = ssl_context.wrap_socket(self._socket, server_hostname=server_hostname, suppress_ragged_eofs=False)
        return _Stream(secure, self._wire, self._limits)

    def get_extra_info(self, info: str) -> Any:
        return None
