"""The flow `reconcile_dataset`: the ledger against Cloudflare's figures, as `fluxbatch reconcile` does it.

For a schedule. It settles nothing unless it is told which attempts, and why.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows import parameters as p
from flows.credentials import with_credentials
from flows.outage import out_of_the_way
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.errors import DatasetInUse
from fluxbatch.reconcile import Wishes, reconcile
from fluxbatch.reconciled import Reconciled, advice, quarter_rows, to_dict
from fluxbatch.settings import load_settings


def run_name() -> str:
    return f"reconcile {Path(str(flow_run.parameters['dataset'])).name}"


@flow(name="reconcile-dataset", flow_run_name=run_name, retries=0)
async def reconcile_dataset(
    dataset: p.Out,
    credentials: p.Credentials = None,
    billed: p.BilledKeys = None,
    not_billed: p.NotBilledKeys = None,
    why: p.Why = "decided with the flow",
    offline: p.Offline = False,
) -> State[dict[str, Any]]:
    """What may have been billed. Fails when Cloudflare has billed what the ledger does not know."""
    if not billed and not not_billed and not Dataset.exists(dataset):
        return Completed(message=f"nothing to compare yet: there is no dataset in {dataset}")
    settings = await with_credentials(load_settings(), credentials)
    wishes = Wishes(billed or (), not_billed or (), why)
    try:
        found = await asyncio.to_thread(reconcile, dataset, settings, wishes, offline=offline)
    except DatasetInUse:
        return Completed(message="a run is alive; its figures are compared when it has ended")
    await _publish(found)
    return _state(found)


def _state(found: Reconciled) -> State[dict[str, Any]]:
    told = f"{len(found.unknown):,} unknown, {len(found.settled):,} settled"
    if found.not_compared is not None:
        told += f"; not compared: {found.not_compared}"
    if found.says_more:
        return Failed(message=f"Cloudflare has billed more than the ledger knows; {told}", data=to_dict(found))
    return Completed(message=told, data=to_dict(found))


async def _publish(found: Reconciled) -> None:
    with out_of_the_way("the comparison"):
        await acreate_table_artifact(
            quarter_rows(found), key="billed", description="the ledger and Cloudflare's figures, by model and quarter"
        )
        text = "\n\n".join(advice(found)) or "Nothing is unknown."
        await acreate_markdown_artifact(text, key="reconciled", description="what may have been billed")
