"""On a real socket: what becomes of the connection, of the bill when a client leaves, and of the process."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import httpx  # noqa: TID251 - tests talk to the simulator with it
import pytest

from fluxbatch.errors import FluxbatchError
from fluxbatch.simulator import Simulator, read_bill
from tests.simulator.simulator_kit import AT_ONCE, FORM_HEADERS, RUN, centineurons, picture, wanted

COMMAND = [sys.executable, "-m", "fluxbatch.simulator"]
PARENT = """
import sys
from fluxbatch.simulator import Simulator
simulator = Simulator()
print(simulator.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(AT_ONCE, in_thread=True) as running:
        yield running


@pytest.fixture
async def http(simulator: Simulator) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=simulator.base_url, headers=FORM_HEADERS, trust_env=False) as client:
        yield client


async def _until(simulator: Simulator, key: str, value: object) -> None:
    """Look until the statistics say so; the test's own timeout ends a wait in vain."""
    while simulator.stats()[key] != value:
        await asyncio.sleep(0.005)


async def test_a_picture_comes_over_the_wire_and_is_billed(simulator: Simulator, http: httpx.AsyncClient) -> None:
    answer = await http.post(RUN, content=wanted())
    assert picture(answer).size == (256, 256)
    assert [charge.centineurons for charge in simulator.bill()] == [centineurons(answer)]
    assert simulator.total_centineurons() == 3750


@pytest.mark.parametrize(
    ("fault", "charged"),
    [("lost-before", 0), ("lost-after", 3750), ("lost-after+free", 0), ("reset-before", 0), ("reset-after", 3750)],
)
async def test_a_lost_connection_says_nothing_and_bills_as_named(
    simulator: Simulator, http: httpx.AsyncClient, fault: str, charged: int
) -> None:
    error = httpx.ReadError if fault.startswith("reset") else httpx.RemoteProtocolError
    with pytest.raises(error):
        await http.post(RUN, content=wanted(f"[[fault:{fault}]]"))
    assert simulator.total_centineurons() == charged
    assert simulator.stats()["answers"] == {fault: 1}
    assert (await http.post(RUN, content=wanted())).status_code == 200


async def test_a_truncated_body_ends_before_its_length(simulator: Simulator, http: httpx.AsyncClient) -> None:
    async with http.stream("POST", RUN, content=wanted("[[fault:truncated-body]]")) as answer:
        length = int(answer.headers["content-length"])
        with pytest.raises(httpx.RemoteProtocolError, match=f"received {length // 2} bytes, expected {length}"):
            await answer.aread()
    assert answer.status_code == 200
    assert simulator.total_centineurons() == 3750


async def test_a_hang_answers_nothing_until_the_client_leaves(simulator: Simulator, http: httpx.AsyncClient) -> None:
    with pytest.raises(httpx.ReadTimeout):
        await http.post(RUN, content=wanted("[[fault:hang]]"), timeout=httpx.Timeout(5, read=0.1))
    assert simulator.total_centineurons() == 3750
    await _until(simulator, "in_flight", 0)


async def test_a_client_that_leaves_while_its_picture_is_made_is_billed(
    simulator: Simulator, http: httpx.AsyncClient
) -> None:
    simulator.change(latency_s=0.2, latency_spread=0)
    with pytest.raises(httpx.ReadTimeout):
        await http.post(RUN, content=wanted(), timeout=httpx.Timeout(5, read=0.05))
    assert simulator.total_centineurons() == 0
    await _until(simulator, "in_flight", 0)
    assert simulator.total_centineurons() == 3750


async def test_a_client_that_leaves_before_its_request_is_whole_is_not_billed(simulator: Simulator) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(simulator.base_url).port)
    writer.write(f"POST /client/v4{RUN} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf".encode())
    await writer.drain()
    await _until(simulator, "in_flight", 1)
    writer.close()
    await writer.wait_closed()
    await _until(simulator, "disconnects", 1)
    assert (simulator.stats()["in_flight"], simulator.bill()) == (0, [])


async def test_small_answers_do_not_wait_for_an_acknowledgement(simulator: Simulator, http: httpx.AsyncClient) -> None:
    """With Nagle's algorithm left on, each answer took 40 ms."""
    await http.post(RUN, content=wanted())
    took = [(await http.post(RUN, content=wanted())).elapsed.total_seconds() for _ in range(20)]
    assert sorted(took)[10] < 0.02


async def test_closing_bills_what_is_in_the_making_and_waits_for_no_hang(tmp_path: Path) -> None:
    path = tmp_path / "bill.jsonl"
    simulator = Simulator(replace(AT_ONCE, latency_s=60, latency_spread=0, bill_file=str(path)), in_thread=True)
    async with httpx.AsyncClient(base_url=simulator.base_url, headers=FORM_HEADERS, trust_env=False) as client:
        asked = asyncio.create_task(client.post(RUN, content=wanted(), timeout=30))
        await _until(simulator, "making", 1)
        await asyncio.to_thread(simulator.close)
        with pytest.raises(httpx.HTTPError):
            await asked
    assert [charge.centineurons for charge in read_bill(path)] == [3750]


def test_a_simulator_in_its_own_process_takes_its_settings_whole_and_ends(tmp_path: Path) -> None:
    settings = replace(AT_ONCE, faults={"3040": 1.0}, bill_file=str(tmp_path / "bill.jsonl"))
    with Simulator(settings) as simulator:
        assert simulator.pid is not None
        answer = httpx.post(simulator.base_url + RUN, content=wanted(), headers=FORM_HEADERS, trust_env=False)
        assert answer.json()["errors"][0]["code"] == 3040
        simulator.change(faults={})
        answer = httpx.post(simulator.base_url + RUN, content=wanted(), headers=FORM_HEADERS, trust_env=False)
        assert answer.status_code == 200
        assert simulator.bill() == read_bill(tmp_path / "bill.jsonl")
        assert len(simulator.bill()) == 1
        with pytest.raises(FluxbatchError, match="unknown simulator setting"):
            simulator.change(colour="blue")
        simulator.reset()
        assert simulator.bill() == []
    with pytest.raises(ProcessLookupError):
        os.kill(simulator.pid, 0)
    with pytest.raises(FluxbatchError, match="does not answer"):
        simulator.bill()


def test_a_simulator_dies_with_its_parent_even_if_that_is_killed() -> None:
    """Both hold the other end of `alive`: it ends when the last of them is gone."""
    alive, held = os.pipe()
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=held
    )
    os.close(held)
    assert parent.stdout is not None
    assert parent.stdin is not None
    os.kill(int(parent.stdout.readline()), 0)
    parent.kill()
    parent.wait()
    ready, _, _ = select.select([alive], [], [], 20)
    assert ready, "the simulator outlived its parent"
    assert os.read(alive, 1) == b""
    os.close(alive)
    parent.stdin.close()
    parent.stdout.close()


def test_ctrl_c_in_the_terminal_is_not_for_the_simulator() -> None:
    with Simulator() as simulator:
        assert simulator.pid is not None
        assert os.getpgid(simulator.pid) != os.getpgid(0)


def test_a_port_that_is_taken_is_said(simulator: Simulator) -> None:
    port = httpx.URL(simulator.base_url).port
    assert port is not None
    with pytest.raises(FluxbatchError, match=f"cannot take port {port}"):
        Simulator(port=port, in_thread=True)


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 0)])
def test_the_command_says_where_it_listens_and_ends_quietly_on_a_signal(sign: signal.Signals, code: int) -> None:
    running = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout is not None
    said = json.loads(running.stdout.readline())
    assert said["base_url"] == f"http://127.0.0.1:{said['port']}/client/v4"
    running.send_signal(sign)
    assert running.stderr is not None
    assert running.stderr.read() == b""
    assert running.wait(20) == code
    for pipe in (running.stdin, running.stdout, running.stderr):
        assert pipe is not None
        pipe.close()


def test_the_command_refuses_bad_settings() -> None:
    bad = subprocess.run([*COMMAND, "--json-settings", '{"rats": 1}'], capture_output=True, check=False)
    assert bad.returncode == 2
    assert b"unknown simulator setting rats" in bad.stderr
