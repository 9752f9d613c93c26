"""One process that forks runs and one simulator for all tests of a worker: each costs a second to start."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxbatch.simulator import Simulator
from tests.crash.case import Case, OpenCase, keys_of
from tests.crash.crash_kit import Reader
from tests.crash.remains import Pictures
from tests.crash.warm import Warm
from tests.e2e.e2e_kit import Desk, calm, until


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    with Warm(tmp_path_factory.mktemp("warm")) as warm:
        yield warm


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """A simulator in a process of its own, whose bill is a file."""
    bill_file = tmp_path_factory.mktemp("bill") / "bill.jsonl"
    with Simulator(calm(bill_file=str(bill_file))) as simulator:
        yield simulator


@pytest.fixture
def open_case(tmp_path: Path, warm: Warm, platform: Simulator) -> Iterator[OpenCase]:
    """A new dataset of so many pictures before the simulator, with a reader that looks at it all the while."""
    opened: list[Case] = []
    number = itertools.count()

    def open_one(
        rows: list[dict[str, object]], *options: str, in_flight: int, latency_s: float, spread: float = 0.5
    ) -> Case:
        until(lambda: platform.stats()["making"] == 0)
        platform.change(latency_s=latency_s, latency_spread=spread)
        platform.reset()
        folder = tmp_path / f"case-{next(number)}"
        folder.mkdir()
        desk = Desk(folder, platform)
        manifest = desk.manifest(rows)
        reader = Reader(desk.out, every_s=0.05)
        pictures = Pictures(desk.out)
        opened.append(Case(desk, warm, manifest, in_flight, options, keys_of(manifest), reader, pictures))
        reader.start()
        return opened[-1]

    yield open_one
    for case in opened:
        case.reader.stop()
