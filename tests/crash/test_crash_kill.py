"""kill -9, at moments that chance chooses: nothing booked is paid again, nothing kept is lost (Shows 4)."""

from __future__ import annotations

import json
import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fluxbatch.simulator import Simulator
from tests.crash.crash_kit import Reader, Victim
from tests.e2e.e2e_kit import SMALL_CENTINEURONS, Desk, calm, centineurons, rows, table, until
from tests.soak import soak

IN_FLIGHT = 50
KILLS = soak(2, 4)
"""Few: each starts the whole program anew, imports and all. `test_crash_random_*` kill often."""
OpenVictim = Callable[..., Victim]


@pytest.fixture
def open_victim(tmp_path: Path) -> Iterator[OpenVictim]:
    """A manifest of so many pictures before a simulator in a process of its own."""
    opened: list[Victim] = []

    def open_one(pictures: int, *options: str, latency_s: float, in_flight: int) -> Victim:
        bill_file = tmp_path / "bill.jsonl"
        simulator = Simulator(calm(latency_s=latency_s, latency_spread=0.5, bill_file=str(bill_file)))
        desk = Desk(tmp_path, simulator)
        opened.append(
            Victim(
                desk, desk.manifest(rows(pictures)), bill_file, in_flight, ("--max-in-flight", str(in_flight), *options)
            )
        )
        return opened[-1]

    yield open_one
    for victim in opened:
        victim.desk.close()
        victim.desk.simulator.close()


def test_five_hundred_pictures_survive_kills_in_the_middle(open_victim: OpenVictim) -> None:
    victim = open_victim(500, latency_s=0.25, in_flight=IN_FLIGHT)
    chance = random.Random(4)
    reader = Reader(victim.desk.out)
    reader.start()
    unknown = 0
    for _ in range(KILLS):
        victim.killed(victim.begin(), charges=chance.randrange(40, 120))
        listed = _listed_as_unknown(victim)
        before, unknown = unknown, victim.recovered()["unknown"]
        assert 0 <= unknown - before <= IN_FLIGHT, "at most what was in flight"
        assert unknown <= listed
        assert _listed_as_unknown(victim) == unknown
    _assert_settled(victim, victim.finish(), reader, pictures=500, kills=KILLS)


def test_kills_while_many_small_shards_are_sealed_and_recovered(open_victim: OpenVictim) -> None:
    victim = open_victim(300, "--rows-per-shard", "10", latency_s=0.05, in_flight=12)
    chance = random.Random(7)
    reader = Reader(victim.desk.out)
    reader.start()
    for _ in range(KILLS):
        victim.killed(victim.begin(), charges=chance.randrange(20, 70))
        victim.killed_at_its_start(victim.begin(), after_s=chance.uniform(0.0, 0.15))
    _assert_settled(victim, victim.finish(), reader, pictures=300, kills=2 * KILLS)
    assert len(reader.parts) > 10


def test_a_platform_that_dies_costs_at_most_what_was_in_flight(open_victim: OpenVictim) -> None:
    victim = open_victim(120, "--patience", "0.02", latency_s=0.3, in_flight=20)
    desk, first = victim.desk, victim.desk.simulator
    reader = Reader(desk.out)
    reader.start()
    process = victim.begin()
    until(lambda: len(victim.bill) >= 30, seconds=60)
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 5, err
    told = json.loads(out.splitlines()[-1])
    assert told["stopped_by"] == "platform"
    assert told["unknown"] <= 20
    assert told["left"] > 0
    first.close()

    desk.simulator = Simulator(first.settings)
    _assert_settled(victim, victim.finish(), reader, pictures=120, kills=1)


def _listed_as_unknown(victim: Victim) -> int:
    """What `status` lists: attempts that were sent and not resolved, some of them with their picture in the spool."""
    told = victim.desk.command("status", str(victim.desk.out), "--json").ended(0).json
    assert told["not_known"] == len(told["unknown"])
    return int(told["not_known"])


def _assert_settled(victim: Victim, told: dict[str, object], reader: Reader, pictures: int, kills: int) -> None:
    desk, bill = victim.desk, victim.bill
    reader.stop()
    reader.look()
    assert reader.troubles == []
    assert reader.looks > 5

    status = desk.command("status", str(desk.out), "--json").ended(0).json
    unknown = len(status["unknown"])
    assert unknown == told["unknown"]
    assert unknown <= kills * victim.in_flight
    assert centineurons(status["unknown_neurons"]) == unknown * 15_000
    assert status["reserved_usd"] == "0"
    assert status["in_spool"] == 0

    made = table(desk.out, ["key", "prompt", "neurons", "check"])
    assert made.num_rows == len(set(made["key"].to_pylist())) == pictures - unknown == reader.rows
    assert set(made["check"].to_pylist()) == {"ok"}

    # No prompt was sent twice, so nothing was paid twice; what is billed and not made is among the unknown.
    assert max(Counter(charge.prompt for charge in bill).values()) == 1
    assert max(desk.simulator.stats()["prompts"].values()) == 1
    billed = sum(charge.centineurons for charge in bill)
    spent = centineurons(str(told["spent_neurons"]))
    assert spent == made.num_rows * SMALL_CENTINEURONS
    billed_unknown = len({charge.prompt for charge in bill} - set(made["prompt"].to_pylist()))
    assert billed == spent + billed_unknown * SMALL_CENTINEURONS
    assert billed_unknown <= unknown

    desk.command("verify", str(desk.out)).ended(0)
    again = desk.run(victim.manifest, *victim.options, budget="50").json
    assert (again["requests"], again["made"], again["already"], again["unknown"]) == (0, 0, pictures - unknown, unknown)
