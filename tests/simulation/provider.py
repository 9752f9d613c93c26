"""A Cloudflare with its own bill, written from CLOUDFLARE.md and from nothing of the client.

It answers at the Sender's seam with what the wire would bring. A request that has left goes its way whatever becomes of
who sent it: it may arrive, be served and be billed while its sender is long dead. (A duplicate answer has no meaning
here: one await takes one answer, and HTTP has no second.)
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import struct
import zlib
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fluxbatch.cloudflare.outcome import Broken, Reply
from fluxbatch.manifest.request import ImageRequest
from tests.simulation.scenario import FAULTS, MODELS, Life, Spell

WINDOW_S = 60.0
PLATFORM_ENDS_S = 237.0
CALM = Spell(float("inf"), "fair", None, False, 2.0)

_REFUSALS = {"3021", "3040", "3040 retry-after", "4002"}
_BILLED = {"", "slow", "late", "lost after", "silent", "200 no header", "200 raw"}
_PERHAPS_BILLED = {
    "500",
    "502 html",
    "503 text",
    "408",
    "200 false",
    "200 truncated",
    "200 no picture",
    "200 bad base64",
    "200 html",
    "200 empty",
    "output flagged",
    "4xx new",
}
_TOLD = {
    "3021": (429, 3021, "AiError: inference request per min rate reached"),
    "3040": (429, 3040, "AiError: Capacity temporarily exceeded, please try again."),
    "3040 retry-after": (429, 3040, "AiError: Capacity temporarily exceeded, please try again."),
    "4002": (424, 4002, "AiError: could not route request"),
    "500": (500, 3043, "AiError: AiError: Internal server error"),
    "408": (408, 3046, "AiError: AiError: Request timeout"),
    "4xx new": (418, 4999, "AiError: something that nobody has published"),
    "8007": (400, 8007, "AiError: Input prompt contains NSFW content"),
    "output flagged": (400, 3030, "AiError: AiError: the generated output has been flagged"),
    "5006": (400, 5006, "AiError: bad input: required properties are missing"),
    "413": (413, 3006, "AiError: request is too large"),
    "4006": (429, 4006, "AiError: you have used up your daily free allocation of 10,000 neurons"),
    "3036": (429, 3036, "AiError: you have used up your daily free allocation of 10,000 neurons"),
    "401": (401, 10000, "Authentication error"),
    "402": (402, 1, "no balance"),
    "5018": (403, 5018, "AiError: the account is not allowed to access this model"),
}


CENTINEURONS = {
    "flux-2-dev": (3750, 938),  # 37.5 neurons a tile and step: one step, a quarter of a tile
    "flux-2-klein-4b": (2605, 651),  # 26.05 a tile
    "flux-1-schnell": (5760, 5760),  # 4 tiles, each 4.8 and 9.6 a step
}
"""What a whole tile and what the requested area is charged, for 256x256 and one step (schnell is always 1024x1024)."""


class Surroundings(Protocol):
    """What the provider needs of the world."""

    def time(self) -> float: ...
    def later(self, delay_s: float, event: Callable[[], None]) -> None: ...
    def event(self, name: str, detail: str = "") -> None: ...
    def check_money(self) -> None: ...
    def check_arrival(self, prompt: str) -> None: ...
    def check_out(self, count: int) -> None: ...


@dataclass(slots=True)
class Asked:
    """One request on its way."""

    prompt: str
    number: int
    """How often this prompt was sent, from 1."""
    model: str
    rng: random.Random
    fault: str = ""
    arrives_s: float = 0.0
    """It does not wait for a sender that stands still meanwhile."""
    arrived: bool = False
    answered: Reply | Broken | None = None
    waiting: asyncio.Future[Reply | Broken] | None = None


@dataclass(slots=True)
class Provider:
    """`bill_centineurons` is what the account will be charged. `arrivals_s` are the moments of all requests."""

    world: Surroundings
    seed: int
    window_limit: int | None
    deadline_s: float = 300.0
    bill_centineurons: int = 0
    bills: Counter[str] = field(default_factory=Counter)
    """The same by prompt."""
    headless: set[str] = field(default_factory=set)
    """Prompts that were billed with an answer that did not say so: the ledger books the bound."""
    arrivals_s: list[float] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    made: dict[str, set[bytes]] = field(default_factory=dict)
    """The pictures that were ever answered, by prompt."""
    faults: Counter[str] = field(default_factory=Counter)
    serving: Counter[str] = field(default_factory=Counter)
    """Pictures that are being made, by model."""
    out: int = 0
    """Requests that somebody waits for."""
    _spells: dict[str, deque[tuple[float, Spell]]] = field(default_factory=dict)
    _tries: Counter[str] = field(default_factory=Counter)
    _window: deque[float] = field(default_factory=deque)

    def begin(self, life: Life) -> None:
        """The weather of a life, from now on; then it is fair."""
        for number, model in enumerate(MODELS):
            until, self._spells[model] = self.world.time(), deque()
            for spell in life.own_spells[number] if number < len(life.own_spells) else life.spells:
                until += spell.seconds
                self._spells[model].append((until, spell))

    def forget(self) -> None:
        """Those who wait for answers are dead."""
        self.out = 0
        for asked in self.asked:
            asked.waiting = None

    def spell(self, model: str) -> Spell:
        """The weather of a model now."""
        spells = self._spells[model]
        while spells and spells[0][0] <= self.world.time():
            spells.popleft()
        return spells[0][1] if spells else CALM

    async def send(self, request: ImageRequest, images: Sequence[bytes]) -> Reply | Broken:
        """What the client would bring back: a reply, or that none came within the deadline."""
        prompt = request.prompt
        self._tries[prompt] += 1
        number = self._tries[prompt]
        asked = Asked(prompt, number, request.model.name, random.Random(f"{self.seed} {prompt} {number}"))
        asked.waiting = asyncio.get_running_loop().create_future()
        asked.fault = self._fault(asked)
        self.asked.append(asked)
        began = self.world.time()
        self.out += 1
        self.world.check_out(self.out)
        self.world.event("send", f"{prompt} #{number} to {request.model.name}")
        if asked.fault == "not sent":
            self.faults["not sent"] += 1
            self.world.later(asked.rng.choice((0.01, 1.0, 15.0)), lambda: self._give(asked, _broken("not_sent")))
        else:
            on_the_wire_s = asked.rng.uniform(0.005, 0.05)
            asked.arrives_s = self.world.time() + on_the_wire_s
            self.world.later(on_the_wire_s, lambda: self._arrive(asked))
        try:
            async with asyncio.timeout(self.deadline_s):
                answer = await asked.waiting
        except TimeoutError:
            answer = asked.answered = _broken("lost")
        finally:
            self.out -= asked.waiting is not None  # else its life is over
        latency_s = self.world.time() - began
        if isinstance(answer, Broken):
            return Broken(answer.kind, answer.message, latency_s)
        return Reply(answer.status, answer.headers, answer.body, latency_s)

    def _fault(self, asked: Asked) -> str:
        chance = asked.rng.random()
        for fault, share in FAULTS[self.spell(asked.model).weather].items():
            chance -= share
            if chance < 0:
                return fault
        return ""

    def _arrive(self, asked: Asked) -> None:
        asked.arrived = True
        self.arrivals_s.append(asked.arrives_s)
        self.world.event("arrive", f"{asked.prompt} #{asked.number}")
        self.world.check_arrival(asked.prompt)
        refusal = self._turned_away(asked)
        if refusal is not None:
            self.faults[refusal] += 1
            back_s = asked.rng.uniform(0.02, 1.0)
            self.world.later(back_s, lambda: self._give(asked, self._told(refusal, asked)))
            return
        self.faults[asked.fault or "picture"] += 1
        self.serving[asked.model] += 1
        latency_s = self._latency_s(asked)
        self.world.later(latency_s, lambda: self._served(asked))

    def _turned_away(self, asked: Asked) -> str | None:
        now = self.world.time()
        while self._window and self._window[0] <= now - WINDOW_S:
            self._window.popleft()
        if self.window_limit is not None and len(self._window) >= self.window_limit:
            return "3021 window"
        self._window.append(now)
        room = self._room(asked.model)
        if asked.fault in _REFUSALS:
            return asked.fault
        return "3040 full" if room is not None and self.serving[asked.model] >= room else None

    def _room(self, model: str) -> int | None:
        spell = self.spell(model)
        if spell.room is None or not spell.breathing:
            return spell.room
        return max(1, spell.room * 2 if int(self.world.time() / 20.0) % 2 else spell.room // 2)

    def _latency_s(self, asked: Asked) -> float:
        rng, usual_s = asked.rng, self.spell(asked.model).latency_s
        match asked.fault:
            case "slow":
                return rng.uniform(100.0, PLATFORM_ENDS_S)
            case "late":
                return self.deadline_s + rng.uniform(-1.0, 30.0)
            case "408":
                return PLATFORM_ENDS_S if rng.random() < 0.5 else usual_s
            case "8007" | "5006" | "413" | "401" | "402" | "5018" | "403 html" | "4006" | "3036":
                return rng.uniform(0.05, 0.5)
        return rng.uniform(0.5, 1.5) * usual_s

    def _served(self, asked: Asked) -> None:
        self.serving[asked.model] -= 1
        fault, charge = asked.fault, self._charge(asked)
        if fault in _BILLED or (fault in _PERHAPS_BILLED and asked.rng.random() < 0.5):
            self._bill(asked, charge)
        if fault == "silent":
            return
        if fault in ("lost before", "lost after"):
            self._give(asked, _broken("lost"))
            return
        back_s = asked.rng.uniform(0.005, 0.05)
        self.world.later(back_s, lambda: self._give(asked, self._answer(asked, charge)))

    def _bill(self, asked: Asked, charge: int) -> None:
        self.bill_centineurons += charge
        self.bills[asked.prompt] += charge
        if asked.fault in ("200 no header", "200 raw"):
            self.headless.add(asked.prompt)
        self.world.event("bill", f"{asked.prompt} #{asked.number} {charge}")
        self.world.check_money()

    @staticmethod
    def _charge(asked: Asked) -> int:
        """The requested area; now and then the whole tile."""
        whole, fraction = CENTINEURONS[asked.model]
        return whole if asked.rng.random() < 0.1 else fraction

    def _give(self, asked: Asked, answer: Reply | Broken) -> None:
        waiting = asked.waiting
        if waiting is None or waiting.done():
            return
        asked.answered = answer
        self.world.event("answer", f"{asked.prompt} #{asked.number} {asked.fault or 'picture'}")
        waiting.set_result(answer)

    def _answer(self, asked: Asked, charge: int) -> Reply:
        fault = asked.fault
        if fault in ("", "slow", "late", "200 no header", "200 raw"):
            return self._picture(asked, charge)
        if fault in _TOLD:
            return self._told(fault, asked)
        status, body = {
            "502 html": (502, b"<html><head><title>502 Bad Gateway</title></head></html>"),
            "503 text": (503, b"upstream connect error"),
            "403 html": (403, b"<html><head><title>Attention Required</title></head></html>"),
            "200 false": (200, _words(3043, "AiError: internal")),
            "200 no picture": (200, b'{"result":{},"success":true,"errors":[],"messages":[]}'),
            "200 bad base64": (200, b'{"result":{"image":"!!!!"},"success":true,"errors":[],"messages":[]}'),
            "200 html": (200, b"<html>hello</html>"),
            "200 empty": (200, b""),
            "200 truncated": (200, self._picture(asked, charge).body[:-20]),
        }[fault]
        return Reply(status, {}, body, 0.0)

    def _picture(self, asked: Asked, charge: int) -> Reply:
        content = tiny_picture(f"{asked.prompt} #{asked.number}")
        if asked.fault != "200 truncated":
            self.made.setdefault(asked.prompt, set()).add(content)
        if asked.fault == "200 raw":
            return Reply(200, {"content-type": "image/png"}, content, 0.0)
        headers = {"cf-ai-req-id": f"{asked.prompt}-{asked.number}"}
        if asked.fault != "200 no header":
            headers["cf-ai-neurons"] = f"{charge // 100}.{charge % 100:02d}"
        answer = {"result": {"image": base64.b64encode(content).decode()}, "success": True, "errors": []}
        return Reply(200, headers, json.dumps(answer).encode(), 0.0)

    def _told(self, fault: str, asked: Asked) -> Reply:
        status, code, message = _TOLD[fault.removesuffix(" window").replace("3040 full", "3040")]
        headers = {"retry-after": asked.rng.choice(("1", "20", "-3", "soon", "1e9"))} if "retry" in fault else {}
        return Reply(status, headers, _words(code, message), 0.0)


def _words(code: int, message: str) -> bytes:
    answer = {"errors": [{"code": code, "message": message}], "success": False, "result": {}, "messages": []}
    return json.dumps(answer).encode()


def _broken(kind: str) -> Broken:
    return Broken("not_sent" if kind == "not_sent" else "lost", f"the world says {kind}", 0.0)


def tiny_picture(words: str) -> bytes:
    """A sound PNG of 8x8 pixels that is unlike every other: the words stand in it."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = b"".join(b"\0" + bytes((32 * x + 4 * y) % 256 for x in range(8)) for y in range(8))
    pieces = (
        chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)),
        chunk(b"tEXt", b"Comment\0" + words.encode("latin-1")),
        chunk(b"IDAT", zlib.compress(rows)),
        chunk(b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(pieces)
