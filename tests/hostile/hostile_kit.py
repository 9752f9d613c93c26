"""The corpus, a server that says exactly what a file says, and what every answer has to hold.

A story is a file: what has to come of it, a line of three dashes, and the answer as it goes over the wire. In the head
of the answer a line ends in CRLF though the file has LF (unless `ends: exact`), `<<length>>` is the length of the body,
and `<<name words>>` is what `makers.py` makes of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pydantic import SecretStr

from fluxbatch.cloudflare.client import Client, Credentials
from fluxbatch.cloudflare.outcome import Broken, Outcome, Reply
from tests.hostile.makers import PIECE_BYTES, Flow, Made, answer_of, expanded, painted

ANSWERS = Path(__file__).parent / "answers"
NOW = datetime(2026, 11, 22, 18, 30, tzinfo=UTC)
TOKEN = "cfut_HostileCanary0123456789abcdefghijklmnop"
ACCOUNT = "0123456789abcdef0123456789abcdef"
WAYS = {"keep", "close", "reset", "hang", "drip", "early", "late", "unread", "silent", "pause"}
DEADLINE_S = 0.4
"""For the stories in which nothing more comes."""
PATIENT_S = 20.0


@dataclass(frozen=True)
class Story:
    """One file. `told` is what has to come of it; `ways` is how the server behaves; `answer` is not made yet."""

    name: str
    told: dict[str, str]
    answer: bytes

    @property
    def ways(self) -> set[str]:
        return set(self.told.get("how", "keep").split())

    @property
    def deadline_s(self) -> float:
        return DEADLINE_S if self.ways & {"hang", "silent"} else PATIENT_S

    def made(self) -> list[Made]:
        """The answer as it goes over the wire."""
        if self.told.get("ends") == "exact":
            return expanded(self.answer)
        head, blank, body = self.answer.partition(b"\n\n")
        parts = expanded(body)
        length = sum(part.length if isinstance(part, Flow) else len(part) for part in parts)
        said = [part for part in expanded(head.replace(b"<<length>>", b"%d" % length)) if isinstance(part, bytes)]
        lines = b"".join([*said, blank]).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        return [lines, *parts]


def pieces_of(parts: Iterable[Made]) -> Iterator[bytes]:
    """In pieces that are small, so that what is on its way takes no memory."""
    for part in parts:
        if isinstance(part, Flow):
            yield from part.pieces()
        else:
            yield from (part[start : start + PIECE_BYTES] for start in range(0, len(part), PIECE_BYTES))


def stories() -> list[Story]:
    """The whole corpus, in the order of the names."""
    return [read_story(path) for path in sorted(ANSWERS.glob("*.http"))]


def read_story(path: Path) -> Story:
    prologue, _, answer = path.read_bytes().partition(b"\n---\n")
    lines = (line for line in prologue.decode().splitlines() if line and not line.startswith("#"))
    told = {key.strip(): value.strip() for key, value in (line.split(":", 1) for line in lines)}
    assert set(told.get("how", "keep").split()) <= WAYS, path
    return Story(path.stem, told, answer)


def sound_answer(number: int) -> bytes:
    """A good answer that names itself: it must be the answer to the request that asked for it."""
    body = answer_of(painted("jpeg"))
    lines = ("HTTP/1.1 200 OK", "cf-ai-neurons: 37.50", f"cf-ai-req-id: sound-{number}", f"content-length: {len(body)}")
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode() + body


@dataclass
class Stage:
    """The server: says the story that is on, and to every other request the sound answer (or what is `raw`)."""

    port: int = 0
    story: Story | None = None
    parts: list[Made] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    number: int = 0
    requests: list[str] = field(default_factory=list)
    late: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/client/v4"

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                length = await self._head(reader)
                story, self.story = self.story, None
                if story is None or not story.ways & {"early", "unread"}:
                    await reader.readexactly(length)
                if story is None:
                    writer.write(self.raw.pop() if self.raw else sound_answer(self.number))
                    await writer.drain()
                elif not await self._tell(story, reader, writer, length):
                    return
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    async def _head(self, reader: asyncio.StreamReader) -> int:
        """Read the head of a request; how long its body is."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        self.requests.append(head.split("\r\n")[0])
        return int(next(line for line in head.split("\r\n") if line.startswith("content-length:")).split(":")[1])

    async def _tell(
        self, story: Story, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, length: int
    ) -> bool:
        """Say the story; whether the connection goes on."""
        for piece in pieces_of(self.parts):
            await self._say(piece, writer, "drip" in story.ways)
        if "early" in story.ways and "close" not in story.ways:
            await reader.readexactly(length)
        if "late" in story.ways:  # once more, when the first has been read
            self.late.append(asyncio.create_task(self._again(story, writer)))
        if story.ways & {"hang", "silent", "unread"}:
            await reader.read()
            return False
        if "reset" in story.ways:
            raw: socket.socket = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        return not story.ways & {"close", "reset"}

    async def _say(self, piece: bytes, writer: asyncio.StreamWriter, drip: bool) -> None:
        if not drip:
            writer.write(piece)
            await writer.drain()
            return
        for index in range(len(piece)):
            writer.write(piece[index : index + 1])
            await asyncio.sleep(0)

    async def _again(self, story: Story, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.05)
        with contextlib.suppress(OSError):
            for piece in pieces_of(self.parts):
                writer.write(piece)


@contextlib.asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    stage = Stage()
    listener = await asyncio.start_server(stage.converse, "127.0.0.1", 0)
    stage.port = listener.sockets[0].getsockname()[1]
    try:
        yield stage
    finally:
        listener.close()
        for task in stage.late:
            task.cancel()


def client_of(stage: Stage, deadline_s: float) -> Client:
    return Client(Credentials(ACCOUNT, SecretStr(TOKEN), stage.url), connections=2, deadline_s=deadline_s)


class Memory:
    """How far the process's memory grows over its start, C libraries included (Linux keeps the peak)."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts anew from here
        self._before = _status("VmRSS")

    def grown_bytes(self) -> int:
        return max(0, _status("VmHWM") - self._before)


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"/proc/self/status has no {name}")


@dataclass
class Cost:
    """What one answer took: CPU seconds of this process (server and client), and bytes of memory at the peak."""

    cpu_s: float = 0.0
    grown_bytes: int = 0


@contextlib.contextmanager
def measured() -> Iterator[Cost]:
    cost, memory, before = Cost(), Memory(), time.process_time()
    yield cost
    cost.cpu_s = time.process_time() - before
    cost.grown_bytes = memory.grown_bytes()


def kind_of(outcome: Outcome | Reply | Broken) -> str:
    return type(outcome).__name__
