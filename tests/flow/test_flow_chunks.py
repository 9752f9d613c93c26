"""A batch over several workers: Prefect and the ledger on PostgreSQL, the dataset in an S3 store, and workers that are
killed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.chunks import chunks_of
from fluxbatch.simulator import Simulator
from tests.e2e.e2e_kit import REPOSITORY, SMALL_CENTINEURONS, Desk, calm, rows, until
from tests.flow.orchestra import FINAL, PAUSE, Orchestra, kill, orchestra
from tests.postgres_kit import Cluster, own_schema
from tests.soak import IS_SOAK, soak
from tests.store.store_case import StoreReader
from tests.store.store_kit import Bucket, S3Server

pytestmark = [
    pytest.mark.xdist_group("prefect"),
    pytest.mark.skipif(not (REPOSITORY / "prefect.yaml").exists(), reason="there is no prefect.yaml"),
]

PICTURES = soak(200, 5_000)
WORKERS = CHUNKS = soak(2, 4)
IN_FLIGHT = 4
RATE = soak(600, 1_200)
"""A minute, over all: the platform refuses what goes beyond."""
KILL_EVERY_S = 20.0
LEASE_S = 20.0
WINDOW_S = 60.0


@dataclass
class House:
    """A Prefect server and its workers, a simulator with a strict limit, a bucket, and a desk to work at."""

    o: Orchestra
    desk: Desk
    bucket: Bucket
    workers: list[Any] = field(default_factory=list)
    begun: int = 0
    """How many runs of chunks there were before this batch."""

    def begin(self, name: str, pictures: int, chunks: int) -> str:
        """A batch into the dataset of this name."""
        self.desk.simulator.reset()
        self.begun = len(self._chunk_runs())
        manifest = self.desk.manifest(rows(pictures, name), f"{name}.csv")
        where = {"manifest": str(manifest), "out": self.address(name), "budget_usd": 20}
        return self.o.begin("generate-dataset/nightly", **where, chunks=chunks)

    def address(self, name: str) -> str:
        return str(self.bucket.at(name))

    def chunk_runs(self) -> list[dict[str, Any]]:
        """The runs of this batch's chunks."""
        return self._chunk_runs()[self.begun :]

    def processes(self) -> list[int]:
        """Those in which a chunk is being made."""
        running = [run["id"] for run in self.chunk_runs() if run["state"]["type"] not in FINAL]
        return [pid for run in running if (pid := self.o.process_of(run)) is not None]

    def _chunk_runs(self) -> list[dict[str, Any]]:
        flows = {"flows": {"name": {"any_": ["generate-chunk"]}}}
        found: list[dict[str, Any]] = self.o.ask("flow_runs/filter", flows)
        return sorted(found, key=lambda run: str(run["created"]))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, postgres_cluster: Cluster) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("chunks")
    with ExitStack() as stack:
        bucket = Bucket.new(stack.enter_context(S3Server()), "pictures")
        simulator = stack.enter_context(Simulator(calm(latency_s=1.0, rate=RATE), in_thread=True))
        ledger = stack.enter_context(own_schema(postgres_cluster.url))
        state = {"XDG_STATE_HOME": str(folder / "state")}
        desk = Desk(folder, simulator, {"FLUXBATCH_LEDGER": ledger, **bucket.variables, **state})
        stack.callback(desk.close)
        settings = {
            **{name: text for name, text in desk.variables().items() if name.startswith(("CLOUDFLARE_", "AWS_"))},
            "FLUXBATCH_LEDGER": ledger,
            "FLUXBATCH_RATE": str(RATE),
            "FLUXBATCH_LEASE": str(LEASE_S),
            "FLUXBATCH_MAX_IN_FLIGHT": str(IN_FLIGHT),
            **state,
        }
        (folder / "night").mkdir()
        o = stack.enter_context(orchestra(folder / "night", **settings))
        o.keep_in(postgres_cluster.new_database(folder.name))
        o.start_server()
        o.fluxbatch("prefect", "setup")
        o.do("prefect", "--no-prompt", "deploy", "--all")
        one = House(o, desk, bucket)
        one.workers = [o.start_worker() for _ in range(WORKERS)]
        yield one


@pytest.fixture
def reader(house: House) -> Iterator[StoreReader]:
    reader = StoreReader(house.bucket.at("large"), every_s=1.0)
    reader.start()
    yield reader
    reader.stop()


def test_a_batch_over_four_workers_that_are_killed_makes_each_picture_once(house: House, reader: StoreReader) -> None:
    run = house.begin("large", PICTURES, CHUNKS)
    until(lambda: house.desk.billed > 0, seconds=120)
    kills = _killed_until_it_ends(house, run)
    state = house.o.ended(run, seconds=300)
    reader.stop()
    assert state["type"] == "COMPLETED", state["message"]
    assert kills >= soak(2, 10)
    assert reader.troubles == []
    dataset = Dataset.open(reader.home)
    keys = [key for part in dataset.parts for key, _, _ in dataset.keys(part)]
    assert Counter(keys).most_common(1)[0][1] == 1
    made, unknown = len(keys), PICTURES - len(keys)
    assert unknown <= kills * IN_FLIGHT
    stats = house.desk.simulator.stats()
    assert Counter(stats["prompts"]).most_common(1)[0][1] == 1, "no picture was asked for twice"
    assert made * SMALL_CENTINEURONS <= house.desk.billed <= PICTURES * SMALL_CENTINEURONS
    assert f"{made:,} made" in state["message"]
    assert stats["answers"].keys() == {"200"}, "never more than the rate in any window"
    _assert_the_pace(stats["arrivals_s"])
    assert len({part.run_id for part in dataset.parts}) >= CHUNKS
    assert chunks_of(dataset) == []
    assert house.desk.command("verify", house.address("large")).code == 0


def _killed_until_it_ends(house: House, run: str) -> int:
    """Kill a chunk's process, and every other time the worker that runs it as well."""
    kills, next_s = 0, time.monotonic()
    while house.o.state(run)["type"] not in FINAL:
        PAUSE.wait(0.5)
        if time.monotonic() < next_s or kills >= soak(2, 10_000) or not (found := house.processes()):
            continue
        next_s = time.monotonic() + soak(4.0, KILL_EVERY_S)
        if kills % 2:
            worker = house.workers.pop(0)
            kill(worker.pid)
            house.workers.append(house.o.start_worker())
        kill(found[kills % len(found)])
        kills += 1
    return kills


def _assert_the_pace(arrivals_s: list[float]) -> None:
    at = sorted(arrivals_s)
    for first, after in zip(at, at[RATE:], strict=False):
        assert after - first >= WINDOW_S


@pytest.mark.skipif(not IS_SOAK, reason="a minute of waiting for imports: make soak")
def test_a_batch_that_is_cancelled_ends_its_chunks_and_keeps_what_they_have_made(house: House) -> None:
    run = house.begin("cancelled", 2_000, 2)
    until(lambda: house.desk.billed > 20 * SMALL_CENTINEURONS, seconds=120)
    house.o.do("prefect", "flow-run", "cancel", run)
    assert house.o.ended(run, seconds=120)["type"] == "CANCELLED"
    until(lambda: all(one["state"]["type"] in FINAL for one in house.chunk_runs()), seconds=60)
    billed = house.desk.billed
    dataset = Dataset.open(house.bucket.at("cancelled"))
    assert sum(part.rows for part in dataset.parts) * SMALL_CENTINEURONS == billed
    assert {one["state"]["type"] for one in house.chunk_runs()} == {"CANCELLED"}


def test_a_flow_goes_on_when_postgresql_is_killed_with_ledger_and_prefect_on_it(
    house: House, postgres_cluster: Cluster
) -> None:
    house.desk.simulator.reset()
    manifest = house.desk.manifest(rows(80, "killed"), "killed.csv")
    where = {"manifest": str(manifest), "out": house.address("killed"), "budget_usd": 20}
    run = house.o.begin("generate-dataset/nightly", **where)
    until(lambda: house.desk.billed > 0, seconds=120)
    postgres_cluster.kill()
    died_s = time.monotonic()
    until(lambda: house.desk.simulator.stats()["making"] == 0, seconds=30)
    sent = house.desk.requests
    PAUSE.wait(2.0)
    assert house.desk.requests == sent, "without its ledger it sends nothing"
    postgres_cluster.start()
    state = house.o.ended(run, seconds=240)
    print(f"DEATH | PostgreSQL | {state['type']} | {time.monotonic() - died_s:.1f} s | {state['message']}")
    assert (state["type"], state["message"]) == ("COMPLETED", "80 made, 0 before, 0 left of 80")
    assert set(house.desk.simulator.stats()["prompts"].values()) == {1}
    assert house.desk.billed == 80 * SMALL_CENTINEURONS
    assert house.desk.command("verify", house.address("killed")).code == 0
