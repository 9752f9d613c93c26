"""Every knob of the simulator, as one frozen value that travels to its process as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

from fluxbatch.errors import UsageError
from fluxbatch.simulator.faults import Outage, check_fault_rates

SIMULATOR_ACCOUNT_ID = "0" * 32
SIMULATOR_TOKEN = "simulator"  # noqa: S105 - opens nothing but a simulator on loopback

Paint = Literal["text", "plain"]


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """What the simulated platform is like. Times in seconds; None means without a limit.

    UsageError when a value makes no sense.
    """

    account: str = SIMULATOR_ACCOUNT_ID
    token: str = SIMULATOR_TOKEN
    seed: int = 0
    """Of the latencies, the fault draws and the request ids; the same arrivals then give the same answers."""

    latency_s: float = 0.5
    """Median time to make a picture; 0 answers at once."""
    latency_spread: float = 0.25
    """Sigma of the lognormal distribution: 0.25 puts 95 % of the pictures within 0.6 and 1.6 of the median."""
    latency_s_by_model: Mapping[str, float] = field(default_factory=dict)
    """Medians of single models, by full id; `latency_s` holds for the others."""
    refusal_latency_s: float = 0.0
    """Time to answer what is refused before a picture is begun."""
    timeout_s: float = 237.0
    """Where the platform itself ends a request, with 408 / 3046."""

    rate: int | None = 720
    """Requests admitted in any window of `window_s`; more are answered 429 / 3021."""
    window_s: float = 60.0
    capacity: int | None = None
    """Pictures made at the same time; more are answered 429 / 3040."""
    body_bytes_max: int = 32 * 1024 * 1024
    """Not published; larger bodies are answered 413 / 3006."""

    faults: Mapping[str, float] = field(default_factory=dict)
    """Probability by fault name (faults.py), drawn once a request."""
    outages: tuple[Outage, ...] = ()
    """Spans of time, counted from the start, in which every request meets one fault."""

    paint: Paint = "text"
    """"text" shows the prompt in the picture; "plain" serves one ready picture per size, for benchmarks."""
    picture_bytes: int | None = None
    """Smaller JPEGs are padded to exactly this size, still decodable."""
    bill_file: str | None = None
    """The bill is also appended here, one JSON line per charge, so that it survives a kill."""

    analytics: bool = True
    """Whether the token has Account Analytics: Read; without it the GraphQL analytics refuse."""
    analytics_lag_s: float = 0.0
    """So long after a charge the analytics show it; Cloudflare takes minutes."""
    analytics_queries: int | None = 300
    """Analytics queries admitted in any window of five minutes."""

    def __post_init__(self) -> None:
        check_fault_rates(self.faults)
        if self.paint not in get_args(Paint):
            raise UsageError(f"paint={self.paint!r} is unknown; use one of {', '.join(get_args(Paint))}")
        for name in ("latency_s", "latency_spread", "refusal_latency_s", "analytics_lag_s"):
            _demand(name, getattr(self, name) >= 0, "0 or more")
        for name in ("timeout_s", "window_s", "body_bytes_max"):
            _demand(name, getattr(self, name) > 0, "more than 0")
        for name in ("rate", "capacity", "picture_bytes", "analytics_queries"):
            _demand(name, getattr(self, name) is None or getattr(self, name) >= 0, "0 or more, or null")

    def to_json(self) -> str:
        """One line of JSON that `from_json` reads back to an equal value."""
        return json.dumps(asdict(self) | {"outages": [outage.to_dict() for outage in self.outages]})

    @classmethod
    def from_json(cls, text: str) -> SimulatorSettings:
        """The settings of a JSON object with any of the fields; the others keep their defaults."""
        return cls().changed(text)

    def changed(self, text: str) -> SimulatorSettings:
        """A copy with the fields of a JSON object changed. UsageError names what is wrong in it."""
        try:
            changes = json.loads(text)
        except ValueError as error:
            raise UsageError(f"the simulator's settings are no JSON ({error}); send an object of fields") from None
        if not isinstance(changes, dict):
            raise UsageError("the simulator's settings are no JSON object; send an object of fields")
        return self.with_changes(changes)

    def with_changes(self, changes: Mapping[str, Any]) -> SimulatorSettings:
        """A copy with these fields changed; outages may be given as {"from": s, "to": s, "fault": name}."""
        if unknown := sorted(set(changes) - _NAMES):
            raise UsageError(f"unknown simulator setting {', '.join(unknown)}; known: {', '.join(sorted(_NAMES))}")
        given = dict(changes)
        try:
            if "outages" in given:
                given["outages"] = tuple(Outage.of(outage) for outage in given["outages"])
            return replace(self, **given)
        except (TypeError, AttributeError) as error:
            raise UsageError(f"a simulator setting has the wrong type ({error}); see SimulatorSettings") from None

    def median_latency_s(self, model_id: str) -> float:
        return self.latency_s_by_model.get(model_id, self.latency_s)


_NAMES = {knob.name for knob in fields(SimulatorSettings)}


def _demand(name: str, fits: bool, wanted: str) -> None:
    if not fits:
        raise UsageError(f"the simulator's {name} has to be {wanted}")
