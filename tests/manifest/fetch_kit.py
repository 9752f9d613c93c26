"""An internet of one machine: names, addresses and a TLS host on loopback, behind the seams of `connect.Wire`.

The names lead to addresses on the open internet, and the connections to those are made to loopback instead. That the
real code takes such a connection is the doing of a socket here that says it has the peer that was asked for.
"""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fluxbatch.manifest.connect import Wire
from fluxbatch.manifest.netblocks import IPAddress

HOST = "images.example.com"
OTHER = "pictures.example.net"
PUBLIC, PUBLIC_2, PUBLIC_6 = "93.184.215.14", "93.184.215.15", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
DAY = datetime.timedelta(days=1)


@dataclass
class Names:
    """A resolver: what each name's look-ups say, one after the other; the last is said from then on. "*" is any other
    name."""

    answers: Mapping[str, Sequence[Sequence[str]]]
    asked: list[str] = field(default_factory=list)

    def __call__(self, host: str, port: int) -> Sequence[str]:
        said = self.answers.get(host, self.answers.get("*"))
        count = self.asked.count(host)
        self.asked.append(host)
        if said is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return said[min(count, len(said) - 1)]


class _Rerouted(socket.socket):
    """A connection to loopback that says it leads to `peer`."""

    peer = ""

    def getpeername(self) -> tuple[str, int]:
        return self.peer, 443


@dataclass
class Roads:
    """A connector that writes down what it was asked for, and leads to one port on loopback, or nowhere."""

    port: int | None = None
    peer: str | None = None
    """What the connection says its peer is, instead of what was asked for."""
    blocked: frozenset[str] = frozenset()
    asked: list[tuple[str, int]] = field(default_factory=list)

    def __call__(self, address: IPAddress, port: int, timeout_s: float) -> socket.socket:
        self.asked.append((str(address), port))
        if self.port is None or str(address) in self.blocked:
            raise ConnectionRefusedError(111, "Connection refused")
        opened = _Rerouted(socket.AF_INET, socket.SOCK_STREAM)
        opened.peer = self.peer or str(address)
        opened.settimeout(timeout_s)
        opened.connect(("127.0.0.1", self.port))
        return opened


@dataclass
class Clock:
    """Waits are written down and not waited for; time goes on as it does."""

    waited_s: list[float] = field(default_factory=list)

    def wait(self, seconds: float) -> None:
        self.waited_s.append(seconds)


Answer = Callable[[socket.socket], None]
"""Writes to a client whose request was read."""


def said(content: bytes, status: str = "200 OK", headers: Sequence[str] = (), *, length: int | None = None) -> Answer:
    """An ordinary answer; `length` is a lie about the body's."""
    size = len(content) if length is None else length
    head = "\r\n".join((f"HTTP/1.1 {status}", f"Content-Length: {size}", *headers, "", "")).encode("latin-1")
    return lambda client: client.sendall(head + content)


def raw(content: bytes) -> Answer:
    """These bytes, and the end."""
    return lambda client: client.sendall(content)


def dripped(pieces: Callable[[], Iterable[bytes]], every_s: float = 0.02, seconds_max: float = 5.0) -> Answer:
    """Piece by piece, with a little time between, until the client is gone."""

    def answer(client: socket.socket) -> None:
        never, until = threading.Event(), time.monotonic() + seconds_max
        for piece in pieces():
            client.sendall(piece)
            never.wait(every_s)
            if time.monotonic() > until:
                return

    return answer


@dataclass
class PictureHost:
    """A TLS server on loopback: answers by path; each request's head stands in `heard`."""

    port: int
    answers: dict[str, Answer | list[Answer]]
    heard: list[str] = field(default_factory=list)
    most_at_once: int = 0
    _open: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def paths(self) -> list[str]:
        return [head.split(" ", 2)[1] for head in self.heard]

    def serve(self, client: socket.socket) -> None:
        with self._lock:
            self._open += 1
            self.most_at_once = max(self.most_at_once, self._open)
        try:
            head = _head(client)
            with self._lock:
                self.heard.append(head)
                answer = self.answers.get(head.split(" ", 2)[1].partition("?")[0], said(b"no", "404 Not Found"))
                if isinstance(answer, list):
                    answer = answer.pop(0) if len(answer) > 1 else answer[0]
            answer(client)
        finally:
            with self._lock:
                self._open -= 1


@contextmanager
def picture_host(
    answers: Mapping[str, Answer | list[Answer]], tls: ssl.SSLContext | None, ends_properly: bool = True
) -> Iterator[PictureHost]:
    """The server for a block; `tls` None speaks plain HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        host = PictureHost(listening.getsockname()[1], dict(answers))
        threading.Thread(target=_accept, args=(listening, host, tls, ends_properly), daemon=True).start()
        yield host
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)


def _accept(listening: socket.socket, host: PictureHost, tls: ssl.SSLContext | None, ends_properly: bool) -> None:
    with suppress(OSError):
        while True:
            client, _ = listening.accept()
            threading.Thread(target=_one, args=(client, host, tls, ends_properly), daemon=True).start()


def _one(client: socket.socket, host: PictureHost, tls: ssl.SSLContext | None, ends_properly: bool) -> None:
    client.settimeout(30)
    with suppress(OSError), client:
        if tls is None:
            host.serve(client)
            return
        with tls.wrap_socket(client, server_side=True) as secure:
            host.serve(secure)
            if ends_properly:
                secure.unwrap()


def _head(client: socket.socket) -> str:
    head = b""
    while b"\r\n\r\n" not in head:
        piece = client.recv(65536)
        if not piece:
            raise ConnectionResetError
        head += piece
    return head.decode("latin-1")


@dataclass(frozen=True)
class Authority:
    """A certificate authority of this test run, and what it has signed."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def trusted(self) -> ssl.SSLContext:
        """A client's context that trusts this authority alone, and verifies as the real one does."""
        context = ssl.create_default_context(cadata=self.certificate.public_bytes(serialization.Encoding.PEM).decode())
        assert context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED
        return context

    def served(self, *names: str, days: tuple[int, int] = (-1, 2)) -> ssl.SSLContext:
        """A server's context with a certificate for these names, good between these days from now."""
        now = datetime.datetime.now(datetime.UTC)
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = x509.SubjectAlternativeName([_general(name) for name in names])
        builder = _builder("host", "authority", key, now + days[0] * DAY, now + days[1] * DAY)
        certificate = builder.add_extension(alternatives, critical=False).sign(self.key, hashes.SHA256())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with TemporaryDirectory() as folder:  # the ssl module takes certificates from files only
            path = Path(folder) / "both.pem"
            pem = serialization.Encoding.PEM
            path.write_bytes(
                key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
                + certificate.public_bytes(pem)
            )
            context.load_cert_chain(path)
        return context


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    name: str,
    issuer: str,
    key: ec.EllipticCurvePrivateKey,
    begins: datetime.datetime,
    ends: datetime.datetime,
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(
        subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
        issuer_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]),
    )
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    return builder.not_valid_before(begins).not_valid_after(ends)


@lru_cache
def authority() -> Authority:
    """One for all tests of a process; made anew each time, so nothing secret is committed and nothing runs out."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    builder = _builder("authority", "authority", key, now - 400 * DAY, now + 400 * DAY)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return Authority(builder.sign(key, hashes.SHA256()), key)


@lru_cache
def good_tls() -> ssl.SSLContext:
    return authority().served(HOST, OTHER, "*.cdn.example.net")


def wire(
    roads: Roads, names: Names | None = None, clock: Clock | None = None, trust: ssl.SSLContext | None = None
) -> Wire:
    """The real code's way out, through this internet. The test's authority is trusted, and no other."""
    names = Names({HOST: [[PUBLIC]], OTHER: [[PUBLIC_2]]}) if names is None else names
    context = authority().trusted() if trust is None else trust
    return Wire(names, roads, lambda: context, time.monotonic, (clock or Clock()).wait)
