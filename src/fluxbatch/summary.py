"""What came of a run, as one value: for the screen, for `--json`, for the flow's artifacts."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from fluxbatch.dataset.place import Place
from fluxbatch.dispatch.drift import Drift
from fluxbatch.dispatch.lanes import Lanes
from fluxbatch.dispatch.stop import Stop, StoppedBy
from fluxbatch.dispatch.tally import Tally
from fluxbatch.exit_codes import EXIT_BUDGET, EXIT_COMPLETE, EXIT_INTERRUPTED, EXIT_SOME_FAILED, EXIT_STOPPED
from fluxbatch.models.money import Money, decimal_usd, exact


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """What this run had of one model. `limit`: how many may be in flight, as learned; `latency_s`: of a picture."""

    name: str
    made: int
    requests: int
    refusals: int
    peak_in_flight: int
    limit: int
    latency_s: float | None
    not_reached: int
    given_up: str | None
    """Why nothing more was sent to it while others worked."""

    def to_dict(self) -> dict[str, Any]:
        latency_s = None if self.latency_s is None else round(self.latency_s, 3)
        return {**asdict(self), "latency_s": latency_s}


def summaries_of(lanes: Lanes) -> tuple[ModelSummary, ...]:
    """Each model that had pictures due, in the order in which they came."""
    return tuple(
        ModelSummary(
            model.name,
            lane.made,
            lane.requests,
            lane.refusals,
            lane.peak_in_flight,
            lane.gate.flight.limit,
            lane.latency_s,
            lane.unreached,
            lanes.why_given_up(model),
        )
        for model, lane in lanes
    )


@dataclass(frozen=True, slots=True)
class Summary:
    """Pictures: `asked = already + made + refused + failed + unknown + too_dear + left`. Money is the dataset's, over
    all runs; `expected` is what this run's due pictures should have cost, `left_expected` what the remaining ones
    would."""

    asked: int
    already: int
    made: int
    refused: int
    failed: int
    unknown: int
    left: int
    rejected: int
    budget_nano_usd: int
    expected: Money
    left_expected: Money
    spare: Money
    """What the dearest picture can cost more than expected: so much has to be free when the last one is reserved."""
    spent: Money
    unknown_charges: Money
    spent_in_run: Money
    requests: int
    refusals: int
    peak_in_flight: int
    seconds: float
    stopped_by: StoppedBy | None
    reason: str | None
    codes: dict[str, int]
    dataset: Place
    drifts: tuple[Drift, ...] = ()
    """Models whose pictures were charged otherwise than expected."""
    models: tuple[ModelSummary, ...] = ()
    too_dear: int = 0
    not_selected: int = 0
    """In the manifest, and not asked for by this run; not among `asked`."""
    rate_per_minute: float | None = None
    """How many requests were allowed; None: not known."""

    @property
    def enough_nano_usd(self) -> int:
        """The budget with which the rest can be made, if charges are as expected: to the next cent."""
        cent = 10_000_000
        gone = self.spent + self.unknown_charges
        return -(-(gone + self.left_expected + self.spare).nano_usd // cent) * cent

    @property
    def exit_code(self) -> int:
        match self.stopped_by:
            case StoppedBy.BUDGET:
                return EXIT_BUDGET
            case StoppedBy.ACCOUNT | StoppedBy.PLATFORM:
                return EXIT_STOPPED
            case StoppedBy.SIGNAL:
                return EXIT_INTERRUPTED
            case None:
                return EXIT_SOME_FAILED if self.failed or self.unknown else EXIT_COMPLETE

    def to_json(self) -> str:
        """One line of ASCII, so that no path acts on a terminal; amounts are exact decimal strings."""
        return json.dumps(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        return {
            "asked": self.asked,
            "already": self.already,
            "made": self.made,
            "refused": self.refused,
            "failed": self.failed,
            "unknown": self.unknown,
            "left": self.left,
            "too_dear": self.too_dear,
            "not_selected": self.not_selected,
            "rejected": self.rejected,
            "budget_usd": exact(decimal_usd(self.budget_nano_usd)),
            "spent_in_run_usd": exact(self.spent_in_run.usd),
            "expected_usd": exact(self.expected.usd),
            "left_expected_usd": exact(self.left_expected.usd),
            "spent_usd": exact(self.spent.usd),
            "unknown_usd": exact(self.unknown_charges.usd),
            "spent_neurons": exact(self.spent.neurons),
            "unknown_neurons": exact(self.unknown_charges.neurons),
            "requests": self.requests,
            "refusals": self.refusals,
            "peak_in_flight": self.peak_in_flight,
            "rate_per_minute": self.rate_per_minute,
            "seconds": round(self.seconds, 3),
            "stopped_by": self.stopped_by,
            "reason": self.reason,
            "codes": self.codes,
            "dataset": str(self.dataset),
            "drifts": [_told(drift) for drift in self.drifts],
            "models": [model.to_dict() for model in self.models],
        }


def summarise(
    tally: Tally,
    stop: Stop,
    *,
    expected: Money,
    left_expected: Money,
    spare: Money,
    rejected: int,
    seconds: float,
    dataset: Place,
    spent_before: Money,
    models: tuple[ModelSummary, ...] = (),
    not_selected: int = 0,
    rate_per_minute: float | None = None,
) -> Summary:
    """The tally, read once at the end."""
    balance = tally.balance
    return Summary(
        asked=tally.asked,
        already=tally.already,
        made=tally.made,
        refused=tally.refused,
        failed=tally.failed,
        unknown=tally.unknown,
        left=tally.left,
        rejected=rejected,
        budget_nano_usd=balance.cap_nano_usd,
        expected=expected,
        left_expected=left_expected,
        spare=spare,
        spent=balance.spent,
        unknown_charges=balance.unknown + balance.reserved,
        spent_in_run=balance.spent - spent_before,
        requests=tally.requests,
        refusals=tally.refusals,
        peak_in_flight=tally.peak_in_flight,
        seconds=seconds,
        stopped_by=stop.by,
        reason=stop.reason,
        codes=dict(sorted(tally.codes.items())),
        dataset=dataset,
        drifts=tuple(tally.watch.said.values()),
        models=models,
        too_dear=tally.too_dear,
        not_selected=not_selected,
        rate_per_minute=rate_per_minute,
    )


def _told(drift: Drift) -> dict[str, Any]:
    return {
        "model": drift.model,
        "pictures": drift.pictures,
        "expected_neurons": exact(drift.expected.neurons),
        "charged_neurons": exact(drift.actual.neurons),
        "percent": None if drift.percent is None else str(drift.percent),
    }
