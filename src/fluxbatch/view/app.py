"""The addresses, and what every answer carries: nothing comes from elsewhere, nothing goes there.

It is bound to loopback, and that alone keeps no web page out: a browser that shows one would ask for it. So whoever
asks by another name is refused (DNS rebinding), and whoever asks from another page's scripts or pictures.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib.resources import files

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fluxbatch.errors import FluxbatchError, UsageError
from fluxbatch.view.pages import Page, list_page, picture_page, trouble_page
from fluxbatch.view.pictures import Pictures, media_type
from fluxbatch.view.question import Question
from fluxbatch.view.seen import KEY_DIGITS
from fluxbatch.view.viewed import Viewed, Viewer

HOSTS = ("127.0.0.1", "localhost")
SECURITY = {
    "content-security-policy": "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "private, no-cache",
}
"""`no-cache`: kept by the browser, and asked for again by its tag, for the next dataset may have the same address."""

FIXED = {
    "/report.css": ("fluxbatch.report", "text/css"),
    "/opened.js": ("fluxbatch.report", "text/javascript"),
    "/view.css": ("fluxbatch.view", "text/css"),
    "/icon.svg": ("fluxbatch.view", "image/svg+xml"),
}
_KEY = re.compile(f"[0-9a-f]{{{KEY_DIGITS}}}")

Answer = Callable[[Viewed, int], Response]


def create_app(viewer: Viewer) -> Starlette:
    """GET and HEAD of pages and pictures, all read from the dataset; nothing else of the disk has an address."""
    site = _Site(viewer)
    routes = [
        Route("/", site.list, methods=["GET"]),
        Route("/picture/{key}", site.picture, methods=["GET"]),
        Route("/thumbnail/{key}", site.thumbnail, methods=["GET"]),
        Route("/full/{key}", site.full, methods=["GET"]),
        *(Route(path, _fixed, methods=["GET"]) for path in FIXED),
    ]
    middleware = [
        Middleware(_Secured),
        Middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS), www_redirect=False),
        Middleware(_OwnPagesOnly),
    ]
    return Starlette(routes=routes, middleware=middleware, exception_handlers={404: _missing, FluxbatchError: _trouble})


class _Site:
    """What each address answers. Starlette calls these in threads, several at once."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._pictures = Pictures(viewer)

    def list(self, request: Request) -> Response:
        return _html(list_page(self._viewer.now(), Question.of(request.query_params.multi_items())))

    def picture(self, request: Request) -> Response:
        return self._of(request, self._viewer.now(), lambda viewed, number: _html(picture_page(viewed, number)))

    def full(self, request: Request) -> Response:
        key = request.path_params["key"]
        return self._of(request, self._viewer.last(), lambda viewed, number: self._whole(viewed, number, key))

    def thumbnail(self, request: Request) -> Response:
        def answer(viewed: Viewed, number: int) -> Response:
            content = self._pictures.small(viewed, number)
            if content is None:
                return PlainTextResponse("this picture cannot be decoded", 404)
            return Response(content, media_type="image/webp")

        return self._of(request, self._viewer.last(), lambda viewed, number: _tagged(request, viewed, number, answer))

    def _whole(self, viewed: Viewed, number: int, key: str) -> Response:
        content = self._pictures.full(viewed, number)
        kind, suffix = media_type(content)
        shown = "inline" if kind.startswith("image/") else "attachment"
        return Response(content, media_type=kind, headers={"content-disposition": f'{shown}; filename="{key}{suffix}"'})

    def _of(self, request: Request, viewed: Viewed, answer: Answer) -> Response:
        """The answer about the picture that the address names, if there is one."""
        key = request.path_params["key"]
        number = viewed.seen.number_of(key) if _KEY.fullmatch(key) else None
        if number is None:
            return _html(trouble_page("No such picture", f"There is no picture {key!r} in this dataset.", 404))
        return answer(viewed, number)


def _tagged(request: Request, viewed: Viewed, number: int, answer: Answer) -> Response:
    """The answer, or only that it is still the one that the browser has."""
    part, row = viewed.name_of(number)
    tag = f'"{part[:32]}-{row}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"etag": tag})
    response = answer(viewed, number)
    response.headers["etag"] = tag
    return response


def _fixed(request: Request) -> Response:
    package, kind = FIXED[request.url.path]
    return Response(_file(package, request.url.path.removeprefix("/")), media_type=kind)


@cache
def _file(package: str, name: str) -> bytes:
    return (files(package) / "templates" / name).read_bytes()


def _html(page: Page) -> Response:
    return HTMLResponse(page.html, page.status)


def _missing(request: Request, error: Exception) -> Response:
    return _html(trouble_page("No such page", "There is no page at this address.", 404))


def _trouble(request: Request, error: Exception) -> Response:
    """What the user can act on: a dataset that is gone, a part that is damaged, a store that does not answer."""
    status = 404 if isinstance(error, UsageError) else 500
    return _html(trouble_page("This cannot be shown", str(error), status))


class _Secured:
    """Every answer carries the headers, also one that refuses."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY)
            await send(message)

        await self._app(scope, receive, send_secured)


class _OwnPagesOnly:
    """A page from elsewhere may link here, and no more: browsers say who asks (w3.org/TR/fetch-metadata)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        is_own = headers.get("sec-fetch-site", "none") in ("same-origin", "none")
        if is_own or (headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"):
            await self._app(scope, receive, send)
        else:
            await PlainTextResponse("asked for by another page", 403)(scope, receive, send)
