"""The events on which an automation can act. Their resource is the dataset, so that one automation can follow one
dataset or all: `prefect.resource.id` is `fluxbatch.dataset.<id>`, `prefect.resource.name` the folder's name. Prefect
adds the flow run, flow, deployment and work pool as related resources.

| event | when | payload |
|---|---|---|
| fluxbatch.price.drift | at once, once a model and run | model, percent, expected and charged neurons |
| fluxbatch.budget.reached | at the end | as below |
| fluxbatch.run.stopped | at the end, if anything stopped it | stopped_by, reason, the summary's money and counts |
"""

from __future__ import annotations

from typing import Any

from prefect.events import emit_event

from fluxbatch.dispatch.drift import Drift
from fluxbatch.dispatch.stop import StoppedBy
from fluxbatch.models.money import exact
from fluxbatch.prepare import Prepared
from fluxbatch.summary import Summary

BUDGET_REACHED = "fluxbatch.budget.reached"
PRICE_DRIFT = "fluxbatch.price.drift"
RUN_STOPPED = "fluxbatch.run.stopped"

TOLD = ("stopped_by", "reason", "asked", "made", "left", "failed", "unknown", "budget_usd", "spent_usd", "unknown_usd")


def resource_of(ready: Prepared) -> dict[str, str]:
    """The dataset, as automations match it."""
    dataset = ready.dataset
    return {
        "prefect.resource.id": f"fluxbatch.dataset.{dataset.id}",
        "prefect.resource.name": dataset.folder.name,
        "fluxbatch.dataset.folder": str(dataset.folder),
        "fluxbatch.simulated": str(dataset.simulated).lower(),
    }


def tell_drift(ready: Prepared, drift: Drift) -> None:
    """A model's charges have left the price list."""
    payload = {
        "model": drift.model,
        "percent": None if drift.percent is None else str(drift.percent),
        "pictures": drift.pictures,
        "expected_neurons": exact(drift.expected.neurons),
        "charged_neurons": exact(drift.actual.neurons),
        "message": str(drift),
        "run": ready.run,
    }
    emit_event(PRICE_DRIFT, resource=resource_of(ready), payload=payload)


def tell_end(ready: Prepared, summary: Summary) -> None:
    """How the run ended, when something stopped it."""
    if summary.stopped_by is None:
        return
    told = summary.to_dict()
    payload: dict[str, Any] = {name: told[name] for name in TOLD} | {"run": ready.run}
    if summary.stopped_by is StoppedBy.BUDGET:
        emit_event(BUDGET_REACHED, resource=resource_of(ready), payload=payload)
    emit_event(RUN_STOPPED, resource=resource_of(ready), payload=payload)
