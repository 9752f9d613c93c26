"""A Cloudflare that repeats what it is told: every failure quotes the request, its headers and its prompt."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.hostile.makers import answer_of, painted

_PROMPT = re.compile(rb'name="prompt"\r\n\r\n(.*?)\r\n--', re.DOTALL)
_CODES = {"401": 10000, "405": 7001, "400": 3030, "500": 3043, "429": 3021, "424": 4002, "408": 3046, "413": 3006}
_ASKED = re.compile(r"say:([a-z0-9-]+)")


class Parrot(BaseHTTPRequestHandler):
    """Answers as the prompt says: `say:401`, `say:500`, … ; `say:closed` closes, `say:fine` makes a picture."""

    protocol_version = "HTTP/1.1"
    heard: list[str]

    def do_GET(self) -> None:
        self._say(200, b'{"success":true,"result":[{"name":"@cf/black-forest-labs/flux-2-dev"}]}')

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        found = _PROMPT.search(body)
        assert found is not None
        prompt = found[1].decode()
        asked = _ASKED.search(prompt)
        wanted = asked[1] if asked else "fine"
        self.server.heard.append(wanted)  # type: ignore[attr-defined]
        if wanted == "fine":
            self._say(200, answer_of(painted("jpeg", 256, 256)))
        elif wanted == "closed":
            self.close_connection = True
        elif wanted == "page":
            self._say(502, f"<html><title>{self._token} {prompt} {self.headers}</title></html>".encode())
        else:
            self._say(
                int(wanted), self._error(_CODES.get(wanted), f"{self._token} failed with {prompt} and {self.headers}")
            )

    @property
    def _token(self) -> str:
        return self.headers["authorization"].removeprefix("Bearer ")

    def _error(self, code: int | None, message: str) -> bytes:
        return json.dumps({"success": False, "result": None, "errors": [{"code": code, "message": message}]}).encode()

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.send_header("cf-ray", self.headers["authorization"])
        self.send_header("cf-ai-req-id", self._token)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Nothing on the terminal."""


@contextmanager
def parroting() -> Iterator[tuple[str, list[str]]]:
    """Its base URL, and what it was asked to say."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Parrot) as server:
        server.heard = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/client/v4", server.heard  # type: ignore[attr-defined]
        finally:
            server.shutdown()
            thread.join()
