"""What a Prefect server needs before fluxbatch's flows run on it: `fluxbatch prefect setup`. It may be run again.

Made, or found as it should be, and said: a work pool of type process, whose flows send heartbeats often enough; the
automation that marks a run Crashed when its heartbeats stay away; the block type of the credentials, and a block with
those of the environment. Heartbeats and automation belong together: an automation that waits for less than three
heartbeats ends runs that are well.
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from prefect.automations import Automation, AutomationCore, ChangeFlowRunState, EventTrigger, Posture
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from prefect.variables import Variable
from prefect.workers.process import ProcessWorker

import flows  # noqa: F401 - sets what Prefect reads when it is imported
from flows import HEARTBEAT_S
from flows.credentials import DEFAULT_BLOCK, CloudflareCredentials
from flows.outage import NO_HEARTBEAT, is_up
from fluxbatch.errors import FluxbatchError, UsageError
from fluxbatch.exit_codes import EXIT_COMPLETE, EXIT_STOPPED, EXIT_USAGE
from fluxbatch.settings import load_settings

POOL = "fluxbatch-local"
WINDOW_S = 240
HEARTBEATS_MIN = 3
HEARTBEAT = "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"
AUTOMATION = "fluxbatch: a run without a heartbeat is crashed"
VARIABLE = "fluxbatch_setup"
FLOWS = ("generate-dataset", "generate-chunk", "generate-sweep", "reconcile-dataset")
MADE, CHANGED, FOUND = "made", "changed", "found"


@dataclass(frozen=True, slots=True)
class Wanted:
    """UsageError when heartbeats and window do not fit together."""

    pools: tuple[str, ...] = (POOL,)
    block: str = DEFAULT_BLOCK
    replace_block: bool = False
    heartbeat_s: int = HEARTBEAT_S
    window_s: int = WINDOW_S

    def __post_init__(self) -> None:
        if self.heartbeat_s < 30:
            raise UsageError(f"--heartbeat {self.heartbeat_s}: Prefect sends one in 30 s at most; take 30 or more")
        if self.window_s < HEARTBEATS_MIN * self.heartbeat_s:
            least = HEARTBEATS_MIN * self.heartbeat_s
            raise UsageError(
                f"--window {self.window_s}: shorter than {HEARTBEATS_MIN} heartbeats of {self.heartbeat_s} s, so runs "
                f"that are well would be marked as crashed; take {least} or more"
            )


async def set_up(wanted: Wanted) -> list[str]:
    """Bring the server to what is wanted; a line for each thing, saying what was done."""
    url = get_current_settings().api.url
    if url is None:
        raise UsageError(
            "no Prefect server is named; start one (prefect server start) and say where it is: "
            "prefect config set PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
    if not await is_up():
        raise UsageError(f"the Prefect server {url} does not answer; start it: prefect server start")
    async with get_client() as client:
        lines = [f"server      {url}"]
        lines += [_line("work pool", await _pool(client, name, wanted.heartbeat_s), name) for name in wanted.pools]
        done = await _automation(client, wanted)
        lines.append(_line("automation", done, f"{AUTOMATION} (none for {wanted.window_s} s)"))
        await CloudflareCredentials.aregister_type_and_schema()
        lines.append(_line("block type", "registered", CloudflareCredentials.get_block_type_slug()))
        lines.append(_line("block", *await _block(wanted)))
        lines.append(_line("variable", await _variable(wanted), VARIABLE))
    return lines


def _line(what: str, done: str, name: str) -> str:
    return f"{what:<11} {name}: {done}"


async def _pool(client: PrefectClient, name: str, heartbeat_s: int) -> str:
    """A pool of type process, in whose base job template the environment of all flows has the heartbeat."""
    try:
        pool = await client.read_work_pool(name)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        _fit(template, heartbeat_s)
        await client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template))
        return MADE
    if pool.type != "process":
        raise UsageError(f"the work pool {name} is there with the type {pool.type}; give another name: --pool NAME")
    template = pool.base_job_template
    if not _fit(template, heartbeat_s):
        return FOUND
    await client.update_work_pool(name, WorkPoolUpdate(base_job_template=template))
    return CHANGED


def _fit(template: dict[str, Any], heartbeat_s: int) -> bool:
    """Put the heartbeat into the template's environment, beside what is there, and what outlives a worker before the
    run; whether that changed it."""
    variables = template.setdefault("variables", {}).setdefault("properties", {})
    environment = variables.setdefault("env", {"type": "object"})
    command = variables.setdefault("command", {"type": "string"})
    before = environment.get("default") or {}, command.get("default")
    environment["default"] = before[0] | {HEARTBEAT: str(heartbeat_s)}
    command["default"] = shlex.join([sys.executable, "-m", "fluxbatch.outlive"])
    return before != (environment["default"], command["default"])


def automation_of(window_s: int) -> AutomationCore:
    """After a heartbeat of one of our flows there has to be another, or an end, within the window."""
    ends = ("Completed", "Failed", "Cancelled", "Crashed")
    message = f"{NO_HEARTBEAT}{window_s} s: the process is gone. Run it again; it goes on where it stopped."
    return AutomationCore(
        name=AUTOMATION,
        description="Made by `fluxbatch prefect setup`, which sets the heartbeat to fit.",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{end}" for end in ends)},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related={"prefect.resource.role": "flow", "prefect.resource.name": list(FLOWS)},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=window_s),
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=message)],
    )


async def _automation(client: PrefectClient, wanted: Wanted) -> str:
    core = automation_of(wanted.window_s)
    there = await client.read_automations_by_name(AUTOMATION)
    if not there:
        await client.create_automation(core)
        return MADE
    for again in there[1:]:
        await client.delete_automation(again.id)
    if _says(there[0]) == _says(core):
        return FOUND
    await client.update_automation(there[0].id, core)
    return CHANGED


def _says(automation: AutomationCore | Automation) -> dict[str, Any]:
    """What two automations have to have alike: a server adds ids of its own."""
    told = automation.model_dump(mode="json", exclude={"id"})
    told["trigger"].pop("id", None)
    for names in ("after", "expect", "for_each"):
        told["trigger"][names] = sorted(told["trigger"][names])
    return {name: told[name] for name in ("description", "trigger", "actions", "enabled")}


async def _block(wanted: Wanted) -> tuple[str, str]:
    """The block with the environment's credentials: what was done, and its name."""
    settings, name = load_settings(), wanted.block
    try:
        there = await CloudflareCredentials.aload(name)
    except ValueError:
        there = None
    if not settings.account_id or settings.api_token is None:
        if there is not None:
            return FOUND, name
        return "not made, CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_API_TOKEN are not set (the flows take a worker's)", name
    ours = CloudflareCredentials(
        account_id=settings.account_id, api_token=settings.api_token, base_url=settings.base_url
    )
    if there is None:
        await ours.asave(name)
        return f"{MADE} from the environment", name
    fields = ("account_id", "api_token", "base_url")
    if all(getattr(there, field) == getattr(ours, field) for field in fields):
        return FOUND, name
    if not wanted.replace_block:
        return "found, and is another account or token than the environment's (--replace-block takes that)", name
    await ours.asave(name, overwrite=True)
    return f"{CHANGED} to the environment's", name


async def _variable(wanted: Wanted) -> str:
    """What was set up, for whoever looks: the heartbeat, the window and the pools."""
    value = {"heartbeat_s": wanted.heartbeat_s, "window_s": wanted.window_s, "pools": list(wanted.pools)}
    there = await Variable.aget(VARIABLE)
    if there == value:
        return FOUND
    await Variable.aset(VARIABLE, value, tags=["fluxbatch"], overwrite=True)
    return MADE if there is None else CHANGED


def next_steps(wanted: Wanted) -> Iterator[str]:
    yield "next:"
    yield "  prefect --no-prompt deploy --all"
    for name in wanted.pools:
        yield f"  prefect worker start --pool {name}"
    yield "  prefect deployment run generate-dataset/demo --watch"


def main() -> None:
    """What a Prefect server needs for fluxbatch's flows: made, or found. May be run again."""
    parser = argparse.ArgumentParser(prog="fluxbatch prefect setup", description=main.__doc__)
    parser.add_argument("--pool", action="append", help=f"work pool of type process; may be given again [{POOL}]")
    parser.add_argument("--block", default=DEFAULT_BLOCK, help="name of the credentials block [%(default)s]")
    parser.add_argument(
        "--replace-block", action="store_true", help="the environment's credentials replace the block's"
    )
    parser.add_argument("--heartbeat", type=int, default=HEARTBEAT_S, help="seconds between heartbeats [%(default)s]")
    parser.add_argument("--window", type=int, default=WINDOW_S, help="seconds without one: crashed [%(default)s]")
    given = parser.parse_args()
    try:
        pools = tuple(given.pool or [POOL])
        wanted = Wanted(pools, given.block, given.replace_block, given.heartbeat, given.window)
        for line in (*asyncio.run(set_up(wanted)), *next_steps(wanted)):
            print(line)  # noqa: T201
    except FluxbatchError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(EXIT_USAGE if isinstance(error, UsageError) else EXIT_STOPPED)
    sys.exit(EXIT_COMPLETE)


if __name__ == "__main__":
    main()
