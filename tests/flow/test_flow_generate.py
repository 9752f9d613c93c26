"""The flow on a real Prefect server: the same dataset as the command, and what Prefect shows of it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from socket import socketpair
from typing import Any
from uuid import uuid4

import pytest

from fluxbatch.dataset.catalogue import Dataset, lock_file
from fluxbatch.dataset.lock import hold
from fluxbatch.dataset.record import LATER
from fluxbatch.job import Job
from fluxbatch.models.money import parse_usd
from fluxbatch.outlive import CONNECTION
from fluxbatch.provenance import Provenance, read
from fluxbatch.settings import load_settings
from tests.e2e.e2e_kit import REPOSITORY, SMALL_CENTINEURONS, Desk, centineurons, placed, rows, table, until
from tests.flow.flow_kit import Noted, run_flow
from tests.flow.hand_kit import (
    Deed,
    Hand,
    crashes,
    falls_silent,
    is_told_to_end,
    makes,
    takes_and_dies,
    without_logs_from_elsewhere,
)
from tests.hostile.canary_kit import PROMPT, TOKENS, everything_in
from tests.hostile.parrot import parroting

pytestmark = [
    pytest.mark.xdist_group("prefect"),
    pytest.mark.usefixtures("prefect_server"),
    # Prefect's HTTP client does not close every socket to its own server; ours are watched in tests/e2e.
    pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"),
]

OF_THE_MOMENT = (
    *("image", "sha256", "phash", *LATER[3], "size_bytes", "latency_s", "request_id", "created_at", "run_id"),
)
"""What two runs of one manifest do not share; the simulator writes the request's id into each picture."""


def rows_of(dataset: Path) -> list[dict[str, Any]]:
    made = table(dataset)
    kept = [name for name in made.column_names if name not in OF_THE_MOMENT]
    return made.select(kept).sort_by([("row", "ascending"), ("sample", "ascending")]).to_pylist()


def test_the_demo_gives_the_same_rows_as_the_command_and_the_bill_equals_the_ledger(desk: Desk) -> None:
    demo = REPOSITORY / "prompts" / "demo.csv"
    desk.simulator.change(paint="text")
    state = run_flow(desk, demo, "1")
    assert state.is_completed(), state.message
    told = _result(state)
    assert (told["made"], told["refused"], told["stopped_by"]) == (29, 1, None)
    assert centineurons(told["spent_neurons"]) == desk.billed

    desk.simulator.reset()
    other = desk.folder / "by the command"
    said = desk.run(demo, budget="1", out=other).ended(0)
    assert rows_of(desk.out) == rows_of(other)
    assert len(rows_of(other)) == 29
    assert table(desk.out).schema.equals(table(other).schema)
    counts = ("asked", "made", "refused", "failed", "unknown", "left", "spent_neurons", "expected_usd", "codes")
    assert {name: told[name] for name in counts} == {name: said.json[name] for name in counts}
    assert desk.billed == centineurons(told["spent_neurons"])


def test_it_goes_on_where_the_command_stopped(desk: Desk) -> None:
    manifest = desk.manifest(rows(10))
    desk.run(manifest, budget="0.004").ended(3)
    told = _result(run_flow(desk, manifest))
    assert (told["already"], told["made"]) == (6, 4)
    assert desk.billed == 10 * SMALL_CENTINEURONS
    desk.command("verify", str(desk.out)).ended(0)


def test_a_sweep_is_taken_wherever_a_manifest_is(desk: Desk) -> None:
    sweep = desk.folder / "s.yaml"
    sweep.write_text(
        'prompt: "a {{ animal }}"\ndefaults: {size: 256x256, steps: 4}\naxes: {animal: [fox, owl], seed: [1, 2]}\n'
    )
    told = _result(run_flow(desk, sweep))
    assert (told["asked"], told["made"]) == (4, 4)
    assert desk.billed == 4 * SMALL_CENTINEURONS
    assert table(desk.out)["animal"].to_pylist() == ["fox", "fox", "owl", "owl"]
    assert desk.plan(sweep, "--json").ended(0).json["already"] == 4


def test_what_prefect_shows_of_a_run(desk: Desk) -> None:
    desk.environment["FLUXBATCH_REPORT"] = "true"
    state = run_flow(desk, desk.manifest(rows(25)), "2.50", rows_per_shard=10)
    noted = Noted(state)
    assert noted.run.name == "prompts to out flux-2-dev $2.5"
    assert state.message is not None
    assert "25 made" in state.message
    names = sorted(run.name for run in noted.tasks)
    assert names == ["rows 1 to 10", "rows 11 to 20", "rows 21 to 25"], "a task is a shard"
    assert all(run.state is not None and run.state.is_completed() for run in noted.tasks)

    table_shown = {row["what"]: row["value"] for row in json.loads(str(noted.artifacts["spend"].data))}
    assert table_shown["made"] == "25"
    assert table_shown["spent in this run"] == "$0.0103125"
    assert table_shown["spent, all runs"] == "$0.0103125 (937.5 neurons)"
    assert "| made | 25 |" in str(noted.artifacts["summary"].data)
    page = desk.out / "report.html"
    assert f"[report.html]({page.as_uri()})" in str(noted.artifacts["report"].data)
    assert page.read_text("utf-8").count('<div class="cell"') == 25
    assert float(str(noted.artifacts["pictures"].data)) == 100.0, "the progress artifact ends full"


def test_log_lines_of_the_run_are_in_prefect(desk: Desk) -> None:
    desk.run(desk.manifest(rows(2))).ended(0)
    shutil.rmtree(desk.ledger.parent)
    noted = Noted(run_flow(desk, desk.manifest(rows(3))))
    until(lambda: any("booked from its parts" in log.message for log in noted.logs()), seconds=30)


def test_a_budget_that_is_used_up_is_completed_and_says_so(desk: Desk) -> None:
    state = run_flow(desk, desk.manifest(rows(10)), "0.004")
    assert state.is_completed()
    assert state.message is not None
    assert state.message.startswith("budget reached")
    assert "6 made" in state.message
    assert "4 left of 10" in state.message
    assert _result(state)["stopped_by"] == "budget"


def test_it_takes_the_same_choices_as_the_command(desk: Desk) -> None:
    manifest = desk.manifest([*rows(20), {"id": "large", "prompt": "large", "width": 1024, "height": 1024}])
    chosen = {"sample": 15, "sample_seed": 1, "on_budget": "spread", "max_price_per_picture": "0.002"}
    told = _result(run_flow(desk, manifest, "0.0045", **chosen))
    other = desk.folder / "by the command"
    options = ("--sample", "15", "--seed", "1", "--on-budget", "spread", "--max-price-per-picture", "0.002")
    said = desk.run(manifest, *options, budget="0.0045", out=other).ended(3).json
    counts = ("asked", "made", "left", "too_dear", "not_selected", "spent_neurons", "stopped_by")
    assert {name: told[name] for name in counts} == {name: said[name] for name in counts}
    assert (told["asked"], told["not_selected"], told["made"], told["stopped_by"]) == (15, 6, 7, "budget")
    assert rows_of(desk.out) == rows_of(other)


def test_a_run_has_a_budget_of_its_own_and_shares_one_with_its_project(desk: Desk) -> None:
    manifest = desk.manifest(rows(10))
    state = run_flow(desk, manifest, "1", run_budget="0.004", project="cats")
    assert state.is_completed()
    assert state.message is not None
    assert state.message.startswith("budget reached")
    assert _result(state)["made"] == 6
    assert "cats" in json.dumps(desk.command("budget", "show", "--json").ended(0).json)


def test_a_dataset_that_another_run_holds_is_left_to_it_if_that_is_wished(desk: Desk) -> None:
    manifest = desk.manifest(rows(2))
    desk.run(manifest).ended(0)
    with hold(lock_file(desk.out)):
        left = run_flow(desk, manifest, "1", if_running="leave")
        assert left.is_completed()
        assert left.message is not None
        assert left.message.startswith("left: process ")
        assert run_flow(desk, manifest, "1").is_failed()


@contextmanager
def held_for_seconds(desk: Desk) -> Iterator[ExitStack]:
    """Another run's dataset until the stack is closed; by itself after a while, for a loop that stands still."""
    with ExitStack() as stack:
        stack.enter_context(hold(lock_file(desk.out)))
        giving_up = threading.Timer(20, stack.close)
        giving_up.start()
        try:
            yield stack
        finally:
            giving_up.cancel()
            giving_up.join()


def test_the_flow_waits_for_another_run_and_its_loop_goes_on(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    manifest = desk.manifest(rows(2))
    desk.run(desk.manifest(rows(1), "one.csv")).ended(0)
    with held_for_seconds(desk) as held:
        told: list[str] = []

        async def end_the_other() -> None:
            await asyncio.to_thread(until, lambda: "waiting until process" in caplog.text)
            assert is_held(desk), "too late"
            told.append("the other ends")
            held.close()

        state = run_flow(desk, manifest, if_running="wait", meanwhile=end_the_other)
    assert told == ["the other ends"]
    assert state.is_completed(), state.message
    assert (_result(state)["already"], _result(state)["made"]) == (1, 1)


@pytest.mark.parametrize("how", ["by SIGTERM", "with its worker"])
def test_a_flow_that_waits_can_be_stopped(desk: Desk, how: str, caplog: pytest.LogCaptureFixture) -> None:
    """At once, as cancelled, with nothing sent; the other run is not disturbed."""
    manifest = desk.manifest(rows(1))
    desk.run(manifest).ended(0)
    with held_for_seconds(desk), ExitStack() as sockets:
        worker, flow = (sockets.enter_context(end) for end in socketpair())
        desk.environment[CONNECTION] = str(flow.fileno())

        async def stop() -> None:
            await asyncio.to_thread(until, lambda: "waiting until process" in caplog.text)
            assert is_held(desk), "too late"
            if how == "by SIGTERM":
                os.kill(os.getpid(), signal.SIGTERM)
            else:
                worker.close()

        state = run_flow(desk, desk.manifest(rows(3)), if_running="wait", meanwhile=stop)
        assert is_held(desk)
    assert state.is_cancelled(), state
    assert state.message == "interrupted while it waited for another run; nothing was sent"
    assert desk.requests == 1


def is_held(desk: Desk) -> bool:
    return Dataset.open(desk.out).held_by is not None


def test_failed_rows_are_in_the_message_of_a_completed_run(desk: Desk) -> None:
    state = run_flow(desk, desk.manifest([*rows(3), {"prompt": "x [[fault:3043]]"}]), resend_failed=0)
    assert state.is_completed()
    assert state.message is not None
    assert "1 row failed" in state.message


@pytest.mark.parametrize("moment", ["before the run", "in the run"])
def test_an_account_that_is_refused_is_failed_and_the_message_says_what_to_do(desk: Desk, moment: str) -> None:
    manifest = desk.manifest([*rows(2), {"prompt": "x [[fault:10000]]"}])
    if moment == "before the run":
        desk.environment["CLOUDFLARE_API_TOKEN"] = "cfut_canaryThatIsNotTheToken"
    state = run_flow(desk, manifest, max_in_flight=1)
    assert state.is_failed()
    noted = Noted(state)
    assert noted.run.state is not None
    assert "CLOUDFLARE_API_TOKEN" in (noted.run.state.message or "")
    assert "canary" not in noted.everything()


def test_the_token_is_in_no_record_of_prefect(desk: Desk) -> None:
    token = "cfut_CanaryOfPrefect42"
    desk.simulator.change(token=token)
    desk.environment["CLOUDFLARE_API_TOKEN"] = token
    noted = Noted(run_flow(desk, desk.manifest([*rows(3), {"prompt": "x [[fault:lost-after]]"}])))
    until(lambda: bool(noted.logs()), seconds=30)
    assert Decimal(noted.run.parameters["budget_usd"]) == 5
    assert token not in noted.everything()
    for file in desk.folder.rglob("*"):
        assert not file.is_file() or token.encode() not in file.read_bytes()


@pytest.mark.parametrize("way", ["401", "500"])
def test_what_a_platform_repeats_is_in_no_record_of_prefect(desk: Desk, way: str) -> None:
    """The token of a shape that nobody knows, and the prompt: quoted back in every failure."""
    token = TOKENS[1]
    with parroting() as (base_url, heard):
        desk.environment |= {"CLOUDFLARE_BASE_URL": base_url, "CLOUDFLARE_API_TOKEN": token}
        noted = Noted(run_flow(desk, desk.manifest([{"prompt": f"{PROMPT}, say:{way}"}]), resend_failed=0))
    assert heard == [way]
    told = noted.everything() + "".join(text for file, text in everything_in(_prefects_folder()).items())
    assert token not in told
    assert PROMPT not in told
    assert [name for name, text in everything_in(desk.folder).items() if token in text] == []


def _prefects_folder() -> Path:
    """Where the test server's database lies."""
    from prefect.settings import get_current_settings  # noqa: TID251 - where does it keep its records?

    url = get_current_settings().server.database.connection_url
    assert url is not None
    folder = Path(url.get_secret_value().removeprefix("sqlite+aiosqlite:///")).parent
    assert list(folder.glob("*.db"))
    return folder


@pytest.mark.parametrize(
    "wrong",
    [{"max_in_flight": 0}, {"rate": -1}, {"budget": "-1"}, {"budget": "much"}, {"columns": 3}, {"steps": "many"}],
)
def test_parameters_are_checked_before_anything_happens(desk: Desk, wrong: dict[str, Any]) -> None:
    state = run_flow(desk, desk.manifest(rows(1)), **wrong)
    assert state.is_failed()
    name = next(iter(wrong)).replace("budget", "budget_usd")
    assert f" - {name}: Input should be" in (state.message or "")
    assert not desk.out.exists()
    assert desk.requests == 0


def test_a_manifest_with_complaints_fails_the_run_and_sends_nothing(desk: Desk) -> None:
    state = run_flow(desk, desk.manifest([{"prompt": "a", "width": 500}]))
    assert state.is_failed()
    assert "complaint" in (Noted(state).run.state.message or "")  # type: ignore[union-attr]
    assert desk.requests == 0
    assert not desk.out.exists()


def test_other_peoples_headers_skipped_rows_and_marks_work_as_with_the_command(desk: Desk) -> None:
    path = desk.folder / "p.tsv"
    path.write_text("Prompt\tSteps\nx\tmany\n\tnone\n")
    more = {"width": 256, "height": 256, "steps": 4, "embed_provenance": True}
    state = run_flow(desk, path, columns={"prompt": "Prompt"}, own_columns=["Steps"], skip_invalid=True, **more)
    assert (_result(state)["made"], _result(state)["rejected"]) == (1, 1)
    (row,) = table(desk.out).to_pylist()
    assert row["Steps"] == "many"
    assert read(row["image"]["bytes"]) == Provenance.of(row["model"], "x", row["key"], row["created_at"])


def test_a_budget_in_exact_decimals_is_kept_exactly(desk: Desk) -> None:
    told = _result(run_flow(desk, desk.manifest(rows(1)), "0.123456789"))
    assert Decimal(told["budget_usd"]) == Decimal("0.123456789")


def _result(state: Any) -> dict[str, Any]:
    found: dict[str, Any] = state.result(raise_on_failure=False)
    return found


async def _settled(dataset: Path) -> Any:
    from flows.reconcile import reconcile_dataset

    return await reconcile_dataset(dataset, not_billed=["all"], why="night", return_state=True)


def test_reconciling_by_flow_settles_what_it_is_told_and_shows_the_figures(desk: Desk) -> None:
    desk.run(desk.manifest([{"prompt": "x [[fault:lost-before*1]]"}, *rows(2)])).ended(4)
    with placed(desk.folder, desk.variables()):
        state = asyncio.run(_settled(desk.out))
    assert state.is_completed(), state.message
    told = _result(state)
    assert [one["why"] for one in told["settled"]] == ["night"]
    assert (told["unknown"], told["after"]["unknown_usd"]) == ([], "0")
    noted = Noted(state)
    assert "agrees" in str(noted.artifacts["billed"].data)
    assert "sent again by the next run" in str(noted.artifacts["reconciled"].data)


@pytest.mark.parametrize(
    ("heartbeat_s", "window_s", "why"), [(60, 179, "shorter than 3 heartbeats of 60 s"), (29, 240, "take 30 or more")]
)
def test_setup_refuses_a_window_that_would_end_runs_that_are_well(heartbeat_s: int, window_s: int, why: str) -> None:
    from flows.setup import Wanted
    from fluxbatch.errors import UsageError

    with pytest.raises(UsageError, match=why):
        Wanted(heartbeat_s=heartbeat_s, window_s=window_s)


@contextmanager
def events_told() -> Iterator[list[Any]]:
    """The events of the block: Prefect's own client for tests keeps them."""
    from prefect.events.clients import AssertingEventsClient  # noqa: TID251 - what was told to Prefect?
    from prefect.events.worker import EventsWorker  # noqa: TID251

    told: list[Any] = []
    EventsWorker.set_client_override(AssertingEventsClient)
    AssertingEventsClient.reset()
    try:
        yield told
    finally:
        EventsWorker.instance().drain()
        told += [event for client in AssertingEventsClient.all for event in client.events]
        EventsWorker.set_client_override(None)
        AssertingEventsClient.reset()


def ours(events: list[Any]) -> dict[str, Any]:
    return {event.event: event for event in events if event.event.startswith("fluxbatch.")}


def test_a_budget_that_is_reached_is_an_event_that_automations_can_match(desk: Desk) -> None:
    with events_told() as events:
        state = run_flow(desk, desk.manifest(rows(10)), "0.004")
    told = ours(events)
    assert set(told) == {"fluxbatch.budget.reached", "fluxbatch.run.stopped"}
    reached = told["fluxbatch.budget.reached"]
    assert reached.resource["prefect.resource.id"].startswith("fluxbatch.dataset.")
    assert reached.resource["prefect.resource.name"] == "out"
    assert (reached.payload["made"], reached.payload["left"], reached.payload["budget_usd"]) == (6, 4, "0.004")
    run = f"prefect.flow-run.{state.state_details.flow_run_id}"
    assert run in {related["prefect.resource.id"] for related in reached.related}
    assert told["fluxbatch.run.stopped"].payload["stopped_by"] == "budget"


def test_a_price_that_has_changed_is_an_event_and_a_run_that_is_complete_is_none(desk: Desk) -> None:
    desk.simulator.change(price_factor=0.9)
    with events_told() as events:
        assert run_flow(desk, desk.manifest(rows(25))).is_completed()
    told = ours(events)
    assert set(told) == {"fluxbatch.price.drift"}
    assert told["fluxbatch.price.drift"].payload["percent"] == "-10.00"
    assert told["fluxbatch.price.drift"].payload["model"] == "flux-2-dev"


def test_the_spend_is_a_variable_and_two_datasets_of_one_name_have_two(desk: Desk) -> None:
    from prefect.variables import Variable  # noqa: TID251 - what is kept?

    for folder, count in (("one", 3), ("two", 2)):
        desk.environment["FLUXBATCH_LEDGER"] = f"sqlite:///{desk.folder / folder}.sqlite3"
        state = run_flow(desk, desk.manifest(rows(count)), out=desk.folder / folder / "My Cats")
        assert state.is_completed(), state.message
    first = Variable.get("fluxbatch_spend_my_cats")
    assert isinstance(first, dict)
    assert (first["made"], first["left"], first["spent_usd"]) == (3, 0, "0.0012375")
    dataset = json.loads((desk.folder / "two" / "My Cats" / "catalogue.jsonl").read_text().splitlines()[0])["id"]
    second = Variable.get(f"fluxbatch_spend_my_cats_{dataset[:8]}")
    assert isinstance(second, dict)
    assert second["made"] == 2


def test_log_lines_say_their_run_and_shard(desk: Desk) -> None:
    noted = Noted(run_flow(desk, desk.manifest(rows(25)), rows_per_shard=20))
    until(lambda: sum("done;" in log.message for log in noted.logs()) == 2, seconds=30)
    lines = [log.message for log in noted.logs() if log.name == "fluxbatch.flow"]
    run = next(line for line in lines if "pictures are due" in line).split("]")[0][1:]
    assert any(line.startswith(f"[{run}, rows 1 to 20] done; ") for line in lines)
    assert any(line.startswith(f"[{run}, rows 21 to 25] done; ") for line in lines)


def test_a_block_that_is_named_and_not_there_is_said_and_nothing_is_sent(desk: Desk) -> None:
    state = run_flow(desk, desk.manifest(rows(1)), credentials="studio")
    assert state.is_failed()
    assert "fluxbatch prefect setup --block studio" in (state.message or "")
    assert desk.requests == 0


def test_a_sweep_is_counted_and_priced_before_it_is_made(desk: Desk) -> None:
    from flows.sweep import generate_sweep

    sweep = REPOSITORY / "prompts" / "matrix.yaml"

    async def run(**given: Any) -> Any:
        return await generate_sweep(sweep, desk.out, "1", return_state=True, **given)

    with placed(desk.folder, desk.variables()):
        counted = asyncio.run(run(only_count=True))
        assert desk.requests == 0
        made = asyncio.run(run(preview=4))
    assert counted.message.startswith("counted: 55 rows, 55 pictures, expected $0.3894")
    text = str(Noted(counted).artifacts["sweep"].data)
    assert "- animal 3 x framing+height+width 3 x guidance 4 x style 2 = 72" in text
    assert "| **55** | all | | | $0.3894 | $0.4884 |" in text
    assert (_result(made)["asked"], _result(made)["made"]) == (4, 4)
    assert {"sweep", "spend", "summary", "parts"} <= set(Noted(made).artifacts)


def test_a_concurrency_slot_that_is_lost_does_not_end_a_run(caplog: pytest.LogCaptureFixture) -> None:
    """A server that was restarted knows no lease of before: 410. Prefect would cancel the thread that runs the flow."""
    from prefect.concurrency._leases import maintain_concurrency_lease  # noqa: TID251 - what a flow run is held in

    import flows.generate  # noqa: F401 - which sees to it

    said = "Execution will continue, but concurrency limits may be exceeded"
    with maintain_concurrency_lease(uuid4(), 300, raise_on_lease_renewal_failure=True):
        until(lambda: said in caplog.text, seconds=60)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, prefect_server: None) -> Iterator[None]:
    """What a batch waits for is here at once."""
    from flows import fan_out

    for name, seconds in {"LOOK_EVERY_S": 0.05, "COUNT_EVERY_S": 0.2, "PENDING_MAX_S": 0.3}.items():
        monkeypatch.setattr(fan_out, name, seconds)
    with without_logs_from_elsewhere():
        yield


def batch(desk: Desk, count: int, *does: Deed) -> tuple[Any, Hand]:
    """Ten pictures in so many chunks, with a hand in the workers' place."""
    manifest = desk.manifest(rows(10))
    with placed(desk.folder, desk.variables()):
        hand = Hand(Job(manifest, desk.out, parse_usd("5"), load_settings()), does)
    return run_flow(desk, manifest, meanwhile=hand.work, chunks=count), hand


@pytest.mark.usefixtures("quick")
class TestChunks:
    def test_what_the_chunks_have_made_is_one_dataset_and_one_result(self, desk: Desk) -> None:
        state, hand = batch(desk, 2, makes, makes)
        assert state.message == "10 made, 0 before, 0 left of 10"
        assert _result(state)["spent_usd"] == str(Decimal(desk.billed * 110) / 10**9)
        assert table(desk.out)["row"].to_pylist() == list(range(1, 11))
        assert [run.name for run in hand.runs] == ["chunk 0001, rows 1 to 5", "chunk 0002, rows 6 to 10"]
        noted = Noted(state)
        assert {"summary", "spend", "parts"} <= set(noted.artifacts)

    @pytest.mark.parametrize(
        ("how", "shown"),
        [
            (takes_and_dies, "its worker never began it"),
            (falls_silent, "its lease in the ledger has run out"),
            (crashes, None),
        ],
    )
    def test_a_chunk_that_dies_is_begun_again_and_shown_as_crashed(
        self, desk: Desk, how: Deed, shown: str | None
    ) -> None:
        state, hand = batch(desk, 1, how, makes)
        assert state.message == "10 made, 0 before, 0 left of 10"
        assert hand.states() == [("CRASHED", shown), ("COMPLETED", None)]
        assert [run.parameters["chunk"]["run"][-7:] for run in hand.runs] == ["-0001-1", "-0001-2"]

    def test_a_chunk_that_dies_again_and_again_without_a_picture_is_given_up(self, desk: Desk) -> None:
        state, _ = batch(desk, 1, crashes, crashes, crashes)
        assert state.is_failed()
        assert "chunk 0001 died 3 times in a row without a picture" in str(state.message)
        assert desk.run(desk.folder / "prompts.csv").ended(0).json["made"] == 10

    def test_a_batch_that_is_told_to_end_ends_its_chunks(self, desk: Desk) -> None:
        state, hand = batch(desk, 1, is_told_to_end)
        assert state.is_cancelled()
        assert [kind for kind, _ in hand.states()] == ["CANCELLED"]
        assert desk.run(desk.folder / "prompts.csv").ended(0).json["made"] == 10

    def test_what_cannot_be_cut_is_refused_before_anything_is_made(self, desk: Desk) -> None:
        state = run_flow(desk, desk.manifest(rows(3)), chunks=2, limit=2)
        assert "chunks and limit exclude each other" in str(state.message)
        assert not desk.out.exists()
