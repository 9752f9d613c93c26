"""Answers bred from the corpus: bytes flipped, bodies spliced and cut, headers exchanged and doubled, all by a seed."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from fluxbatch.cloudflare.outcome import Reply
from tests.hostile.hostile_kit import stories
from tests.hostile.makers import Made

BODY_BYTES_MAX = 50_000
STATUSES = (
    *(200, 200, 200, 201, 206, 204, 301, 307, 400, 401, 402, 403),
    *(404, 405, 408, 413, 418, 424, 429, 500, 502, 524, 999),
)
ODD = (
    b"\x00",
    b"\xff",
    b'"',
    b"\\",
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b":",
    b"1e999",
    b"NaN",
    b"\\ud800",
    b"\x1b",
    b"\xe2\x80\xae",
)
_HEAD = re.compile(rb"HTTP/1\.1 ([0-9]{3}) [^\r]*\r\n")


@dataclass(frozen=True)
class Said:
    """A story as a parsed reply: what mutants are bred from."""

    name: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@lru_cache(maxsize=1)
def parents() -> tuple[Said, ...]:
    """The stories that are short, and HTTP."""
    found = []
    for story in stories():
        if story.told.get("ends") != "exact" and b"0_000" not in story.answer and b"png_true" not in story.answer:
            said = _parsed(story.name, story.made())
            found += [said] if said is not None else []
    assert len(found) > 300
    return tuple(found)


def _parsed(name: str, parts: Sequence[Made]) -> Said | None:
    whole = b"".join(part for part in parts if isinstance(part, bytes))
    head, _, body = whole.partition(b"\r\n\r\n")
    line = _HEAD.match(head + b"\r\n")
    if line is None or len(body) > BODY_BYTES_MAX:
        return None
    rows = (row.partition(":") for row in head.decode("utf-8", "surrogateescape").split("\r\n")[1:])
    return Said(name, int(line[1]), tuple((key.strip().lower(), value.strip()) for key, _, value in rows), body)


def bred(seed: int) -> tuple[str, Reply]:
    """One mutant, and what it was bred from."""
    chance = random.Random(seed)
    one, other = chance.choice(parents()), chance.choice(parents())
    body = one.body
    for _ in range(chance.choice((0, 1, 1, 2, 3, 8))):
        body = chance.choice(_CHANGES)(body, other.body, chance)
    headers = list(one.headers)
    for _ in range(chance.choice((0, 0, 1, 2))):
        headers = _other_headers(headers, list(other.headers), chance)
    status = one.status if chance.random() < 0.6 else chance.choice(STATUSES)
    return f"seed {seed}: {one.name} x {other.name}", Reply(status, _folded(headers), body, 1.0, False)


def _folded(headers: list[tuple[str, str]]) -> dict[str, str]:
    """As httpx gives them: what stands twice is joined."""
    found: dict[str, str] = {}
    for name, value in headers:
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _other_headers(
    ours: list[tuple[str, str]], theirs: list[tuple[str, str]], chance: random.Random
) -> list[tuple[str, str]]:
    match chance.randrange(3):
        case 0:
            return ours + theirs
        case 1 if ours:
            return [*ours, chance.choice(ours)]
        case _:
            return [(name, value[: chance.randrange(len(value) + 1)]) for name, value in ours]


def _flip(body: bytes, other: bytes, chance: random.Random) -> bytes:
    changed = bytearray(body or b"x")
    for _ in range(chance.choice((1, 1, 4, 30))):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _odd(body: bytes, other: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(body) + 1)
    return body[:at] + chance.choice(ODD) + body[at + chance.randrange(3) :]


def _cut(body: bytes, other: bytes, chance: random.Random) -> bytes:
    return body[: chance.randrange(len(body) + 1)]


def _splice(body: bytes, other: bytes, chance: random.Random) -> bytes:
    return body[: chance.randrange(len(body) + 1)] + other[chance.randrange(len(other) + 1) :]


def _double(body: bytes, other: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(body) + 1)
    end = min(len(body), start + chance.choice((1, 10, 200)))
    return body[:end] + body[start:end] * chance.choice((1, 3)) + body[end:]


def _replace(body: bytes, other: bytes, chance: random.Random) -> bytes:
    return other


_CHANGES = (_flip, _flip, _odd, _odd, _cut, _splice, _double, _replace)
