"""Runs in a child: what a user would write instead, an asyncio script with a semaphore.

It sends, decodes the base64 and saves the picture to a file: no budget, no ledger, no sync, no look at the picture, no
dataset, no retry. Takes its work as a JSON argument and prints {"seconds", "cpu_s", "made"}, from the first request
leaving to the last file written.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import httpx

MODEL = "@cf/black-forest-labs/flux-2-dev"
Spent = tuple[float, float]
"""Wall seconds and CPU seconds."""
Post = Callable[[dict[str, str]], Awaitable[Any]]


def main() -> None:
    given = json.loads(sys.argv[1])
    sender = {"httpx": _with_httpx, "aiohttp": _with_aiohttp}[given.pop("client")]
    seconds, cpu_s = asyncio.run(sender(**given))
    made = sum(1 for _ in Path(given["folder"]).iterdir())
    print(json.dumps({"seconds": seconds, "cpu_s": cpu_s, "made": made}))


def _address() -> str:
    base, account = os.environ["CLOUDFLARE_BASE_URL"], os.environ["CLOUDFLARE_ACCOUNT_ID"]
    return f"{base}/accounts/{account}/ai/run/{MODEL}"


def _headers() -> dict[str, str]:
    return {"Authorization": f"Bearer {os.environ['CLOUDFLARE_API_TOKEN']}"}


async def _with_httpx(count: int, in_flight: int, folder: str) -> Spent:
    async with httpx.AsyncClient(headers=_headers(), timeout=300, limits=httpx.Limits(max_connections=None)) as client:

        async def post(fields: dict[str, str]) -> Any:
            # A file without a name is how httpx is brought to send fields as multipart.
            answer = await client.post(_address(), files={name: (None, value) for name, value in fields.items()})
            answer.raise_for_status()
            return answer.json()

        return await _all(post, count, in_flight, Path(folder))


async def _with_aiohttp(count: int, in_flight: int, folder: str) -> Spent:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(headers=_headers(), connector=connector) as session:

        async def post(fields: dict[str, str]) -> Any:
            with aiohttp.MultipartWriter("form-data") as form:
                for name, value in fields.items():
                    form.append(value).set_content_disposition("form-data", name=name)
            async with session.post(_address(), data=form) as answer:
                answer.raise_for_status()
                return await answer.json()

        return await _all(post, count, in_flight, Path(folder))


async def _all(post: Post, count: int, in_flight: int, folder: Path) -> Spent:
    places = asyncio.Semaphore(in_flight)

    async def one(number: int) -> None:
        fields = {"prompt": f"a lighthouse by the sea, number {number}", "width": "512", "height": "512", "steps": "4"}
        async with places:
            answer = await post(fields)
            (folder / f"{number}.jpg").write_bytes(base64.b64decode(answer["result"]["image"]))

    started, cpu_before_s = time.monotonic(), time.process_time()
    await asyncio.gather(*(one(number) for number in range(count)))
    return time.monotonic() - started, time.process_time() - cpu_before_s
