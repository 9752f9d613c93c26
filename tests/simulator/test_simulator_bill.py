"""The bill: one entry a charge, the same as the headers said, and still there after a kill."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from fluxbatch.errors import StorageError
from fluxbatch.simulator import read_bill
from fluxbatch.simulator.bill import Bill
from tests.simulator.simulator_kit import AT_ONCE, MODEL, PIXEL, Client, centineurons


async def test_the_bill_is_the_sum_of_the_headers(open_client: Callable[..., Client]) -> None:
    client = open_client(started_at=1_000_000.0, clock=lambda: 5.0)
    prompts = ["a", "b [[fault:3040]]", "c", "d [[fault:no-header]]", "e [[fault:500]]", "c"]
    answers = [await client.ask(prompt, steps=n + 1, width=300 + n) for n, prompt in enumerate(prompts)]
    said = [centineurons(answer) for answer in answers if "cf-ai-neurons" in answer.headers]
    bill = client.platform.bill
    unsaid = [charge.centineurons for charge in bill.charges if charge.prompt.startswith("d")]
    assert len(said) == 3
    assert bill.total_centineurons == sum(said) + sum(unsaid) == bill.charges[-1].total_centineurons
    assert [charge.prompt[0] for charge in bill.charges] == ["a", "c", "d", "c"]


async def test_an_entry_says_who_what_and_when(open_client: Callable[..., Client]) -> None:
    client = open_client(started_at=1_000_000.0, clock=lambda: 5.0)
    answer = await client.ask("a fox", input_image_0=PIXEL)
    [charge] = client.platform.bill.charges
    assert asdict(charge) == {
        "when": 1_000_000.0,
        "request_id": answer.headers["cf-ai-req-id"],
        "model": MODEL,
        "prompt": "a fox",
        "centineurons": 3750 + 7500,
        "width": 256,
        "height": 256,
        "steps": 4,
        "references": 1,
        "total_centineurons": 11250,
    }


async def test_a_bill_file_is_written_at_once_and_continued(open_client: Callable[..., Client], tmp_path: Path) -> None:
    path = str(tmp_path / "bill.jsonl")
    settings = replace(AT_ONCE, bill_file=path)
    first = open_client(settings)
    await first.ask("ein Füchslein\n\u2028")
    assert read_bill(path) == first.platform.bill.charges  # before anything was closed
    with Path(path).open("ab") as file:
        file.write(b'{"when": 17')  # a kill in the middle of a line
    second = open_client(replace(settings, seed=1))
    await second.ask("b")
    assert [charge.total_centineurons for charge in read_bill(path)] == [3750, 7500]
    assert read_bill(path) == second.platform.bill.charges


async def test_a_reset_empties_the_bill_and_starts_over(open_client: Callable[..., Client], tmp_path: Path) -> None:
    path = str(tmp_path / "bill.jsonl")
    client = open_client(replace(AT_ONCE, bill_file=path, rate=1))
    first = await client.ask("a")
    assert (await client.ask("a")).status_code == 429
    await client.http.post("http://simulator/__simulator__/reset")
    assert (read_bill(path), client.charged, client.platform.traffic.answers) == ([], 0, {})
    again = await client.ask("a")
    assert again.status_code == 200
    assert again.headers["cf-ai-req-id"] == first.headers["cf-ai-req-id"]
    assert len(read_bill(path)) == 1


async def test_bill_and_statistics_can_be_read_from_outside(client: Client) -> None:
    await client.ask("a fox")
    await client.ask("a fox [[fault:3040]]")
    bill = (await client.http.get("http://simulator/__simulator__/bill?entries=1")).json()
    assert (bill["entries"], bill["total_centineurons"], bill["charges"][0]["prompt"]) == (1, 3750, "a fox")
    assert "charges" not in (await client.http.get("http://simulator/__simulator__/bill")).json()
    stats = (await client.http.get("http://simulator/__simulator__/stats?arrivals=1&prompts=1")).json()
    assert stats["answers"] == {"200": 1, "429/3040": 1}
    assert (stats["requests"], stats["in_flight"], stats["in_flight_peak"], stats["making_peak"]) == (2, 0, 1, 1)
    assert stats["prompts"] == {"a fox": 1, "a fox [[fault:3040]]": 1}
    assert len(stats["arrivals_s"]) == 2


def test_a_bill_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="choose another"):
        Bill(str(tmp_path / "missing" / "bill.jsonl"))


async def test_the_pre_flight_finds_the_model_and_costs_nothing(client: Client) -> None:
    search = "/accounts/{}/ai/models/search?search={}"
    account = client.platform.settings.account
    headers = {"Authorization": f"Bearer {client.platform.settings.token}"}
    found = (await client.http.get(search.format(account, "flux-2-dev"), headers=headers)).json()
    assert (found["success"], [model["name"] for model in found["result"]]) == (True, [MODEL])
    assert (await client.http.get(search.format(account, "flux-9"), headers=headers)).json()["result"] == []
    wrong_account = await client.http.get(search.format("f" * 32, "flux-2-dev"), headers=headers)
    assert (wrong_account.status_code, wrong_account.json()["errors"][0]["code"]) == (404, 7003)
    no_token = await client.http.get(search.format(account, "flux-2-dev"))
    assert (no_token.status_code, no_token.json()["errors"][0]["code"]) == (401, 10000)
    assert (client.charged, client.platform.traffic.arrivals_s) == (0, [])
