"""The client against real sockets: tiny servers that do one thing, so that each failure is a real one."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from fluxbatch.cloudflare import client as client_module
from fluxbatch.cloudflare.client import Client, Credentials
from fluxbatch.cloudflare.outcome import Broken, Fatal, Lost, NotSent, Reply
from fluxbatch.errors import UsageError
from fluxbatch.models.catalogue import FLUX_2_DEV
from tests.cloudflare.cloudflare_kit import asked

ACCOUNT = "0123456789abcdef0123456789abcdef"
TOKEN = "cfut_" + "aB3" * 12
FOX = asked(prompt="a red fox — 狐")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCF-AI-Neurons: 37.50\r\nSet-Cookie: a=b; Path=/\r\n\r\n{}"


@dataclass
class Heard:
    """One request as the server heard it."""

    line: str
    headers: dict[str, str]
    body: bytes
    connection: int


Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Server:
    """Reads whole requests and gives each to `answer`; with `answer=None` it does not read at all."""

    port: int
    heard: list[Heard] = field(default_factory=list)
    connections: int = 0
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/client/v4"


async def read_request(reader: asyncio.StreamReader, connection: int) -> Heard:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *rest = head.split("\r\n")
    headers = {name.lower(): value for name, value in (row.split(": ", 1) for row in rest if row)}
    return Heard(line, headers, await reader.readexactly(int(headers.get("content-length", 0))), connection)


@contextlib.asynccontextmanager
async def serving(answer: Answer, *, read: bool = True, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        connection = server.connections
        try:
            while True:
                if read:
                    server.heard.append(await read_request(reader, connection))
                await answer(writer)
                await writer.drain()
                if not read:
                    await reader.read()
                    break
        except (OSError, EOFError):
            pass
        finally:
            server.closed.set()
            writer.close()

    listener = await asyncio.start_server(converse, "127.0.0.1", 0, ssl=tls)
    server = Server(listener.sockets[0].getsockname()[1])
    try:
        yield server
    finally:
        listener.close()


def saying(raw: bytes) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(raw)

    return answer


def saying_and_closing(raw: bytes) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()
        writer.close()

    return answer


async def resetting(writer: asyncio.StreamWriter) -> None:
    raw: socket.socket = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def silent(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


def credentials(url: str) -> Credentials:
    return Credentials(ACCOUNT, SecretStr(TOKEN), url)


async def send_once(
    url: str, *, deadline_s: float = 5.0, connections: int = 4, images: tuple[bytes, ...] = ()
) -> Reply | Broken:
    async with Client(credentials(url), connections=connections, deadline_s=deadline_s) as client:
        return await client.send(FOX, images)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# What goes out


async def test_request_on_the_wire_is_one_buffered_multipart_post() -> None:
    async with serving(saying(OK)) as server:
        reply = await send_once(server.url, images=(b"\xff\xd8\xff.",))
    (heard,) = server.heard
    assert isinstance(reply, Reply)
    assert heard.line == f"POST /client/v4/accounts/{ACCOUNT}/ai/run/@cf/black-forest-labs/flux-2-dev HTTP/1.1"
    assert heard.headers["authorization"] == f"Bearer {TOKEN}"
    assert heard.headers["accept-encoding"] == "identity"
    assert heard.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert int(heard.headers["content-length"]) == len(heard.body)
    assert "transfer-encoding" not in heard.headers
    assert "a red fox — 狐".encode() in heard.body
    assert b'name="input_image_0"' in heard.body


async def test_reply_carries_status_lower_case_headers_and_body() -> None:
    async with serving(saying(OK)) as server:
        reply = await send_once(server.url)
    assert isinstance(reply, Reply)
    assert (reply.status, reply.body, reply.headers["cf-ai-neurons"]) == (200, b"{}", "37.50")
    assert 0 < reply.latency_s < 5


async def test_cookies_are_not_kept() -> None:
    async with (
        serving(saying(OK)) as server,
        # By name: aiohttp's own jar keeps no cookie of a bare address anyway.
        Client(credentials(server.url.replace("127.0.0.1", "localhost")), connections=1) as client,
    ):
        await client.send(FOX, [])
        await client.send(FOX, [])
    assert [heard.headers.get("cookie") for heard in server.heard] == [None, None]
    assert server.connections == 1


async def test_extra_headers_are_sent_and_cannot_replace_the_token() -> None:
    extra = {"cf-aig-authorization": "Bearer gateway", "Authorization": "Bearer other"}
    async with (
        serving(saying(OK)) as server,
        Client(credentials(server.url), connections=1, extra_headers=extra) as client,
    ):
        await client.send(FOX, [])
    assert server.heard[0].headers["cf-aig-authorization"] == "Bearer gateway"
    assert server.heard[0].headers["authorization"] == f"Bearer {TOKEN}"


async def test_all_in_flight_have_a_connection_of_their_own() -> None:
    gate = asyncio.Barrier(32)

    async def together(writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        writer.write(OK)

    async with serving(together) as server, Client(credentials(server.url), connections=32, deadline_s=20) as client:
        replies = await asyncio.gather(*(client.send(FOX, []) for _ in range(32)))
    assert all(isinstance(reply, Reply) for reply in replies)
    assert server.connections == 32


@pytest.mark.parametrize("location", [b"/elsewhere", b"http://["])
async def test_a_redirect_is_not_followed(location: bytes) -> None:
    raw = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % location
    async with serving(saying(raw)) as server:
        reply = await send_once(server.url)
    assert isinstance(reply, Reply)
    assert reply.status == 307
    assert len(server.heard) == 1


async def test_an_encoded_answer_is_not_decoded() -> None:
    body = gzip.compress(b"\0" * 10_000_000)
    raw = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    async with serving(saying(raw)) as server:
        reply = await send_once(server.url)
    assert isinstance(reply, Reply)
    assert reply.body == body


# Never twice


async def test_a_post_is_not_sent_again_when_a_kept_connection_dies_under_it() -> None:
    answers = iter([saying(OK), saying_and_closing(b"")])

    async def first_then_close(writer: asyncio.StreamWriter) -> None:
        await next(answers)(writer)

    async with serving(first_then_close) as server, Client(credentials(server.url), connections=1) as client:
        first = await client.send(FOX, [])
        second = await client.send(FOX, [])
    assert isinstance(first, Reply)
    assert isinstance(second, Broken)
    assert second.kind == "lost"
    assert [heard.connection for heard in server.heard] == [1, 1]


async def test_a_connection_that_the_server_closed_after_its_answer_is_not_used_again() -> None:
    async with (
        serving(saying_and_closing(OK)) as server,
        Client(credentials(server.url), connections=1) as client,
    ):
        first = await client.send(FOX, [])
        await asyncio.wait_for(server.closed.wait(), 5)
        second = await client.send(FOX, [])
    assert isinstance(first, Reply)
    assert isinstance(second, Reply)
    assert [heard.connection for heard in server.heard] == [1, 2]


# Not sent: no connection stood


async def assert_not_sent(url: str, **options: float) -> Broken:
    reply = await send_once(url, **options)  # type: ignore[arg-type]
    assert isinstance(reply, Broken)
    assert reply.kind == "not_sent", reply
    assert reply.message
    return reply


async def test_a_refused_port_is_not_sent() -> None:
    await assert_not_sent(f"http://127.0.0.1:{free_port()}")


async def test_an_unknown_host_is_not_sent() -> None:
    await assert_not_sent("http://fluxbatch.invalid")


async def test_tls_to_a_server_without_tls_is_not_sent() -> None:
    async with serving(saying_and_closing(b"HTTP/1.1 400 Bad Request\r\n\r\n"), read=False) as server:
        await assert_not_sent(server.url.replace("http:", "https:"))


async def test_a_hanging_handshake_is_not_sent_at_the_deadline() -> None:
    async with serving(silent, read=False) as server:
        reply = await assert_not_sent(server.url.replace("http:", "https:"), deadline_s=0.3)
    assert reply.latency_s < 3


async def test_a_hanging_handshake_is_not_sent_at_the_connect_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "CONNECT_S", 0.3)
    async with serving(silent, read=False) as server:
        reply = await assert_not_sent(server.url.replace("http:", "https:"))
    assert reply.latency_s < 3


async def test_a_request_without_a_free_connection_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "CONNECT_S", 0.3)
    async with (
        serving(silent) as server,
        Client(credentials(server.url), connections=1, deadline_s=2.0) as client,
    ):
        replies = await asyncio.gather(*(client.send(FOX, []) for _ in range(2)))
    assert sorted(reply.kind for reply in replies if isinstance(reply, Broken)) == ["lost", "not_sent"]
    assert len(server.heard) == 1


# Lost: the connection stood, and no whole answer came

HALF_LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 500
HALF_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n" + b"x" * 500
LOSSES = {
    "closed after reading": saying_and_closing(b""),
    "reset after reading": resetting,
    "half a status line": saying_and_closing(b"HTTP/1.1 20"),
    "half of the headers": saying_and_closing(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "half of a sized body": saying_and_closing(HALF_LENGTH),
    "half of a chunked body": saying_and_closing(HALF_CHUNKED),
    "reset in the body": None,
    "not HTTP": saying_and_closing(b"\x00\x01\x02 hello\r\n\r\n"),
    "a header line without end": saying_and_closing(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n"),
    "a bad chunk size": saying_and_closing(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    "a bad length": saying_and_closing(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"),
    "a reason that is no text": saying_and_closing(b"HTTP/1.1 200 \xff\xfe\r\nContent-Length: 0\r\n\r\n"),
}


async def reset_in_the_body(writer: asyncio.StreamWriter) -> None:
    writer.write(HALF_LENGTH)
    await writer.drain()
    await asyncio.sleep(0.05)  # or the reset would overtake the bytes
    await resetting(writer)


@pytest.mark.parametrize("loss", LOSSES)
async def test_what_breaks_after_the_connection_stood_is_lost(loss: str) -> None:
    async with serving(LOSSES[loss] or reset_in_the_body) as server:
        reply = await send_once(server.url)
    assert isinstance(reply, Broken)
    assert reply.kind == "lost"
    assert reply.message
    assert len(server.heard) == 1


@pytest.mark.parametrize("answer", [saying_and_closing(b""), resetting], ids=["closed", "reset"])
async def test_a_connection_that_ends_before_the_body_was_read_is_lost(answer: Answer) -> None:
    async with serving(answer, read=False) as server:
        reply = await send_once(server.url, images=(b"x" * 20_000_000,))
    assert isinstance(reply, Broken)
    assert reply.kind == "lost"


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\n", HALF_LENGTH], ids=["nothing", "status", "half a body"])
async def test_a_server_that_hangs_is_lost_at_the_deadline(start: bytes) -> None:
    async def hanging(writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        await silent(writer)

    async with serving(hanging) as server:
        reply = await send_once(server.url, deadline_s=0.4)
    assert isinstance(reply, Broken)
    assert (reply.kind, reply.message) == ("lost", "no whole answer within 0.4 s")
    assert 0.4 <= reply.latency_s < 2


async def test_a_server_that_drips_is_lost_at_the_deadline() -> None:
    async def dripping(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with serving(dripping) as server:
        reply = await send_once(server.url, deadline_s=0.5)
    assert isinstance(reply, Broken)
    assert reply.kind == "lost"
    assert reply.latency_s < 2


async def test_an_answer_before_the_body_was_read_is_heard() -> None:
    raw = b"HTTP/1.1 413 Payload Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig"
    async with serving(saying(raw), read=False) as server:
        reply = await send_once(server.url, images=(b"x" * 20_000_000,))
    assert isinstance(reply, Reply)
    assert (reply.status, reply.body) == (413, b"big")


# Bounds


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1001,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"200\r\n" + b"x" * 512 + b"\r\n",
    ],
    ids=["sized", "endless"],
)
async def test_a_body_beyond_the_cap_is_dropped_and_its_connection_with_it(
    raw: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "BODY_BYTES_MAX", 1000)

    async def pouring(writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        while b"chunked" in raw:
            writer.write(b"200\r\n" + b"x" * 512 + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0)

    async with serving(pouring) as server:
        reply = await send_once(server.url)
        await asyncio.wait_for(server.closed.wait(), 5)
    assert isinstance(reply, Reply)
    assert (reply.status, reply.oversized, reply.body) == (200, True, b"")


async def test_a_body_of_exactly_the_cap_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "BODY_BYTES_MAX", 1000)
    async with serving(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000)) as server:
        reply = await send_once(server.url)
    assert isinstance(reply, Reply)
    assert (reply.oversized, len(reply.body)) == (False, 1000)


@pytest.mark.parametrize("start", [b"", HALF_LENGTH], ids=["waiting", "reading"])
async def test_a_cancellation_passes_through_at_once_and_closes_the_connection(start: bytes) -> None:
    async def hanging(writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        arrived.set()
        await writer.drain()

    arrived = asyncio.Event()
    async with serving(hanging) as server, Client(credentials(server.url), connections=1) as client:
        sending = asyncio.create_task(client.send(FOX, []))
        await arrived.wait()
        await asyncio.sleep(0.05)  # let the client read what there is
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(sending, 1)
        await asyncio.wait_for(server.closed.wait(), 1)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.one_of(
        st.binary(max_size=200),
        st.tuples(st.integers(0, 999), st.binary(max_size=30), st.binary(max_size=60), st.binary(max_size=60)).map(
            lambda t: b"HTTP/1.1 %d %s\r\n%s\r\nContent-Length: %d\r\n\r\n%s" % (t[0], t[1], t[2], len(t[3]), t[3])
        ),
    )
)
def test_no_answer_whatever_its_bytes_makes_the_client_raise(raw: bytes) -> None:
    async def exchange() -> Reply | Broken:
        async with serving(saying_and_closing(raw)) as server:
            return await send_once(server.url, deadline_s=2.0)

    reply = asyncio.run(exchange())
    assert isinstance(reply, Reply) or reply.kind == "lost"


# Around it


def test_the_token_never_shows() -> None:
    assert TOKEN not in repr(credentials("https://x.example"))
    assert TOKEN not in str(credentials("https://x.example"))


@pytest.mark.parametrize(
    ("account", "token", "url"),
    [
        ("", TOKEN, "https://x.example"),
        ("a/../b", TOKEN, "https://x.example"),
        (ACCOUNT, "", "https://x.example"),
        (ACCOUNT, "abc\n", "https://x.example"),
        (ACCOUNT, "tökén", "https://x.example"),
        (ACCOUNT, TOKEN, "ftp://x.example"),
        (ACCOUNT, TOKEN, "x.example"),
    ],
)
def test_credentials_that_cannot_be_sent_are_refused(account: str, token: str, url: str) -> None:
    with pytest.raises(UsageError, match="CLOUDFLARE_"):
        Credentials(account, SecretStr(token), url)


async def test_a_client_that_is_not_open_says_so() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await Client(credentials("http://127.0.0.1:1"), connections=1).send(FOX, [])


def listing(body: bytes, status: int = 200) -> Answer:
    return saying(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))


async def preflight(url: str) -> object:
    async with Client(credentials(url), connections=1, deadline_s=2) as client:
        return await client.preflight(FLUX_2_DEV)


async def test_preflight_asks_for_the_model_and_is_content_when_it_is_listed() -> None:
    body = b'{"success":true,"result":[{"id":"1","name":"@cf/black-forest-labs/flux-2-dev"}]}'
    async with serving(listing(body)) as server:
        assert await preflight(server.url) is None
    assert server.heard[0].line == (f"GET /client/v4/accounts/{ACCOUNT}/ai/models/search?search=flux-2-dev HTTP/1.1")
    assert server.heard[0].headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b'{"success":true,"result":[]}', "model"),
        (404, b'{"success":false,"errors":[{"code":7003,"message":"no route"}],"result":null}', "account"),
        (401, b'{"success":false,"errors":[{"code":10000,"message":"Authentication error"}]}', "token"),
        (403, b'{"success":false,"errors":[{"code":10000,"message":"Authentication error"}]}', "token"),
    ],
)
async def test_preflight_says_what_is_in_the_way(status: int, body: bytes, kind: str) -> None:
    async with serving(listing(body, status)) as server:
        outcome = await preflight(server.url)
    assert isinstance(outcome, Fatal)
    assert outcome.kind == kind
    assert outcome.remedy


async def test_preflight_passes_on_that_nobody_answered() -> None:
    assert isinstance(await preflight(f"http://127.0.0.1:{free_port()}"), NotSent)
    async with serving(saying_and_closing(b"")) as server:
        assert isinstance(await preflight(server.url), Lost)


async def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with serving(saying(OK)) as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        reply = await send_once("http://api.example/v4")
    assert isinstance(reply, Reply)
    assert proxy.heard[0].line.startswith("POST http://api.example/v4/accounts/")


async def test_a_proxy_that_refuses_the_tunnel_means_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with serving(saying(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")) as proxy:
        monkeypatch.setenv("https_proxy", f"me:secret@127.0.0.1:{proxy.port}")
        reply = await assert_not_sent("https://api.example/v4")
    assert proxy.heard[0].line.startswith("CONNECT api.example:443 ")
    assert proxy.heard[0].headers["proxy-authorization"] == "Basic bWU6c2VjcmV0"
    assert "authorization" not in proxy.heard[0].headers
    assert "secret" not in reply.message


async def test_this_machine_is_reached_without_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    async with serving(saying(OK)) as server:
        assert isinstance(await send_once(server.url), Reply)


def test_a_proxy_that_cannot_be_one_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("https_proxy", "gopher://x")
    with pytest.raises(UsageError, match="HTTPS_PROXY"):
        asyncio.run(send_once("https://api.example/v4"))


def certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS for 127.0.0.1 that no one has signed, and its certificate."""
    from datetime import UTC, datetime, timedelta
    from ipaddress import IPv4Address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(*plain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context, folder / "cert.pem"


async def test_a_certificate_that_nobody_vouches_for_is_not_sent_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, trusted = certificate(tmp_path)
    async with serving(saying(OK), tls=context) as server:
        await assert_not_sent(server.url.replace("http:", "https:"))
        assert server.heard == []
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        assert isinstance(await send_once(server.url.replace("http:", "https:")), Reply)
