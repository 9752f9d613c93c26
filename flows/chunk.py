"""The flow `generate_chunk`: one chunk of a batch, as `generate_dataset` begins it over the work pool."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.generate import carry_out, generate_dataset, job_of, settings_of
from fluxbatch.job import Chunk


@flow(name="generate-chunk", retries=0)
async def generate_chunk(chunk: Chunk, given: dict[str, Any]) -> State[dict[str, Any]]:
    """Make one chunk of a manifest. Begun by generate_dataset, with the parameters that it was given itself."""
    values = generate_dataset.validate_parameters(given)
    # The run that had the chunk before may be alive by its lease: it is waited for until it has ended, or is silent.
    settings = settings_of({**values, "if_running": "wait"})
    what = (values["manifest"], values["out"], values["budget_usd"])
    job = job_of(*what, settings, values["columns"], values["own_columns"], values["simulate"])
    return await carry_out(replace(job, chunk=chunk), values["credentials"])
