"""What people see: a live line at a terminal, log lines without one, a report to keep."""

from __future__ import annotations

import re

import pytest

from tests.e2e.e2e_kit import Desk, at_a_terminal, rows

ESCAPES = "\x1b[31mred\x1b]0;title\x07"


def test_the_live_lineat_a_terminal(desk: Desk) -> None:
    desk.simulator.change(latency_s=0.3)
    manifest = desk.manifest(rows(24))
    seen = at_a_terminal(desk, "run", str(manifest), "--out", str(desk.out), "--budget", "5", "--max-in-flight", "4")
    for fact in ("/24", "spent", "reserved", "left", "/min", "4 in flight", "0 refusals", "to go"):
        assert fact in seen, fact
    assert "Spend" in seen.rsplit("to go", 1)[1], "the summary stands where the line was"


def test_a_narrow_terminal_without_colour_gets_the_same_facts(desk: Desk) -> None:
    desk.simulator.change(latency_s=0.3)
    command = ("run", str(desk.manifest(rows(12))), "--out", str(desk.out), "--budget", "5", "--max-in-flight", "4")
    seen = at_a_terminal(desk, *command, COLUMNS="40", NO_COLOR="1")
    for fact in ("/12", "━", "spent", "4 in flight", "0 refusals"):
        assert fact in seen, fact
    assert not re.search(r"\x1b\[(\d;)*[34]\d", seen), "no colour"
    assert "\x1b[1A" in seen, "and yet it moves"


def test_where_nobody_looks_a_terminal_gets_log_lines_and_no_escape_codes(desk: Desk) -> None:
    command = ("run", str(desk.manifest(rows(6))), "--out", str(desk.out), "--budget", "5")
    seen = at_a_terminal(desk, *command, NO_COLOR="1", CI="true")
    assert "Spend" in seen
    assert "\x1b[1A" not in seen
    assert "\x1b[2K" not in seen


def test_why_sending_pauses_stands_on_the_screen(desk: Desk) -> None:
    desk.simulator.change(capacity=0)
    manifest = desk.manifest(rows(3))
    options = ("--patience", "0.02", "--max-in-flight", "1")
    seen = at_a_terminal(desk, "run", str(manifest), "--out", str(desk.out), "--budget", "5", *options)
    assert "sending pauses" in seen
    assert "no room" in seen


def test_without_a_terminal_nothing_moves_the_cursor(desk: Desk) -> None:
    said = desk.run(desk.manifest([*rows(2), {"prompt": "x [[fault:3043]]"}]), "--resend-failed", "0").ended(4)
    assert "\x1b" not in said.all
    assert "\r" not in said.all


def test_the_report_is_kept_and_named_with_the_dataset(desk: Desk) -> None:
    said = desk.run(desk.manifest([*rows(2), {"prompt": "x [[fault:8007]]"}])).ended(0)
    assert f"dataset  {desk.out}" in said.err
    assert f"report   {desk.out / 'report.md'}" in said.err
    assert "Spend" in said.err
    report = (desk.out / "report.md").read_text()
    for line in ("| made | 2 |", "| refused | 1 |", "| budget | $5 |", "| 8007 | 1 |"):
        assert line in report, line
    assert "$0.000825 (75 neurons)" in report


@pytest.mark.parametrize("where", ["prompt", "id", "model", "own"])
def test_text_from_a_manifest_never_acts_on_the_terminal(desk: Desk, where: str) -> None:
    name = {"own": "mood"}.get(where, where)
    sound = desk.manifest([{"prompt": "a [[fault:8007]]", "width": 256 if where != "model" else 500} | {name: ESCAPES}])
    said = desk.run(sound)
    plan = desk.plan(sound)
    assert "\x1b" not in said.all + plan.all
    assert "\x07" not in said.all + plan.all
    if (desk.out / "report.md").exists():
        assert "\x1b" not in (desk.out / "report.md").read_text()


def test_markup_of_the_screen_in_a_path_is_shown_as_it_is(desk: Desk) -> None:
    out = desk.folder / "[bold]out[/bold]"
    said = desk.run(desk.manifest(rows(1)), out=out).ended(0)
    assert f"dataset  {out}" in said.err
    assert f"[/nothing] {out}".split()[1] in desk.command("status", str(out)).ended(0).out
