"""An S3 server on loopback (moto's), which notes every request, refuses what it is told to, and can kill who asks.

A store is looked at from outside through `Bucket.at`, a place with a file system of its own: nothing of the
environment's.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import unquote

from moto.server import ThreadedMotoServer
from pyarrow import fs

from fluxbatch.dataset.objects import ObjectPath

KEY_ID, SECRET = "AKIASTOREKITNOTREAL1", "a-secret-that-must-not-be-seen-anywhere"
REFUSALS = {
    403: ("403 Forbidden", "AccessDenied", "Access Denied"),
    500: ("500 Internal Server Error", "InternalError", "We encountered an internal error."),
    503: ("503 Slow Down", "SlowDown", "Reduce your request rate."),
    400: ("400 Bad Request", "ExpiredToken", "The provided token has expired."),
    401: ("403 Forbidden", "InvalidAccessKeyId", f"The key {KEY_ID} with {SECRET} does not exist."),
    301: ("301 Moved Permanently", "PermanentRedirect", "The bucket is in another region."),
}


@dataclass(frozen=True, slots=True)
class Call:
    """A request: `name` is the object's, below the bucket; `body_bytes` what it carries; `has_trailer`: with a checksum
    behind it, which R2 and others do not know."""

    method: str
    bucket: str
    name: str
    query: str
    body_bytes: int
    has_trailer: bool = False

    def is_a(self, method: str, ending: str) -> bool:
        return self.method == method and self.name.endswith(ending)


Which = Callable[[Call], bool]


def a_put(ending: str) -> Which:
    """What makes an object with this ending visible: a put, or the end of an upload in pieces."""
    return lambda call: (
        call.name.endswith(ending)
        and ((call.method == "PUT" and not call.query) or (call.method == "POST" and call.query.startswith("uploadId")))
    )


def a_removal(ending: str) -> Which:
    return lambda call: call.is_a("DELETE", ending)


@dataclass
class Strike:
    """Kill the process `pid` when it asks for something the so-many-th time, before or after it is done."""

    which: Which
    passing: int
    is_done_first: bool
    pid: int | None = None
    passed: int = 0
    has_struck: bool = False
    ready: threading.Event = field(default_factory=threading.Event)
    counting: threading.Lock = field(default_factory=threading.Lock)

    def aim(self, pid: int) -> None:
        self.pid = pid
        self.ready.set()

    def is_due(self, call: Call) -> bool:
        if not self.which(call):
            return False
        with self.counting:
            self.passed += 1
            return self.passed == self.passing

    def strike(self) -> None:
        assert self.ready.wait(30)
        assert self.pid is not None
        os.kill(self.pid, signal.SIGKILL)
        self.has_struck = True


class S3Server:
    """`calls` are all requests since `forget`; `refused` says what is answered with which status."""

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self.calls: list[Call] = []
        self.refused: list[tuple[Which, int]] = []
        self.strikes: list[Strike] = []
        self._one = threading.Lock()

    def __enter__(self) -> Self:
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.endpoint = f"http://{host}:{port}"
        self._app: Any = self._server._server.app  # type: ignore[union-attr]
        self._server._server.app = self._answer  # type: ignore[union-attr]
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def file_system(self) -> fs.S3FileSystem:
        return fs.S3FileSystem(
            access_key=KEY_ID, secret_key=SECRET, region="us-east-1", endpoint_override=self.endpoint,
            allow_bucket_creation=True, allow_delayed_open=True, background_writes=False,
        )  # fmt: skip

    def forget(self) -> None:
        self.calls.clear()
        self.refused.clear()
        self.strikes.clear()

    def count(self, which: Which) -> int:
        return sum(which(call) for call in self.calls)

    @contextmanager
    def refusing(self, which: Which, status: int) -> Iterator[None]:
        self.refused.append((which, status))
        try:
            yield
        finally:
            self.refused.remove((which, status))

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        bucket, _, name = unquote(environ["PATH_INFO"]).lstrip("/").partition("/")
        size = int(environ.get("HTTP_X_AMZ_DECODED_CONTENT_LENGTH") or environ.get("CONTENT_LENGTH") or 0)
        query, has_trailer = environ.get("QUERY_STRING", ""), "HTTP_X_AMZ_TRAILER" in environ
        call = Call(environ["REQUEST_METHOD"], bucket, name, query, size, has_trailer)
        self.calls.append(call)
        for which, status in list(self.refused):
            if which(call):
                return _refusal(environ, start, status)
        due = [strike for strike in self.strikes if strike.is_due(call)]
        for strike in due:
            if not strike.is_done_first:
                strike.strike()
                return _refusal(environ, start, 503)
        with self._one:  # moto's objects are not made for threads
            answer = list(self._app(environ, start))
        for strike in due:
            strike.strike()
        return answer


def _refusal(environ: dict[str, Any], start: Callable[..., Any], status: int) -> list[bytes]:
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    line, code, message = REFUSALS[status]
    start(line, [("Content-Type", "application/xml")])
    return [f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()]


@dataclass(frozen=True)
class Bucket:
    """A bucket of its own for a test. `variables` is what the environment of a command has to say."""

    server: S3Server
    name: str
    files: fs.S3FileSystem

    @classmethod
    def new(cls, server: S3Server, name: str) -> Bucket:
        files = server.file_system()
        files.create_dir(name)
        server.forget()
        return cls(server, name, files)

    def at(self, prefix: str) -> ObjectPath:
        return ObjectPath("s3", f"{self.name}/{prefix}", self.files)

    @property
    def variables(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.server.endpoint,
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def objects(self, prefix: str = "") -> dict[str, int]:
        """Name and size of every object; what pyarrow puts for a folder is none."""
        found = self.files.get_file_info(fs.FileSelector(f"{self.name}/{prefix}".rstrip("/"), recursive=True))
        start = len(self.name) + 1
        return {one.path[start:]: one.size for one in found if one.type == fs.FileType.File}
