"""Every knob of the simulator, as one frozen value that travels to its process as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

from fluxbatch.errors import UsageError
from fluxbatch.simulator.faults import Outage, check_fault_rates
from fluxbatch.simulator.offers import Offer
from fluxbatch.simulator.own import find_in, offers_with

SIMULATOR_ACCOUNT_ID = "0" * 32
SIMULATOR_TOKEN = "simulator"  # noqa: S105 - opens nothing but a simulator on loopback

Paint = Literal["text", "plain"]

PER_MODEL = frozenset(
    {"latency_s", "latency_spread", "refusal_latency_s", "timeout_s", "rate", "capacity", "faults", "outages"}
    | {"price_factor", "paint", "picture_bytes"}
)


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
    seen_latency: float | None = None
    """When set, every model takes as long as was seen (CLOUDFLARE.md section 4) times this, instead of `latency_s`."""
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

    price_factor: float = 1.0
    """What is charged, of the published price: 1.05 is a price that went up by 5 %."""

    models_file: str | None = None
    """A user's `models.toml`: its prices are charged, and its own models served as it says."""
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What is different for single models, by name: {"flux-2-dev": {"faults": {"503": 1.0}, "capacity": 2}} is down
    while the others are not. Any of `PER_MODEL`; a capacity or rate here holds beside that of the whole platform."""

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
        for name in ("latency_s", "latency_spread", "refusal_latency_s", "analytics_lag_s", "price_factor"):
            _demand(name, getattr(self, name) >= 0, "0 or more")
        for name in ("timeout_s", "window_s", "body_bytes_max"):
            _demand(name, getattr(self, name) > 0, "more than 0")
        for name in ("rate", "capacity", "picture_bytes", "analytics_queries", "seen_latency"):
            _demand(name, getattr(self, name) is None or getattr(self, name) >= 0, "0 or more, or null")
        for name in self.models:
            self.of(self._known(name))

    def to_json(self) -> str:
        """One line of JSON that `from_json` reads back to an equal value."""
        return json.dumps(
            asdict(self) | _told(self.outages) | {"models": {n: _plain(m) for n, m in self.models.items()}}
        )

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

    def of(self, offer: Offer) -> SimulatorSettings:
        """The settings as they are for one model."""
        own = self._own(offer)
        if unknown := sorted(set(own) - PER_MODEL):
            known = ", ".join(sorted(PER_MODEL))
            raise UsageError(f"{', '.join(unknown)} cannot be set for {offer.name} alone; what can: {known}")
        seen_s = self.latency_s if self.seen_latency is None else offer.latency_s * self.seen_latency
        return self.with_changes({"latency_s": seen_s, **own, "models": {}})

    @property
    def offers(self) -> tuple[Offer, ...]:
        """Every model that is served."""
        return offers_with(self.models_file)

    def find_offer(self, name: str) -> Offer | None:
        """The model with this id, or the end of it."""
        return find_in(self.offers, name)

    def limit_of(self, offer: Offer, name: Literal["rate", "capacity"]) -> int | None:
        """The limit that this model has for itself, beside that of the platform."""
        return self._own(offer).get(name)

    def _own(self, offer: Offer) -> Mapping[str, Any]:
        return {**self.models.get(offer.id, {}), **self.models.get(offer.name, {})}

    def _known(self, name: str) -> Offer:
        offer = self.find_offer(name)
        if offer is None:
            known = ", ".join(offer.name for offer in self.offers)
            raise UsageError(f"the simulator has no model {name!r}; it has {known}")
        return offer


def _told(outages: Iterable[Any]) -> dict[str, object]:
    return {"outages": [Outage.of(outage).to_dict() for outage in outages]}


def _plain(own: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**own, **_told(own["outages"])} if "outages" in own else own


_NAMES = {knob.name for knob in fields(SimulatorSettings)}


def _demand(name: str, fits: bool, wanted: str) -> None:
    if not fits:
        raise UsageError(f"the simulator's {name} has to be {wanted}")
