"""`fluxbatch view` on loopback for a test, and what it answers on the wire."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pyarrow as pa

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.place import Place
from fluxbatch.view.serve import HOST, Server
from tests.query.query_kit import dataset_of

OWN = pa.table({"style": ["ink", "oil", "ink", "oil", "ink", "oil"], "weight": [1, 2, 1, 2, 3, 3]})

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"\' onmouseover=alert(1) x="',
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "<!--<script>",
    "line\r\nbreak\x00\x1b[31m\u202e",
    "=1+1",
    "]]>&lt;&amp;\u2028",
)


def six(where: Place, **asking: Any) -> Dataset:
    """Two parts of three pictures, in two styles."""
    return dataset_of(where, (3, 3), own=OWN, **asking)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def page(self) -> Seen:
        return Seen.of(self.text)


@contextmanager
def served(folder: Place) -> Iterator[str]:
    """The address of a server over this dataset, for the block."""
    ready = threading.Event()
    server = Server(folder, 0, lambda address: ready.set())
    thread = threading.Thread(target=server.serve_here)
    thread.start()
    try:
        assert ready.wait(30)
        yield server.address
    finally:
        server.should_exit = True
        thread.join()


def ask(address: str, path: str = "/", method: str = "GET", **headers: str) -> Answer:
    """One request; the path goes out as it is, headers with `_` for `-`."""
    connection = HTTPConnection(HOST, int(address.rpartition(":")[2]), timeout=30)
    try:
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, found, answer.read())
    finally:
        connection.close()


@dataclass
class Seen(HTMLParser):
    """What a browser makes of a page: its elements, its text and what its links and forms say."""

    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, text: str) -> Seen:
        page = cls()
        HTMLParser.__init__(page)
        page.feed(text)
        page.close()
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.pieces).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def shown(self) -> list[str]:
        """The prompts of the pictures that are shown, in order."""
        return [one["alt"] for one in self.all("img") if one.get("src", "").startswith("/thumbnail/")]

    @property
    def keys(self) -> list[str]:
        return [
            match[1]
            for one in self.all("img")
            if (match := re.fullmatch(r"/thumbnail/([0-9a-f]{64})", one.get("src", "")))
        ]

    def link(self, **attributes: str) -> str:
        """Where the link with these attributes goes."""
        [found] = {a["href"] for a in self.all("a") if attributes.items() <= a.items()}
        return found

    @property
    def links(self) -> list[str]:
        return [one["href"] for one in self.all("a")]


def part_files(dataset: Dataset) -> list[Path]:
    return [Path(str(dataset.path(part))) for part in dataset.parts]
