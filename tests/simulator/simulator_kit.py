"""What the simulator's tests share: a form built by hand, a client without a socket, a clock that is told the time."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from collections.abc import Mapping
from io import BytesIO

import httpx  # noqa: TID251 - tests talk to the simulator with it
from PIL import Image  # noqa: TID251 - tests look at its pictures

from fluxbatch.simulator import SIMULATOR_ACCOUNT_ID, SIMULATOR_TOKEN, SimulatorSettings
from fluxbatch.simulator.app import create_app
from fluxbatch.simulator.cloud import Platform

MODEL = "@cf/black-forest-labs/flux-2-dev"
RUN = f"/accounts/{SIMULATOR_ACCOUNT_ID}/ai/run/{MODEL}"
BOUNDARY = "simulator-test"
AUTHORIZATION = {"Authorization": f"Bearer {SIMULATOR_TOKEN}"}
FORM_HEADERS = AUTHORIZATION | {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
SMALL = {"width": 256, "height": 256, "steps": 4}
PIXEL = b"\x89PNG\r\n\x1a\nnot looked at further"
AT_ONCE = SimulatorSettings(latency_s=0, paint="plain")


def form(fields: Mapping[str, object]) -> bytes:
    """A multipart body, by the book; values that are bytes become file parts."""
    parts = []
    for name, value in fields.items():
        file = '; filename="a.png"\r\nContent-Type: image/png' if isinstance(value, bytes) else ""
        content = value if isinstance(value, bytes) else str(value).encode()
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        parts.append(head.encode() + content + b"\r\n")
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def wanted(prompt: str = "a fox", **fields: object) -> bytes:
    """The body of a small picture."""
    return form({"prompt": prompt} | SMALL | fields)


class Client:
    """The platform's wire without a socket."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        transport = httpx.ASGITransport(create_app(platform))
        self.http = httpx.AsyncClient(transport=transport, base_url="http://simulator/client/v4")

    async def run(self, body: bytes | None = None, path: str = RUN, **headers: str) -> httpx.Response:
        return await self.http.post(path, content=wanted() if body is None else body, headers=FORM_HEADERS | headers)

    async def ask(self, prompt: str = "a fox", **fields: object) -> httpx.Response:
        return await self.run(wanted(prompt, **fields))

    @property
    def charged(self) -> int:
        return self.platform.bill.total_centineurons


class TimeTold:
    """A clock that stands still until it is told; sleepers wake when their time has come."""

    def __init__(self) -> None:
        self.now = 0.0
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        self._sleepers.append((self.now + seconds, woken))
        await woken.wait()

    async def forward(self, seconds: float) -> None:
        self.now += seconds
        for due, woken in self._sleepers:
            if due <= self.now:
                woken.set()
        await settle()


async def settle() -> None:
    """Let every task run until it waits for something."""
    for _ in range(20):
        await asyncio.sleep(0)


def picture_bytes(answer: httpx.Response) -> bytes:
    return b64decode(json.loads(answer.content)["result"]["image"], validate=True)


def picture(answer: httpx.Response) -> Image.Image:
    """The picture of an answer, decoded to the last pixel."""
    image = Image.open(BytesIO(picture_bytes(answer)))
    image.load()
    return image


def centineurons(answer: httpx.Response) -> int:
    """The charge that the header says."""
    whole, decimals = answer.headers["cf-ai-neurons"].split(".")
    assert len(decimals) == 2
    return int(whole) * 100 + int(decimals)
