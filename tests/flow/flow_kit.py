# ruff: noqa: TID251 - the flow's tests look at what Prefect noted
"""Running the flow as a user of Prefect does, and reading back what Prefect noted.

Prefect is imported when a test runs, not when tests are collected: it takes seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.e2e.e2e_kit import Desk, placed

if TYPE_CHECKING:
    from prefect.client.schemas.objects import Artifact, FlowRun, Log, State, TaskRun


def run_flow(
    desk: Desk,
    manifest: Path,
    budget: str = "5",
    *,
    out: Path | None = None,
    meanwhile: Callable[[], Coroutine[Any, Any, None]] | None = None,
    **parameters: Any,
) -> State[Any]:
    """The flow in this process, with the desk's environment; its final state. `meanwhile` runs on the same loop."""
    from flows.generate import generate_dataset

    async def run() -> State[Any]:
        async with asyncio.TaskGroup() as group:
            if meanwhile is not None:
                group.create_task(meanwhile())
            return await generate_dataset(manifest, out or desk.out, budget, return_state=True, **parameters)

    with placed(desk.folder, desk.variables()):
        return asyncio.run(run())


class Noted:
    """Everything that the server knows about one flow run."""

    def __init__(self, state: State[Any]) -> None:
        from prefect.client.orchestration import get_client
        from prefect.client.schemas import filters

        assert state.state_details.flow_run_id is not None
        self._id = state.state_details.flow_run_id
        ours = filters.FlowRunFilter(id=filters.FlowRunFilterId(any_=[self._id]))
        of_run = filters.ArtifactFilter(flow_run_id=filters.ArtifactFilterFlowRunId(any_=[self._id]))
        with get_client(sync_client=True) as client:
            self.run: FlowRun = client.read_flow_run(self._id)
            self.tasks: list[TaskRun] = client.read_task_runs(flow_run_filter=ours)
            found = client.read_artifacts(artifact_filter=of_run)
        self.artifacts: dict[str, Artifact] = {str(artifact.key): artifact for artifact in found}

    def logs(self) -> list[Log]:
        """The log lines that have arrived: they are sent in batches, behind the run."""
        from prefect.client.orchestration import get_client
        from prefect.client.schemas import filters

        ours = filters.LogFilter(flow_run_id=filters.LogFilterFlowRunId(any_=[self._id]))

        async def read() -> list[Log]:
            async with get_client() as client:
                return await client.read_logs(log_filter=ours, limit=200)

        return asyncio.run(read())

    def everything(self) -> str:
        """All of it as text."""
        return "\n".join(
            part.model_dump_json() for part in [self.run, *self.tasks, *self.artifacts.values(), *self.logs()]
        )
