"""One request out, one Reply in: bounded in time and size, and sent once. The only file that talks HTTP.

httpx's interface over aiohttp's connection pool. What the two would do by themselves is turned off: no retry, no
redirect, no cookie, no decompression. A POST that may have cost money is never sent twice from here.

Whether a failure is *not sent* or *lost* is not read off the exception: httpx-aiohttp calls a connection that the
server closed after reading the request a ConnectTimeout (it maps ServerDisconnectedError so), and a deadline has one
face before and after. A failure is lost from the moment a connection stands, which aiohttp's tracing tells.
"""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
import time
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import SimpleNamespace, TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import aiohttp
import httpx  # noqa: TID251  # this is the one place
from httpx_aiohttp import AiohttpTransport
from pydantic import SecretStr

from fluxbatch.cloudflare.answer import picture_type
from fluxbatch.cloudflare.outcome import Broken, Outcome, Reply, read_preflight
from fluxbatch.cloudflare.redact import REDACTED, plain, redact
from fluxbatch.cloudflare.when import date_of
from fluxbatch.cloudflare.wire import body_of
from fluxbatch.errors import UsageError
from fluxbatch.manifest.request import ImageRequest
from fluxbatch.models.catalogue import Model

BODY_BYTES_MAX: Final = 18 * 1024 * 1024
"""The largest picture (answer.PICTURE_BYTES_MAX) in base64, and what stands beside it."""
PIECE_BYTES: Final = 256 * 1024
CONNECT_S: Final = 15.0
DEADLINE_S: Final = 300.0
"""Above the 237 s at which the platform itself ends a request (CLOUDFLARE.md section 4), with room for the transfer."""
KEEPALIVE_S: Final = 15.0
"""Shorter than servers keep an idle connection, so that hardly a request goes out on one that is being closed: such a
request is lost, and a lost request may have been billed."""
PREFLIGHT_S: Final = 30.0

_WORLD = (httpx.HTTPError, aiohttp.ClientError, OSError, UnicodeError)
"""What the network and the other side can cause; TimeoutError and ssl.SSLError are OSErrors. UnicodeError:
httpx-aiohttp encodes the server's reason phrase, which can hold any byte."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who asks, and where: `base_url` is like https://api.cloudflare.com/client/v4. The token never shows."""

    account_id: str
    token: SecretStr = field(repr=False)
    base_url: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9A-Za-z_-]{1,64}", self.account_id):
            raise UsageError("CLOUDFLARE_ACCOUNT_ID is no account id; it is 32 hexadecimal digits, without spaces")
        if not re.fullmatch(r"[!-~]{1,512}", self.token.get_secret_value()):
            raise UsageError("CLOUDFLARE_API_TOKEN is empty or has spaces or odd characters; copy the token again")
        try:
            parts = urlsplit(self.base_url)
            is_address = parts.scheme in ("https", "http") and bool(httpx.URL(self.base_url).host) and parts.port != 0
            is_address &= self.base_url.isprintable() and " " not in self.base_url
        except (ValueError, httpx.InvalidURL):
            is_address = False
        if not is_address or parts.query or parts.fragment:
            raise UsageError(f"CLOUDFLARE_BASE_URL {plain(redact(self.base_url), 100)!r} is no http(s) address")
        if parts.username is not None or parts.password is not None:
            raise UsageError("CLOUDFLARE_BASE_URL has a user or a password in it; the token is all that is sent")


@dataclass(slots=True)
class _Progress:
    connected: bool = False


_progress: ContextVar[_Progress] = ContextVar("fluxbatch_progress")


class Client:
    """A pool of connections to one account. Open it with `async with`, in the event loop that uses it.

    `connections` has to be at least the number of requests in flight (more would wait `CONNECT_S`, then be not sent);
    `deadline_s` bounds connecting, sending and reading together.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        connections: int,
        deadline_s: float = DEADLINE_S,
        extra_headers: Mapping[str, str] | None = None,
    ) -> None:
        self._base = credentials.base_url.rstrip("/")
        self._root = f"{self._base}/accounts/{credentials.account_id}/ai"
        self._connections = connections
        self._deadline_s = deadline_s
        self._token = credentials.token
        self._headers = {
            **(extra_headers or {}),
            "Authorization": f"Bearer {credentials.token.get_secret_value()}",
            "Accept-Encoding": "identity",
            "User-Agent": "fluxbatch",
        }
        self._http: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        tls, proxy = _tls(self._root), _proxy_for(self._root)
        transport = AiohttpTransport(verify=tls, client=_session(tls, self._connections), proxy=proxy, trust_env=False)
        self._http = httpx.AsyncClient(
            transport=transport,
            headers=self._headers,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            timeout=httpx.Timeout(None, connect=CONNECT_S, pool=CONNECT_S),
            follow_redirects=False,
            trust_env=False,
            event_hooks={"response": [_stay_here]},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http is not None:
            await self._http.aclose()

    async def send(self, asked: ImageRequest, images: Sequence[bytes]) -> Reply | Broken:
        """One POST, sent at most once, with the references as they are to go out. Whatever the world does is a value;
        only our bugs and a cancellation raise."""
        body = body_of(asked, images)
        headers = {"Content-Type": body.content_type, "Content-Length": str(len(body.content))}
        request = self._opened.build_request(
            "POST", f"{self._root}/run/{asked.model.id}", content=_pieces(body.content), headers=headers
        )
        return await self._exchange(request, self._deadline_s)

    async def preflight(self, model: Model) -> Outcome | None:
        """Whether token, account, permission and model will do, without inference and free (CLOUDFLARE.md section 7):
        None, or what is in the way (Fatal, or NotSent, Lost, Failed, Throttled when nobody could say)."""
        return read_preflight(await self._search(model), model, datetime.now(UTC))

    async def server_time(self, model: Model) -> datetime | None:
        """What the platform's clock says, to the second; None when its answer has no readable date."""
        reply = await self._search(model)
        return date_of(reply.headers.get("date", "")[:64]) if isinstance(reply, Reply) else None

    async def analyse(self, query: bytes) -> Reply | Broken:
        """One query (JSON) to the account's GraphQL analytics: free, and counted apart from inference."""
        headers = {"Content-Type": "application/json", "Content-Length": str(len(query))}
        request = self._opened.build_request("POST", f"{self._base}/graphql", content=_pieces(query), headers=headers)
        return await self._exchange(request, min(PREFLIGHT_S, self._deadline_s))

    async def _search(self, model: Model) -> Reply | Broken:
        request = self._opened.build_request("GET", f"{self._root}/models/search", params={"search": model.name})
        return await self._exchange(request, min(PREFLIGHT_S, self._deadline_s))

    @property
    def _opened(self) -> httpx.AsyncClient:
        if self._http is None:
            raise RuntimeError("the client is not open; use `async with Client(...) as client`")
        return self._http

    async def _exchange(self, request: httpx.Request, deadline_s: float) -> Reply | Broken:
        progress = _Progress()
        mark = _progress.set(progress)
        started = time.monotonic()
        try:
            async with asyncio.timeout(deadline_s):
                return await self._answer(request, started)
        except _WORLD as failure:
            kind: Final = "lost" if progress.connected else "not_sent"
            return Broken(kind, self._silenced(_told(failure, deadline_s)), time.monotonic() - started)
        finally:
            _progress.reset(mark)

    async def _answer(self, request: httpx.Request, started: float) -> Reply:
        response = await self._opened.send(request, stream=True)
        try:
            body = await _read(response)
        finally:
            await response.aclose()
        headers = {name: self._silenced(value) for name, value in response.headers.items()}
        heard = self._without_token(body or b"")
        return Reply(response.status_code, headers, heard, time.monotonic() - started, oversized=body is None)

    def _silenced(self, text: str) -> str:
        """The text without the token, should the other side repeat it: `redact` knows shapes, this knows the token."""
        return text.replace(self._token.get_secret_value(), REDACTED)

    def _without_token(self, body: bytes) -> bytes:
        token = self._token.get_secret_value().encode()
        return body if picture_type(body) is not None else body.replace(token, REDACTED.encode())


async def _stay_here(response: httpx.Response) -> None:
    # httpx works out where a redirect leads even when it shall not follow, and raises where that is no address.
    response.headers.pop("location", None)


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    """The body once, in pieces: aiohttp warns of bytes above 1 MiB, and what runs out cannot be sent again."""
    for start in range(0, len(body), PIECE_BYTES):
        yield body[start : start + PIECE_BYTES]


async def _read(response: httpx.Response) -> bytes | None:
    """The body as it came over the wire, or None when it is larger than the cap."""
    chunks = []
    size = 0
    async for chunk in response.aiter_raw():
        size += len(chunk)
        if size > BODY_BYTES_MAX:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _tls(url: str) -> ssl.SSLContext:
    """Certificates are verified. For plain http (the simulator) a context that trusts nobody, and reads no store."""
    secure = urlsplit(url).scheme == "https"
    return httpx.create_ssl_context() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _session(tls: ssl.SSLContext, connections: int) -> aiohttp.ClientSession:
    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(_connection_stands)
    trace.on_connection_reuseconn.append(_connection_stands)
    return aiohttp.ClientSession(
        connector=_Connector(limit=connections, keepalive_timeout=KEEPALIVE_S, ssl=tls),
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[trace],
        trust_env=False,
    )


class _Connector(aiohttp.TCPConnector):
    """aiohttp's pool, without the connections on which something came unasked while they were idle.

    aiohttp would take those bytes for the answer to the next request: a picture in the place of another.
    """

    async def _get(self, key: Any, traces: list[Any]) -> Any:
        while (kept := await super()._get(key, traces)) is not None:
            if kept.protocol is not None and not kept.protocol.should_close:
                return kept
            kept.close()
        return None


async def _connection_stands(session: aiohttp.ClientSession, context: SimpleNamespace, params: object) -> None:
    _progress.get().connected = True


def _proxy_for(url: str) -> httpx.Proxy | None:
    """The proxy that the environment names for this address (HTTPS_PROXY, NO_PROXY); none for this machine itself.

    Read once: aiohttp's own `trust_env` asks a thread for it, and reads ~/.netrc, at every request.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    address = urllib.request.getproxies().get(parts.scheme)
    if not address or host in _LOOPBACK or urllib.request.proxy_bypass(host):
        return None
    try:
        proxy = httpx.Proxy(address if "://" in address else f"http://{address}")
    except ValueError as failure:
        raise UsageError(f"{parts.scheme.upper()}_PROXY cannot be used: {_told(failure, 0)}") from None
    if proxy.auth is None:
        return proxy
    # As a header, because aiohttp's own parameter for it is deprecated.
    credentials = base64.b64encode(":".join(proxy.auth).encode()).decode()
    return httpx.Proxy(proxy.url, headers={"Proxy-Authorization": f"Basic {credentials}"})


def _told(failure: BaseException, deadline_s: float) -> str:
    # httpx-aiohttp renames what aiohttp raised, at times wrongly; the cause has the true name.
    true = failure.__cause__ if isinstance(failure, httpx.HTTPError) and failure.__cause__ else failure
    if isinstance(failure, TimeoutError) and not isinstance(failure, aiohttp.ClientError):
        return f"no whole answer within {deadline_s:g} s"
    text = str(true).strip()
    return plain(redact(f"{type(true).__name__}: {text}" if text else type(true).__name__), 300)
