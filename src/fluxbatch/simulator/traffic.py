"""What came in and how it was answered: the simulator's own measurement, for benchmarks and rate checks."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

BODIES_KEPT = 1000


@dataclass(slots=True)
class Traffic:
    """Counts over the inference requests since the start, or the last reset."""

    arrivals_s: list[float] = field(default_factory=list)
    """When each request arrived, in seconds after the start."""
    answers: Counter[str] = field(default_factory=Counter)
    """By status and code: 200, 429/3021, lost-after."""
    prompts: Counter[str] = field(default_factory=Counter)
    """How often each prompt was asked, among the requests that could be read."""
    models: Counter[str] = field(default_factory=Counter)
    """How often each model was asked, by full id, among the same."""
    bodies: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=BODIES_KEPT))
    """The last of them as they came: `model`, and the `fields` as plain values."""
    in_flight: int = 0
    in_flight_peak: int = 0
    disconnects: int = 0
    """Clients that left before their request was complete."""

    def arrived(self, elapsed_s: float) -> None:
        self.arrivals_s.append(elapsed_s)
        self.in_flight += 1
        self.in_flight_peak = max(self.in_flight_peak, self.in_flight)

    def asked_for(self, model: str, prompt: str, said: Mapping[str, Any]) -> None:
        """A request that could be read."""
        self.prompts[prompt] += 1
        self.models[model] += 1
        self.bodies.append({"model": model, "fields": said})

    def report(self, arrivals: bool, prompts: bool, bodies: bool) -> dict[str, Any]:
        """As plain values; the long lists only when wanted."""
        report: dict[str, Any] = {
            "requests": len(self.arrivals_s),
            "answers": dict(self.answers),
            "in_flight": self.in_flight,
            "in_flight_peak": self.in_flight_peak,
            "disconnects": self.disconnects,
            "models": dict(self.models),
        }
        if arrivals:
            report["arrivals_s"] = self.arrivals_s
        if prompts:
            report["prompts"] = dict(self.prompts)
        if bodies:
            report["bodies"] = list(self.bodies)
        return report
