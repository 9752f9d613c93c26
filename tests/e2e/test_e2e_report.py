"""report.html, as a user gets it: at a run's end, and by `fluxbatch report`."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from fluxbatch.exit_codes import EXIT_BUDGET, EXIT_COMPLETE, EXIT_STOPPED, EXIT_USAGE
from tests.e2e.e2e_kit import Desk, rows

DRAWN = {"FLUXBATCH_REPORT": "true"}


def page_of(folder: Path) -> str:
    return (folder / "report.html").read_text("utf-8")


def test_a_run_ends_with_a_report(desk: Desk):
    desk.environment |= DRAWN
    said = desk.run(desk.manifest(rows(4))).ended(EXIT_COMPLETE)
    assert f"report   {desk.out}/report.html" in said.err
    page = page_of(desk.out)
    assert page.count('<div class="cell"') == 4
    assert page.count('class="chart"') == 4
    assert "a fox 3" in page


def test_who_wants_none_gets_none(desk: Desk):
    desk.environment |= DRAWN
    said = desk.run(desk.manifest(rows(1)), "--no-report").ended(EXIT_COMPLETE)
    assert not (desk.out / "report.html").exists()
    assert f"report   {desk.out}/report.md" in said.err


def test_a_run_that_was_stopped_says_so_and_what_is_left(desk: Desk):
    desk.environment |= DRAWN
    desk.run(desk.manifest(rows(6)), budget="0.002").ended(EXIT_BUDGET)
    page = page_of(desk.out)
    assert "Stopped by budget" in page
    assert re.search(r"left</dt><dd>[1-5]</dd>", page)


def test_it_is_drawn_anew_and_changes_nothing_else(desk: Desk):
    desk.run(desk.manifest(rows(3))).ended(EXIT_COMPLETE)
    before = {path: path.read_bytes() for path in desk.out.rglob("*") if path.is_file()}
    said = desk.command("report", str(desk.out)).ended(EXIT_COMPLETE)
    assert f"{desk.out}/report.html" in said.out
    first = page_of(desk.out)
    desk.command("report", str(desk.out), "--to", str(desk.folder / "again.html")).ended(EXIT_COMPLETE)
    assert (desk.folder / "again.html").read_text("utf-8") == first
    (desk.out / "report.html").unlink()
    assert {path: path.read_bytes() for path in desk.out.rglob("*") if path.is_file()} == before


def test_two_datasets_are_laid_side_by_side(desk: Desk):
    desk.run(desk.manifest(rows(3))).ended(EXIT_COMPLETE)
    other = desk.folder / "other"
    desk.run(desk.manifest(rows(2), "fewer.csv"), out=other).ended(EXIT_COMPLETE)
    desk.command("report", str(desk.out), "--beside", str(other)).ended(EXIT_COMPLETE)
    page = page_of(desk.out)
    assert page.count('alt="the same cell of other"') == 2
    assert page.count("none beside it") == 1
    said = desk.command("report", str(desk.out), "--beside", str(other), "--match", "sty,prompt").ended(EXIT_USAGE)
    assert "sty is not in both datasets" in said.err


def test_a_refused_prompt_stands_in_it_with_what_was_said(desk: Desk):
    desk.run(desk.manifest([*rows(1), {"id": "bad", "prompt": "nude [[fault:8007]]"}])).ended(EXIT_COMPLETE)
    desk.command("report", str(desk.out)).ended(EXIT_COMPLETE)
    page = page_of(desk.out)
    assert "Without a picture" in page
    assert "8007" in page


def test_without_its_ledger_a_dataset_still_has_pictures_and_what_they_cost(desk: Desk):
    desk.run(desk.manifest(rows(2))).ended(EXIT_COMPLETE)
    desk.command("report", str(desk.out), "--ledger", f"sqlite:///{desk.folder}/new.sqlite3").ended(EXIT_COMPLETE)
    page = page_of(desk.out)
    assert "charged, by the pictures" in page
    assert page.count('<div class="cell"') == 2


def test_what_is_no_dataset_is_said(desk: Desk):
    said = desk.command("report", str(desk.folder / "nowhere")).ended(EXIT_USAGE)
    assert "nowhere" in said.err
    assert "Traceback" not in said.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_report_that_cannot_be_written_is_an_error_of_the_disk(desk: Desk):
    desk.run(desk.manifest(rows(1))).ended(EXIT_COMPLETE)
    desk.out.chmod(0o500)
    desk.command("report", str(desk.out)).ended(EXIT_STOPPED)


def test_a_report_that_cannot_be_drawn_does_not_change_how_the_run_has_ended(desk: Desk):
    desk.environment |= DRAWN
    (desk.out / "report.html").mkdir(parents=True)
    said = desk.run(desk.manifest(rows(1))).ended(EXIT_COMPLETE)
    assert "the report could not be drawn" in said.err
    assert "report.md" in said.err
