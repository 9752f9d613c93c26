from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from fluxbatch.budget.entries import Balance, End
from fluxbatch.budget.plan import make_plan
from fluxbatch.dispatch.stop import Stop, StoppedBy
from fluxbatch.dispatch.tally import Tally
from fluxbatch.manifest.request import ImageRequest
from fluxbatch.models.catalogue import FLUX_2_DEV
from fluxbatch.models.money import ZERO, Money, charge
from fluxbatch.report import to_markdown
from fluxbatch.summary import ModelSummary, Summary, summarise
from fluxbatch.tell import closing_lines, show_summary

SUMMARY = Summary(
    asked=100,
    already=10,
    made=50,
    refused=3,
    failed=2,
    unknown=1,
    left=34,
    rejected=4,
    budget_nano_usd=20_000_000_000,
    expected=charge(93_750) * 90,
    left_expected=charge(93_750) * 34,
    spare=ZERO,
    spent=charge(93_750) * 60,
    unknown_charges=Money(20_625_000, 187_500),
    spent_in_run=charge(93_750) * 50,
    requests=57,
    refusals=1,
    peak_in_flight=32,
    seconds=12.3456,
    stopped_by=StoppedBy.BUDGET,
    reason="the budget is used up",
    codes={"3040": 1, "8007": 3},
    dataset=Path("out/cats"),
)
CLEAN = replace(SUMMARY, stopped_by=None, reason=None, refused=0, failed=0, unknown=0, left=0)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, 0),
        ({"refused": 3}, 0),  # a refusal is a result
        ({"rejected": 3}, 0),
        ({"failed": 1}, 4),
        ({"unknown": 1}, 4),
        ({"stopped_by": StoppedBy.BUDGET, "failed": 1}, 3),
        ({"stopped_by": StoppedBy.ACCOUNT}, 5),
        ({"stopped_by": StoppedBy.PLATFORM, "unknown": 1}, 5),
        ({"stopped_by": StoppedBy.SIGNAL, "failed": 1}, 130),
    ],
)
def test_exit_codes(changes: dict[str, object], code: int):
    assert replace(CLEAN, **changes).exit_code == code  # type: ignore[arg-type]


def test_json_is_one_line_with_exact_amounts():
    text = SUMMARY.to_json()
    assert "\n" not in text
    told = json.loads(text)
    promised = {
        "asked": 100, "already": 10, "made": 50, "refused": 3, "failed": 2, "unknown": 1, "left": 34,
        "budget_usd": "20", "expected_usd": "0.928125", "spent_usd": "0.61875", "unknown_usd": "0.020625",
        "spent_neurons": "56250", "unknown_neurons": "1875", "requests": 57, "seconds": 12.346,
        "stopped_by": "budget", "dataset": "out/cats",
    }  # fmt: skip
    assert {name: told[name] for name in promised} == promised
    assert told["codes"] == {"3040": 1, "8007": 3}
    assert json.loads(CLEAN.to_json())["stopped_by"] is None


def test_counts_in_json_add_up_to_what_was_asked():
    told = SUMMARY.to_dict()
    assert sum(told[name] for name in ("already", "made", "refused", "failed", "unknown", "left")) == told["asked"]


def test_what_is_too_dear_is_counted_apart_and_is_no_failure():
    found = replace(CLEAN, made=82, too_dear=8, not_selected=1000)
    told = found.to_dict()
    counts = ("already", "made", "refused", "failed", "unknown", "too_dear", "left")
    assert sum(told[name] for name in counts) == told["asked"]
    assert told["not_selected"] == 1000
    assert found.exit_code == 0
    text = shown(found)
    assert "8 (above --max-price-per-picture; failures.parquet)" in text
    assert "1,000 more in the manifest" in text


def tally() -> Tally:
    balance = Balance(10**9, spent=charge(300), reserved=charge(7), unknown=charge(50))
    found = Tally(balance, asked=12, already=2, ended=Counter({End.REFUSED: 1, End.INVALID: 1, End.LOST: 1}))
    for number in range(4):
        found.picture(float(number))
    found.ended[End.FAILED] += 1
    found.requests, found.refusals, found.peak_in_flight = 9, 2, 5
    found.codes.update(["3040", "3040", "3030"])
    return found


async def test_a_summary_is_the_tally_read_once():
    stop = Stop()
    stop.request(StoppedBy.PLATFORM, "the disk")
    found = summarise(
        tally(),
        stop,
        expected=charge(1000),
        left_expected=charge(200),
        spare=charge(3),
        rejected=6,
        seconds=3.5,
        dataset=Path("d"),
        spent_before=charge(200),
    )
    assert (found.asked, found.already, found.made, found.refused, found.failed, found.unknown) == (12, 2, 4, 2, 1, 1)
    assert (found.left, found.rejected) == (2, 6)
    assert (found.spent, found.spent_in_run) == (charge(300), charge(100))
    # What is still reserved at the end (a disk that failed) was sent and may have been billed.
    assert found.unknown_charges == charge(57)
    assert (found.stopped_by, found.reason, found.exit_code) == (StoppedBy.PLATFORM, "the disk", 5)
    assert found.codes == {"3030": 1, "3040": 2}
    assert (found.requests, found.refusals, found.peak_in_flight) == (9, 2, 5)


DOWN = ModelSummary("flux-2-klein-4b", 0, 6, 6, 1, 16, None, 15, "the platform has no room for 15 minutes")
WELL = ModelSummary("flux-2-dev", 1500, 1520, 20, 30, 32, 151.2346, 0, None)


def test_each_model_stands_in_the_json_with_what_it_made_and_why_it_ended():
    told = json.loads(replace(SUMMARY, models=(WELL, DOWN)).to_json())
    assert told["models"] == [
        {
            "name": "flux-2-dev", "made": 1500, "requests": 1520, "refusals": 20, "peak_in_flight": 30, "limit": 32,
            "latency_s": 151.235, "not_reached": 0, "given_up": None,
        },
        {
            "name": "flux-2-klein-4b", "made": 0, "requests": 6, "refusals": 6, "peak_in_flight": 1, "limit": 16,
            "latency_s": None, "not_reached": 15, "given_up": "the platform has no room for 15 minutes",
        },
    ]  # fmt: skip


def test_several_models_are_shown_one_by_one_and_a_single_one_is_not():
    def shown(*models: ModelSummary) -> str:
        said = StringIO()
        show_summary(Console(file=said, width=80), replace(SUMMARY, models=models), "fluxbatch run p.csv")
        return said.getvalue()

    told = [line.split() for line in shown(replace(WELL, name="stable-diffusion-xl-base-1.0"), DOWN).splitlines()]
    assert ["stable-diffusion-xl-base-1.0", "1,500", "0", "20", "30", "of", "32", "151.2", "s"] in told
    assert ["flux-2-klein-4b", "0", "15", "*", "6", "1", "of", "16"] in told
    assert ["*", "given", "up"] in told
    assert "flux-2-dev" not in shown(WELL)
    assert "| flux-2-klein-4b | 0 of 6; 15 not reached" in to_markdown(replace(SUMMARY, models=(WELL, DOWN)), "p.csv")
    assert "flux-2-dev" not in to_markdown(replace(SUMMARY, models=(WELL,)), "p.csv")


def request(number: int, width: int, height: int, steps: int) -> ImageRequest:
    return ImageRequest(number, None, FLUX_2_DEV, "p", width, height, steps, None, None, (), 0, key=f"{number:064x}")


@given(
    st.lists(st.tuples(st.integers(16, 120), st.integers(16, 120), st.integers(1, 50)), min_size=1, max_size=20),
    st.integers(0, 10**9),
)
def test_the_budget_that_is_advised_is_enough_for_all_that_is_left(shapes: list[tuple[int, int, int]], spent: int):
    left = [request(n, 16 * width, 16 * height, steps) for n, (width, height, steps) in enumerate(shapes)]
    gone = Balance(0, Money(spent, 0), ZERO, ZERO)
    plan = make_plan(iter(left), (), gone, lambda keys: {}, lambda history: True)
    advised = replace(
        SUMMARY, spent=Money(spent, 0), unknown_charges=ZERO, left_expected=plan.expected, spare=plan.spare
    ).enough_nano_usd
    assert advised % 10_000_000 == 0  # whole cents, as it is shown
    enough = make_plan(iter(left), (), replace(gone, cap_nano_usd=advised), lambda keys: {}, lambda history: True)
    assert enough.fits == len(left)


def shown(summary: Summary, command: str = "fluxbatch run p.csv --out out/cats --budget 20") -> str:
    console = Console(file=StringIO(), width=200)
    show_summary(console, summary, command)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_what_is_shown_says_how_to_go_on():
    text = shown(SUMMARY)
    assert "34 pictures are left; they should cost $0.350625" in text
    assert "--budget 0.99 or more" in text  # 0.61875 + 0.020625 + 0.350625
    assert "--budget 1.00 or more" in shown(replace(SUMMARY, spare=Money(1, 0)))
    assert "failures.parquet" in text


def test_nothing_is_said_about_failures_when_there_are_none():
    assert closing_lines(CLEAN, "fluxbatch run") == []


@pytest.mark.parametrize("stopped_by", [StoppedBy.ACCOUNT, StoppedBy.PLATFORM, StoppedBy.SIGNAL])
def test_a_run_that_was_stopped_gives_its_reason_and_its_command(stopped_by: StoppedBy):
    text = shown(replace(CLEAN, stopped_by=stopped_by, reason="because [of] this", left=7), "fluxbatch run p.csv")
    assert "Stopped: because [of] this. 7 pictures are left. To go on: fluxbatch run p.csv" in text


def test_a_day_that_is_used_up_is_not_mended_by_a_larger_budget():
    reason = "the account's budget for the day 2026-11-30 is used up; the next begins on 2026-12-01 at 00:00 UTC"
    text = shown(replace(SUMMARY, reason=reason), "fluxbatch run p.csv")
    assert f"Stopped: {reason}. 34 pictures are left. To go on: fluxbatch run p.csv" in text
    assert "--budget" not in text


@pytest.mark.parametrize("name", ["out[1]", "out[/b]", "[red]out", "a\x1b[31mb"])
def test_a_command_with_brackets_is_shown_as_it_was_typed(name: str):
    text = shown(
        replace(CLEAN, stopped_by=StoppedBy.SIGNAL, reason="interrupted", left=7), f"fluxbatch run --out {name}"
    )
    assert name.replace("\x1b", "\\x1b") in text
