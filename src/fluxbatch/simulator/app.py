"""The wire: routes, the order of the checks, and what becomes of the connection.

An inference request is read whole, then checked as Cloudflare does: method, token, account, model, rate, body,
capacity. It is a bare ASGI application, because benchmarks send hundreds of requests a second through it.
"""

from __future__ import annotations

import json
from typing import Any, Protocol
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from fluxbatch.simulator.answers import Answer, error_answer
from fluxbatch.simulator.cloud import Platform, Silence, Verdict
from fluxbatch.simulator.control import control_routes
from fluxbatch.simulator.faults import Kind, find_fault
from fluxbatch.simulator.offers import Offer

BASE_PATH = "/client/v4"
QUERY_BYTES_MAX = 100_000
_JSON = (b"content-type", b"application/json")


class Cutter(Protocol):
    """Ends a connection under a request, which ASGI has no word for."""

    def __call__(self, scope: Scope, kind: Kind) -> None: ...


def no_wire(scope: Scope, kind: Kind) -> None:
    """The cutter where there is no socket: the exception is what an in-process client gets to see."""
    raise ConnectionAbortedError(kind.value)


def create_app(platform: Platform, cutter: Cutter = no_wire) -> Starlette:
    """The whole application over one platform."""
    wire = _Wire(platform, cutter)
    return Starlette(
        routes=[
            Route(BASE_PATH + "/accounts/{account}/ai/run/{model:path}", _Inference(wire)),
            Route(BASE_PATH + "/accounts/{account}/ai/models/search", _ModelSearch(wire)),
            Route(BASE_PATH + "/graphql", _Analytics(wire)),
            *control_routes(platform),
            Route("/{anything:path}", _Nowhere(wire)),
        ]
    )


class _Wire:
    """Reading and answering, common to all routes."""

    def __init__(self, platform: Platform, cutter: Cutter) -> None:
        self.platform = platform
        self._cutter = cutter

    def unauthorized(self, scope: Scope, headers: dict[bytes, bytes]) -> str | None:
        """The fault of a bad token, or of a bad account where the address names one, or None."""
        settings = self.platform.settings
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or token.strip() != settings.token.encode():
            return "10000"
        return None if scope["path_params"].get("account", settings.account) == settings.account else "7003"

    async def answer(self, send: Send, answer: Answer, request_id: str, half: bool = False) -> None:
        ids = (b"cf-ai-req-id", request_id.encode()), (b"cf-ray", request_id.replace("-", "")[:16].encode() + b"-SIM")
        length = (b"content-length", b"%d" % len(answer.body))
        await send({"type": "http.response.start", "status": answer.status, "headers": [*answer.headers, length, *ids]})
        body = answer.body[: len(answer.body) // 2] if half else answer.body
        await send({"type": "http.response.body", "body": body, "more_body": half})

    async def fall_silent(self, scope: Scope, receive: Receive, send: Send, silence: Silence, request_id: str) -> None:
        if silence.answer is not None:
            await self.answer(send, silence.answer, request_id, half=True)
        if silence.kind is not Kind.HANG:
            self._cutter(scope, silence.kind)
        while (await receive())["type"] != "http.disconnect":
            pass


class _Inference:
    """POST accounts/{account}/ai/run/{model}."""

    def __init__(self, wire: _Wire) -> None:
        self._wire = wire
        self._platform = wire.platform

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        platform = self._platform
        request_id = platform.new_request_id()
        platform.traffic.arrived(platform.elapsed_s)
        try:
            verdict = await self._verdict(scope, receive, request_id)
            if verdict is None:
                platform.traffic.disconnects += 1
                return
            platform.traffic.answers[verdict.label] += 1
            if isinstance(verdict, Silence):
                await self._wire.fall_silent(scope, receive, send, verdict, request_id)
            else:
                await self._wire.answer(send, verdict, request_id)
        finally:
            platform.traffic.in_flight -= 1

    async def _verdict(self, scope: Scope, receive: Receive, request_id: str) -> Verdict | None:
        """None when the client left before its request was complete."""
        body_bytes_max = self._platform.settings.body_bytes_max
        body = await _read_body(receive, body_bytes_max)
        if body is None:
            return None
        headers = dict(scope["headers"])
        name = scope["path_params"]["model"]
        # Only full ids have a route; the short names are the client's own.
        offer = self._platform.settings.find_offer(name) if name.startswith("@") else None
        if fault := self._misdirected(scope, headers, offer) or ("3006" if len(body) > body_bytes_max else None):
            return error_answer(find_fault(fault), request_id)
        assert offer is not None
        return await self._platform.infer(request_id, offer, headers.get(b"content-type", b""), body)

    def _misdirected(self, scope: Scope, headers: dict[bytes, bytes], offer: Offer | None) -> str | None:
        if scope["method"] != "POST":
            return "7001"
        if fault := self._wire.unauthorized(scope, headers):
            return fault
        if offer is None:
            return "5007" if scope["path_params"]["model"].startswith("@") else "7000"
        return None


class _ModelSearch:
    """GET accounts/{account}/ai/models/search?search=…: the free pre-flight."""

    def __init__(self, wire: _Wire) -> None:
        self._wire = wire

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = self._wire.platform.new_request_id()
        fault = "7001" if scope["method"] != "GET" else self._wire.unauthorized(scope, dict(scope["headers"]))
        if fault:
            answer = error_answer(find_fault(fault), request_id)
        else:
            wanted = parse_qs(scope["query_string"].decode("ascii", "replace")).get("search", [""])[0]
            offers = self._wire.platform.settings.offers
            answer = _models_answer([offer for offer in offers if wanted.lower() in offer.id])
        await self._wire.answer(send, answer, request_id)


class _Analytics:
    """POST graphql: what was billed. A bad token is refused as everywhere, all else in GraphQL's own form."""

    def __init__(self, wire: _Wire) -> None:
        self._wire = wire

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        platform = self._wire.platform
        request_id = platform.new_request_id()
        body = await _read_body(receive, QUERY_BYTES_MAX)
        if body is None:
            return
        fault = "7001" if scope["method"] != "POST" else self._wire.unauthorized(scope, dict(scope["headers"]))
        if fault is None and len(body) > QUERY_BYTES_MAX:
            fault = "3006"
        answer = error_answer(find_fault(fault), request_id) if fault else platform.analyse(body)
        await self._wire.answer(send, answer, request_id)


class _Nowhere:
    """Any other address."""

    def __init__(self, wire: _Wire) -> None:
        self._wire = wire

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = self._wire.platform.new_request_id()
        await self._wire.answer(send, error_answer(find_fault("7000"), request_id), request_id)


def _models_answer(offers: list[Offer]) -> Answer:
    task = {"name": "Text-to-Image"}
    found = [{"name": offer.id, "description": f"simulated {offer.name}", "task": task} for offer in offers]
    info = {"count": len(found), "page": 1, "per_page": 20, "total_count": len(found)}
    body: dict[str, Any] = {"success": True, "result": found, "errors": [], "messages": [], "result_info": info}
    return Answer(200, [_JSON], json.dumps(body).encode(), "200")


async def _read_body(receive: Receive, bytes_max: int) -> bytes | None:
    """The whole body; its beginning if it is over the maximum, the rest being read and dropped; None if cut off."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunk = message.get("body", b"")
        if size <= bytes_max:
            chunks.append(chunk)
        size += len(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)
