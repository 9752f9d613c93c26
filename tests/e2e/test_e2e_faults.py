"""Every answer and silence that the simulator knows, in one run: how each row ends, and what it costs."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from fluxbatch.simulator import FAULTS, Simulator
from tests.e2e.e2e_kit import SMALL_CENTINEURONS, Desk, assert_adds_up, calm, centineurons, failures, rows, table, until

pytestmark = pytest.mark.xdist_group("faults")  # one run serves all of these tests

ABOUT_THE_ACCOUNT = frozenset(
    (
        *("3036", "4006", "7000", "5007", "3042", "7003", "10000", "10000-permission", "402"),
        *("5018", "3041", "5016", "3023", "5035", "7001", "5019", "5005"),
    )
)
"""These end the run: test_e2e_run.py."""
FOR_EVER = frozenset({"403"})
BOUND_CENTINEURONS = 15_000
"""4 steps of one whole tile."""

MADE, REFUSED, INVALID, FAILED, LOST = "made", "refused", "invalid", "failed", "lost"
ONCE = ("3021", "3021-retry-after", "3040", "3040-retry-after", "4002")
"""Not billed and always sent again, so the marker holds for the first time only."""
EXPECTED = {
    **dict.fromkeys(ONCE, (MADE, "ok")),
    **dict.fromkeys(("png", "no-header", "other-form"), (MADE, "ok")),
    "cut-picture": (MADE, "undecodable"),
    "blank": (MADE, "blank"),
    "wrong-size": (MADE, "wrong_size"),
    "8007": (REFUSED, "free"),
    **dict.fromkeys(("3030-flagged", "3030-nsfw"), (REFUSED, "perhaps")),
    **dict.fromkeys(("3030-width", "3030-references", "5006", "5004", "3003", "3006"), (INVALID, "free")),
    **dict.fromkeys(("3046", "3007", "3008", "500", "3043", "8004", "4007"), (FAILED, "perhaps")),
    **dict.fromkeys(("false-200", "3030-internal", "502", "503", "html-200"), (FAILED, "perhaps")),
    **dict.fromkeys(("truncated-json", "bad-base64", "no-picture", "gzip"), (FAILED, "perhaps")),
    **dict.fromkeys(("truncated-body", "lost-before", "lost-after", "reset-before", "reset-after"), (LOST, "perhaps")),
    "hang": (LOST, "perhaps"),
}
"""CLOUDFLARE.md sections 3 and 5: how the row ends, and either what is said of the picture or whether it was billed."""


def test_the_table_covers_the_simulator() -> None:
    assert set(EXPECTED) | ABOUT_THE_ACCOUNT | FOR_EVER == set(FAULTS)


def variants() -> list[str]:
    return [
        name + variant
        for name in EXPECTED
        for variant in ("", *(("+billed", "+free") if FAULTS[name].may_bill else ()))
    ]


@dataclass
class Aftermath:
    desk: Desk
    summary: dict[str, Any]
    made: dict[str, dict[str, Any]]
    failures: dict[str, dict[str, Any]]
    charges: dict[str, int]
    """What the simulator billed, by prompt."""


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    with Simulator(calm(), in_thread=True) as simulator:
        desk = Desk(tmp_path_factory.mktemp("faults"), simulator, {"FLUXBATCH_DEADLINE": "1.5"})
        said = desk.run(desk.manifest(_rows()), "--resend-failed", "0", "--max-in-flight", "24").ended(4)
        columns = ["id", "check", "format", "image_width", "size_bytes", "neurons", "usd", "attempts"]
        made = {row["id"]: row for row in table(desk.out, columns).to_pylist()}
        charges: dict[str, int] = {}
        for charge in simulator.bill():
            charges[charge.prompt] = charges.get(charge.prompt, 0) + charge.centineurons
        yield Aftermath(desk, said.json, made, failures(desk.out), charges)


def _prompt(variant: str) -> str:
    return f"x [[fault:{variant}{'*1' if variant in ONCE else ''}]]"


def _rows() -> Iterator[dict[str, object]]:
    """Sound rows in between, so that failures stay below the breaker's half."""
    for variant in variants():
        yield {"id": variant, "prompt": _prompt(variant)}
        yield from rows(2, f"sound beside {variant}")


@pytest.mark.parametrize("variant", [v for v in variants() if EXPECTED[v.split("+")[0]][0] == MADE])
def test_a_picture_that_came_is_kept_and_marked(aftermath: Aftermath, variant: str) -> None:
    name = variant.split("+")[0]
    row = aftermath.made[variant]
    assert row["check"] == EXPECTED[name][1]
    assert row["attempts"] == (2 if name in ONCE else 1)
    # Without the header the bound is booked.
    assert row["neurons"] * 100 == (BOUND_CENTINEURONS if name == "no-header" else SMALL_CENTINEURONS)
    assert row["format"] == ("PNG" if name == "png" else "JPEG")
    assert row["image_width"] == (128 if name == "wrong-size" else 256)
    assert variant not in aftermath.failures


@pytest.mark.parametrize("variant", [v for v in variants() if EXPECTED[v.split("+")[0]][0] != MADE])
def test_a_row_without_a_picture_says_why_and_what_it_may_have_cost(aftermath: Aftermath, variant: str) -> None:
    end, billed = EXPECTED[variant.split("+")[0]]
    row = aftermath.failures[variant]
    assert row["failure"] == end
    assert row["failure_message"]
    assert row["failure_attempts"] == 1
    unknown_centineurons = int(row["failure_unknown_usd"] * 10**9) // 110
    assert unknown_centineurons == (BOUND_CENTINEURONS if billed == "perhaps" else 0)
    assert aftermath.charges.get(_prompt(variant), 0) <= unknown_centineurons
    assert variant not in aftermath.made


def test_every_picture_is_counted_once_and_every_sound_one_was_made(aftermath: Aftermath) -> None:
    ends = [EXPECTED[variant.split("+")[0]][0] for variant in variants()]
    told = aftermath.summary
    assert_adds_up(told)
    assert told["made"] == 2 * len(ends) + ends.count(MADE)
    assert told["refused"] == ends.count(REFUSED) + ends.count(INVALID)
    assert (told["failed"], told["unknown"], told["left"]) == (ends.count(FAILED), ends.count(LOST), 0)
    assert told["requests"] == told["asked"] + len(ONCE)
    assert told["refusals"] == len(ONCE)


def test_the_bill_is_within_what_is_spent_and_unknown(aftermath: Aftermath) -> None:
    spent = centineurons(aftermath.summary["spent_neurons"])
    unknown = centineurons(aftermath.summary["unknown_neurons"])
    assert sum(aftermath.charges.values()) == aftermath.desk.billed
    assert spent < aftermath.desk.billed <= spent + unknown
    billed_unknown = sum(
        charge
        for prompt, charge in aftermath.charges.items()
        if prompt.removeprefix("x [[fault:")[:-2] in aftermath.failures
    )
    surplus = sum(row["neurons"] * 100 - SMALL_CENTINEURONS for row in aftermath.made.values())
    free = sum(SMALL_CENTINEURONS for name in aftermath.made if name.endswith("+free"))
    assert aftermath.desk.billed == spent - surplus - free + billed_unknown


def test_status_lists_each_charge_that_is_not_known(aftermath: Aftermath) -> None:
    told = aftermath.desk.command("status", str(aftermath.desk.out), "--json").ended(0).json
    perhaps = [variant for variant in variants() if EXPECTED[variant.split("+")[0]][1] == "perhaps"]
    assert told["not_known"] == len(told["unknown"]) == len(perhaps)
    assert {entry["bound"] for entry in told["unknown"]} == {"0.00165"}
    assert told["unknown_neurons"] == aftermath.summary["unknown_neurons"]


def test_the_dataset_is_whole_and_the_ledger_agrees(aftermath: Aftermath) -> None:
    aftermath.desk.command("verify", str(aftermath.desk.out)).ended(0)


def test_codes_count_what_was_answered_instead_of_pictures(aftermath: Aftermath) -> None:
    codes = aftermath.summary["codes"]
    assert codes["3021"] == 2
    assert codes["8007"] == 1
    assert codes["http 502"] == 3
    assert sum(codes.values()) == aftermath.summary["requests"] - aftermath.summary["made"]


def test_a_prompt_that_the_edge_blocks_keeps_no_other_from_being_made(desk: Desk) -> None:
    """A page instead of an object, with 403: not billed, and tried again with growing pauses; the others go on."""
    manifest = desk.manifest([{"prompt": "x [[fault:403]]"}, *rows(10)])
    process = desk.start(
        "run", str(manifest), "--out", str(desk.out), "--budget", "5", "--json", "--max-in-flight", "4"
    )
    until(lambda: len(desk.simulator.bill()) == 10)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    told = json.loads(out)
    assert (told["made"], told["left"], told["unknown_usd"]) == (10, 1, "0")
    assert told["codes"].keys() == {"http 403"}
    assert desk.billed == 10 * SMALL_CENTINEURONS
