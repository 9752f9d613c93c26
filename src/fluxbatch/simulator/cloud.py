"""The simulated platform: its state, and what it decides about one request. Knows no HTTP beyond an `Answer`."""

from __future__ import annotations

import asyncio
import math
import random
import time
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal

from fluxbatch.errors import UsageError
from fluxbatch.simulator import painter
from fluxbatch.simulator.analytics import analytics_answer, refusal
from fluxbatch.simulator.answers import Answer, error_answer, picture_answer
from fluxbatch.simulator.asked import Asked, Unfit, cut, read_asked
from fluxbatch.simulator.bill import Bill
from fluxbatch.simulator.faults import Fault, FaultScript, Kind, find_fault
from fluxbatch.simulator.limits import Capacity, SlidingWindow
from fluxbatch.simulator.offers import Offer
from fluxbatch.simulator.painter import Sketch
from fluxbatch.simulator.price import centineurons
from fluxbatch.simulator.settings import SimulatorSettings
from fluxbatch.simulator.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Silence:
    """No answer: the connection is closed, reset or left open, after `answer` was begun if there is one."""

    kind: Kind
    label: str
    answer: Answer | None = None


ANALYTICS_WINDOW_S = 300.0

Verdict = Answer | Silence
_SHOWN = (
    *(Kind.NO_HEADER, Kind.TRUNCATED_JSON, Kind.TRUNCATED_BODY, Kind.BAD_BASE64, Kind.NO_PICTURE, Kind.CUT_PICTURE),
    *(Kind.BLANK, Kind.WRONG_SIZE, Kind.PNG, Kind.GZIP, Kind.OTHER_FORM),
)
_SILENT = (Kind.LOST, Kind.RESET, Kind.HANG)


class Platform:
    """One account's Cloudflare. `clock` counts seconds and never goes back; `sleep` waits by that clock."""

    def __init__(
        self,
        settings: SimulatorSettings,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        started_at: float | None = None,
    ) -> None:
        self.settings = settings
        self.bill = Bill(settings.bill_file)
        self.capacity = Capacity()
        self._capacities: defaultdict[str, Capacity] = defaultdict(Capacity)
        self._own: dict[str, SimulatorSettings] = {}
        self._clock = clock
        self._sleep = sleep
        self._started_at = time.time() if started_at is None else started_at
        self._brush = ThreadPoolExecutor(1, thread_name_prefix="painter")
        self.traffic = Traffic()
        self._begin()

    def reset(self) -> None:
        """Back to the start: clock, chance, window, statistics and bill. What is in flight stays in flight."""
        self.traffic = Traffic(in_flight=self.traffic.in_flight)
        self.capacity.peak = self.capacity.making
        self.bill.clear()
        self._begin()

    def _begin(self) -> None:
        seed = self.settings.seed
        self._started = self._clock()
        self._ids, self._latency = random.Random(f"ids {seed}"), random.Random(f"latency {seed}")
        self._script = FaultScript(random.Random(f"faults {seed}"))
        self._window, self._queries = SlidingWindow(), SlidingWindow()
        self._windows: defaultdict[str, SlidingWindow] = defaultdict(SlidingWindow)

    def change(self, text: str) -> None:
        """Change settings while running, by a JSON object. UsageError, and nothing changed, when it makes no sense."""
        changed = self.settings.changed(text)
        if (changed.seed, changed.bill_file) != (self.settings.seed, self.settings.bill_file):
            raise UsageError("seed and bill_file hold from start to end; start another simulator")
        self.settings = changed
        self._own.clear()

    def close(self) -> None:
        self._brush.shutdown(wait=False)
        self.bill.close()

    @property
    def elapsed_s(self) -> float:
        return self._clock() - self._started

    @property
    def now(self) -> float:
        """Seconds since 1970 (UTC), by the platform's clock."""
        return self._started_at + self.elapsed_s

    def analyse(self, body: bytes) -> Answer:
        """What was billed, as the account's GraphQL analytics tell it."""
        if not self._queries.admit(self._clock(), self.settings.analytics_queries, ANALYTICS_WINDOW_S):
            return refusal("rate limiter budget depleted, try again after 5 minutes", (), self.now)
        return analytics_answer(body, self.bill.charges, self.settings, self.now)

    def new_request_id(self) -> str:
        return str(uuid.UUID(int=self._ids.getrandbits(128), version=4))

    async def infer(self, request_id: str, offer: Offer, content_type: bytes, body: bytes) -> Verdict:
        """Answer one request that came to the right account and model with a good token."""
        settings = self._settings_of(offer)
        if not self._in_time(offer, settings):
            return await self._refuse(find_fault("3021"), request_id, settings)
        try:
            asked = read_asked(offer, content_type, body)
            self.traffic.asked_for(offer.id, asked.prompt, asked.said)
            fault = self._script.choose(asked.prompt, self.elapsed_s, settings.faults, settings.outages)
        except Unfit as unfit:
            return await self._refuse(find_fault(unfit.fault), request_id, settings, unfit.message)
        except UsageError as error:  # an unknown marker: say so instead of serving a picture
            return await self._refuse(find_fault("5006"), request_id, settings, str(error))
        if fault is not None and not fault.late:
            return await self._refuse(fault, request_id, settings)
        if not self._enter(offer):
            return await self._refuse(find_fault("3040"), request_id, settings)
        try:
            return await self._make(request_id, offer, asked, fault)
        finally:
            self.capacity.leave()
            self._capacities[offer.id].leave()

    def _settings_of(self, offer: Offer) -> SimulatorSettings:
        if offer.id not in self._own:
            self._own[offer.id] = self.settings.of(offer)
        return self._own[offer.id]

    def _in_time(self, offer: Offer, settings: SimulatorSettings) -> bool:
        """Whether the rate of the platform, and that of the model where it has one, let it in."""
        now, whole = self._clock(), self.settings
        own = whole.limit_of(offer, "rate")
        if not self._windows[offer.id].has_room(now, own, settings.window_s):
            return False
        if not self._window.admit(now, whole.rate, whole.window_s):
            return False
        return self._windows[offer.id].admit(now, own, settings.window_s)

    def _enter(self, offer: Offer) -> bool:
        own = self._capacities[offer.id]
        if not own.enter(self.settings.limit_of(offer, "capacity")):
            return False
        if self.capacity.enter(self.settings.capacity):
            return True
        own.leave()
        return False

    async def _refuse(
        self, fault: Fault, request_id: str, settings: SimulatorSettings, message: str | None = None
    ) -> Verdict:
        if settings.refusal_latency_s > 0:
            await self._sleep(settings.refusal_latency_s)
        if fault.kind in _SILENT:
            return Silence(fault.kind, fault.name)
        return error_answer(fault, request_id, message)

    async def _make(self, request_id: str, offer: Offer, asked: Asked, fault: Fault | None) -> Verdict:
        settings = self._settings_of(offer)
        latency_s = self._latency_s(settings)
        if latency_s > settings.timeout_s and fault is None:
            fault, latency_s = find_fault("3046"), settings.timeout_s
        charge = _charged(offer, asked, settings)
        try:
            if latency_s > 0:
                await self._sleep(latency_s)
        finally:  # cut short by a shutdown, it is billed all the same: a real platform would go on
            if fault is None or fault.bills:
                self._charge(request_id, offer, asked, charge)
        if fault is not None and fault.kind in _SILENT:
            return Silence(fault.kind, fault.name)
        if fault is not None and fault.kind not in _SHOWN:
            return error_answer(fault, request_id)
        image = await self._paint(self._sketch(request_id, offer, asked), settings, fault)
        answer = picture_answer(offer, image, charge, fault)
        if fault is not None and fault.kind is Kind.TRUNCATED_BODY:
            return Silence(fault.kind, fault.name, answer)
        return answer

    def _latency_s(self, settings: SimulatorSettings) -> float:
        return settings.latency_s * math.exp(self._latency.gauss(0, settings.latency_spread))

    def _charge(self, request_id: str, offer: Offer, asked: Asked, charge: int) -> None:
        self.bill.add(
            when=self.now,
            request_id=request_id,
            model=offer.id,
            prompt=asked.prompt,
            centineurons=charge,
            width=asked.width,
            height=asked.height,
            steps=asked.steps,
            references=asked.references,
        )

    def _sketch(self, request_id: str, offer: Offer, asked: Asked) -> Sketch:
        width, height = cut(offer, asked.width), cut(offer, asked.height)
        variant = len(self.bill.charges)
        facts = (asked.steps, asked.seed, asked.references)
        return Sketch(request_id, offer.name, asked.prompt, width, height, *facts, variant)

    async def _paint(self, sketch: Sketch, settings: SimulatorSettings, fault: Fault | None) -> bytes:
        kind = fault.kind if fault else None
        if kind is Kind.BLANK:
            return painter.paint_blank(sketch)
        if kind is Kind.PNG:
            return painter.paint_png(sketch)
        if kind is Kind.WRONG_SIZE:
            sketch = replace(sketch, width=sketch.width // 2, height=sketch.height // 2)
        size = settings.picture_bytes
        if settings.paint == "plain":
            return painter.paint_plain(sketch, size)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._brush, painter.paint_text, sketch, size)


def _charged(offer: Offer, asked: Asked, settings: SimulatorSettings) -> int:
    """In hundredths of a neuron."""
    published = centineurons(offer.price(asked.width, asked.height, asked.steps, asked.references))
    if settings.price_factor == 1:
        return published
    return int((published * Decimal(str(settings.price_factor))).to_integral_value(ROUND_HALF_UP))
