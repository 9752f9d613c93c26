from __future__ import annotations

import re
from dataclasses import replace

import pytest

from fluxbatch.dispatch.stop import StoppedBy
from fluxbatch.report import picture_rows, spend_rows, to_markdown
from tests.test_summary import CLEAN, SUMMARY


def cells(markdown: str) -> list[list[str]]:
    """The rows of all tables, without their rulers."""
    rows = [line for line in markdown.splitlines() if line.startswith("|") and "---" not in line]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def test_pictures_add_up_to_what_was_asked():
    counts = dict(picture_rows(SUMMARY))
    assert counts.pop("asked") == sum(counts.values()) == 100


def test_what_is_too_dear_and_what_was_not_asked_for_is_told():
    summary = replace(CLEAN, made=82, too_dear=8, not_selected=1000)
    counts = dict(picture_rows(summary))
    assert counts.pop("asked") == sum(counts.values()) == 100
    text = to_markdown(summary, "cats.csv")
    assert ["too dear", "8"] in cells(text)
    assert "1,000 more pictures of the manifest were not asked for." in text
    assert "not asked for" not in to_markdown(CLEAN, "cats.csv")


def test_the_spend_is_exact():
    assert spend_rows(SUMMARY) == [
        ("budget", "$20"),
        ("expected for this run", "$0.928125"),
        ("spent in this run", "$0.515625"),
        ("spent, all runs", "$0.61875 (56250 neurons)"),
        ("perhaps billed", "$0.020625 (1875 neurons)"),
    ]


def test_every_number_stands_in_a_table_row():
    rows = cells(to_markdown(SUMMARY, "cats.csv"))
    assert ["made", "50"] in rows
    assert ["left", "34"] in rows
    assert ["spent, all runs", "$0.61875 (56250 neurons)"] in rows
    assert ["3040", "1"] in rows
    assert all(len(row) == 2 for row in rows)


def test_a_run_that_was_stopped_says_by_whom_and_why():
    text = to_markdown(replace(SUMMARY, stopped_by=StoppedBy.ACCOUNT, reason="check the token"), "cats.csv")
    assert "**Stopped by account**: check the token" in text
    assert "Stopped" not in to_markdown(CLEAN, "cats.csv")


def test_without_refusals_there_is_no_table_of_them():
    assert "answers without a picture" not in to_markdown(replace(CLEAN, codes={}), "cats.csv")


@pytest.mark.parametrize(
    "hostile",
    [
        "a | b",
        "<script>alert(1)</script>",
        "[click](javascript:alert(1))",
        "![](https://elsewhere.example/pixel.png)",
        "# heading",
        "`code` **bold** _it_",
        "line\nbreak\n\n| x | y |",
        "back\\slash|",
        "\x1b[31mred",
        "x" * 5000,
    ],
)
def test_text_from_outside_becomes_no_markup(hostile: str):
    text = to_markdown(replace(SUMMARY, reason=hostile, codes={hostile: 1}), hostile)
    plain = to_markdown(replace(SUMMARY, reason="r", codes={"c": 1}), "t")
    assert len(text.splitlines()) == len(plain.splitlines())
    assert all(len(row) == 2 for row in cells(text))
    assert not re.search(r"(?<!\\)[<>]", text.replace("|---|---:|", ""))
    assert not re.search(r"(?<!\\)\[[^\]]*(?<!\\)\]\(", text)
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) < 1200


def test_it_ends_in_one_line_feed_and_has_one_title():
    text = to_markdown(SUMMARY, "cats.csv")
    assert text.endswith(".\n")
    assert [line for line in text.splitlines() if line.startswith("#")] == ["# cats.csv"]
