"""The flow `reconcile_dataset`: the ledger against Cloudflare's figures, as `fluxbatch reconcile` does it.

For a schedule. It settles nothing unless it is told which attempts, and why.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import Field

from flows.generate import out_of_the_way
from fluxbatch.reconcile import Wishes, reconcile
from fluxbatch.reconciled import Reconciled, advice, quarter_rows, to_dict
from fluxbatch.settings import load_settings


@flow(name="reconcile-dataset", retries=0)
def reconcile_dataset(
    dataset: Annotated[Path, Field(description="The folder that a run wrote")],
    billed: Annotated[list[str] | None, Field(description="Settle as billed: KEY, KEY#N, or all")] = None,
    not_billed: Annotated[list[str] | None, Field(description="Settle as not billed: KEY, KEY#N, or all")] = None,
    why: Annotated[str, Field(description="The reason, kept beside each decision")] = "decided with the flow",
    offline: Annotated[bool, Field(description="Do not ask Cloudflare for its figures")] = False,
) -> State[dict[str, Any]]:
    """What may have been billed. Fails when Cloudflare has billed what the ledger does not know."""
    wishes = Wishes(billed or (), not_billed or (), why)
    found = reconcile(dataset, load_settings(), wishes, offline=offline)
    _publish(found)
    told = f"{len(found.unknown):,} unknown, {len(found.settled):,} settled"
    if found.not_compared is not None:
        told += f"; not compared: {found.not_compared}"
    if found.says_more:
        return Failed(message=f"Cloudflare has billed more than the ledger knows; {told}", data=to_dict(found))
    return Completed(message=told, data=to_dict(found))


def _publish(found: Reconciled) -> None:
    with out_of_the_way("the comparison"):
        create_table_artifact(quarter_rows(found), key="billed", description="the ledger and Cloudflare's figures")
        create_markdown_artifact("\n\n".join(advice(found)) or "Nothing is unknown.", key="reconciled")
