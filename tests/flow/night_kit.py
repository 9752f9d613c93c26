"""A night that goes badly: runs on a Prefect server, begun together, each on a dataset and an account of its own.

An account is a simulator and a credentials block, so a run's bill is its own; the workers' environment has none.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fluxbatch.simulator import Simulator
from tests.e2e.e2e_kit import Desk, calm, centineurons, rows, table, until
from tests.flow.orchestra import Orchestra

IN_FLIGHT = 4
ROWS = 240
SLOW_S, QUICK_S = 4.0, 0.02
LIMITS = {"FLUXBATCH_MAX_IN_FLIGHT": str(IN_FLIGHT), "FLUXBATCH_ROWS_PER_SHARD": "50"}


def token_of(name: str) -> str:
    return f"cfut_CanaryOf-{name}"


@dataclass
class Case:
    """One run under way, and whoever owns its dataset."""

    name: str
    desk: Desk
    manifest: Path
    run: str = ""
    died_at_s: float = 0.0

    @property
    def parameters(self) -> dict[str, Any]:
        where = {"manifest": str(self.manifest), "out": str(self.desk.out)}
        return {**where, "budget_usd": 5, "credentials": self.name}

    @property
    def bill(self) -> int:
        """How many pictures were billed."""
        return len(self.desk.simulator.bill())

    def is_sending(self) -> bool:
        return self.bill >= 1 and self.desk.simulator.stats()["making"] == IN_FLIGHT

    def pace(self, latency_s: float) -> None:
        self.desk.simulator.change(latency_s=latency_s)

    def assert_the_next_run_makes_the_rest(self, lost_max: int) -> None:
        """Each picture paid once; what is spent and what may have been cover the bill; lost is what was in flight."""
        self.pace(QUICK_S)
        until(lambda: self.desk.simulator.stats()["making"] == 0)
        again = self.desk.run(self.manifest)
        told = again.json
        assert told["unknown"] <= lost_max
        assert again.code == (4 if told["unknown"] else 0), again.all
        assert told["made"] + told["already"] + told["unknown"] == ROWS
        assert told["requests"] == told["made"], "what was sent before is not sent again"
        spent, unknown = centineurons(told["spent_neurons"]), centineurons(told["unknown_neurons"])
        assert spent <= self.desk.billed <= spent + unknown
        prompts = [charge.prompt for charge in self.desk.simulator.bill()]
        assert len(prompts) == len(set(prompts)), "no picture was paid twice"
        assert table(self.desk.out, ["key"]).num_rows == ROWS - told["unknown"]


@dataclass
class Night:
    o: Orchestra
    server: subprocess.Popen[bytes]
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    cases: dict[str, Case] = field(default_factory=dict)
    demo: str = ""
    """The run of the deployment that README begins with."""
    doubled: dict[str, Any] = field(default_factory=dict)
    """The state of a run that was begun while the same deployment's was under way."""

    def begin(self, case: Case, queue: str) -> None:
        """Unless it is begun."""
        case.run = case.run or self.o.begin("generate-dataset/nightly", queue, **case.parameters)

    def process_of(self, case: Case) -> int:
        found = self.o.process_of(case.run)
        assert found is not None, f"{case.name} does not run\n{self.o.logs()}"
        return found

    def ended(self, case: Case, seconds: float = 60, kind: str | None = None) -> tuple[str, str]:
        """Its final state (of this kind) and message; says after how long Prefect showed it."""
        if kind is not None:
            until(lambda: bool(self.o.state(case.run)["type"] == kind), seconds)
        state = self.o.ended(case.run, seconds)
        took = time.monotonic() - case.died_at_s
        print(f"DEATH | {case.name} | {state['type']} | {took:.1f} s | {state['message']}")
        assert took < 300, "it takes Prefect too long to show what is true"
        return str(state["type"]), str(state["message"])


def case_of(o: Orchestra, name: str, stack: ExitStack) -> Case:
    simulator = stack.enter_context(Simulator(calm(latency_s=0.5, token=token_of(name)), in_thread=True))
    desk = Desk(o.folder / name, simulator, {"FLUXBATCH_LEDGER": f"sqlite:///{o.ledger}"})
    desk.folder.mkdir()
    return Case(name, desk, desk.manifest(rows(ROWS, prompt=name)))


def account_of(case: Case) -> Mapping[str, str]:
    """As the environment has it."""
    return {name: text for name, text in case.desk.variables().items() if name.startswith("CLOUDFLARE_")}


def save_block(o: Orchestra, case: Case) -> None:
    """As the UI's form does it."""
    kind = o.ask("block_types/slug/cloudflare-credentials")["id"]
    [schema] = o.ask("block_schemas/filter", {"block_schemas": {"block_type_id": {"any_": [kind]}}})
    simulator = case.desk.simulator
    secrets = {"account_id": simulator.account, "api_token": simulator.token, "base_url": simulator.base_url}
    block = {"name": case.name, "data": secrets, "block_schema_id": schema["id"], "block_type_id": kind}
    o.ask("block_documents/", block)


def begin_all(night: Night, queues: Mapping[str, str]) -> None:
    """Each run on the worker of its queue; returned when all have pictures in flight."""
    for name, queue in queues.items():
        night.begin(night.cases[name], queue)
    waiting = {name: night.cases[name] for name in queues}

    def all_are_sending() -> bool:
        for name, case in list(waiting.items()):
            if case.is_sending():
                case.pace(SLOW_S)
                del waiting[name]
        return not waiting

    try:
        until(all_are_sending, seconds=300)
    except AssertionError as error:
        states = {name: night.o.state(case.run) for name, case in waiting.items()}
        told = "\n".join(f"{name}: {one['type']} {one['message']}" for name, one in states.items())
        raise AssertionError(f"not sending:\n{told}\n{night.o.logs()}") from error
