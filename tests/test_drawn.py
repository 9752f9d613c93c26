"""What a terminal shows of a run, as wide or narrow as it is, and whatever was said from outside."""

from __future__ import annotations

import io
import itertools
from dataclasses import replace

import pytest
from rich.console import Console

from fluxbatch.budget.entries import Balance
from fluxbatch.drawn import Pen, bar, facts, is_ci, moves, notes, pen_of, run_line, spark, to_go, view
from fluxbatch.models.money import ZERO, Money
from fluxbatch.progress import Eta, OfModel, Progress, Reason

ESCAPES = "\x1b[31mred\x1b]0;title\x07[bold]\u202e"
BALANCE = Balance(50_000_000_000, Money(12_345_600_000), Money(812_300_000), ZERO)
RUNNING = Progress(
    asked=6000, goal=5000, done=1234, made=1230, in_flight=48, in_flight_max=64, in_flight_most=256, requests=1300,
    refusals=12, per_minute=702.0, rate=720.0, rate_most=720.0, eta=Eta(322.0, 290.0, 655.0), speeds=(1, 400, 702),
    flights=(8, 32, 48), reasons=(Reason("3040", f"no room {ESCAPES}", 12), Reason("8007", "refused", 3)),
)  # fmt: skip
SEVERAL = replace(
    RUNNING,
    models=(OfModel(f"flux-2-dev{ESCAPES}", 800, 40, 60, 152.25), OfModel("flux-1-schnell", 430, 8, 64)),
    paused_by=f"ann@desk{ESCAPES}",
    paused_at_us=1_800_000_000_000_000,
    trouble=f"sending pauses: {ESCAPES}",
)


def lines(progress: Progress, width: int, *, is_ascii: bool = False, balance: Balance = BALANCE) -> list[str]:
    """As a terminal of that width gets it, without colour."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(view(progress, balance, Pen(width, is_ascii)))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_at_80_columns_names_drawings_and_figures_stand_side_by_side():
    assert [line.rstrip() for line in lines(RUNNING, 80)] == [
        "  pictures  ━━━━━──────────────────  1,234/5,000 of 6,000 · 24 %",
        "     money  ━━━━━╍─────────────────  $12.35 spent · $0.81 reserved · $36.84 left",
        "     speed  ▂▅█                      702/min of 720 · 5 min to go (5 to 11 min)",
        " in flight  ▂▆█                      48 in flight of 64 · 12 refusals",
        "no picture  12x 3040 no room \\x1b[31mred\\x1b]0;title\\x07[bold]\\u202e",
        "            3x 8007 refused",
    ]


def test_at_40_columns_each_drawing_has_a_line_of_its_own_and_no_phrase_is_broken():
    assert [line.rstrip() for line in lines(RUNNING, 40)] == [
        "━━━━━━━━━───────────────────────────────",
        "1,234/5,000 of 6,000 · 24 %",
        "━━━━━━━━━╍──────────────────────────────",
        "$12.35 spent · $0.81 reserved",
        "$36.84 left",
        "▂▅█",
        "702/min of 720",
        "5 min to go (5 to 11 min)",
        "▂▆█",
        "48 in flight of 64 · 12 refusals",
        "12x 3040 no room \\x1b[31mred\\x1b]0;ti…",
        "3x 8007 refused",
    ]


@pytest.mark.parametrize("width", [40, 63, 64, 80, 120, 200])
@pytest.mark.parametrize("is_ascii", [False, True])
def test_at_every_width_all_is_there_and_no_line_is_longer(width: int, is_ascii: bool):
    drawn = lines(SEVERAL, width, is_ascii=is_ascii)
    assert max(map(len, drawn)) <= width
    whole = " ".join(" ".join(line.split()) for line in drawn)
    for fact in (
        "1,234/5,000 of 6,000", "24 %", "$12.35 spent", "$0.81 reserved", "$36.84 left", "702/min of 720", "paused",
        "48 in flight of 64", "12 refusals", "12x 3040 no room", "3x 8007 refused", "800 made", "flux-1-schnell: 430",
        "since 08:00 UTC", "sending pauses:",
    ):  # fmt: skip
        assert fact in whole, fact
    if is_ascii:
        assert whole.isascii()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_nothing_from_outside_acts_on_the_terminal(width: int):
    drawn = "\n".join(lines(SEVERAL, width))
    for character in ("\x1b", "\x07", "\u202e"):
        assert character not in drawn
        assert character not in "".join(notes(SEVERAL)) + facts(SEVERAL, BALANCE)
    assert "[bold]" in "".join(drawn.split()), "markup is shown as it is"


def test_without_colour_what_is_spent_and_what_is_reserved_can_be_told_apart():
    assert str(bar(0.5, 0.2, 10, Pen(80)).plain) == "━━━━━╍╍───"
    assert str(bar(0.5, 0.2, 10, Pen(80, is_ascii=True)).plain) == "#####++---"


def test_a_bar_is_full_at_the_end_only_and_shows_the_first_picture():
    def cells(done: float, under_way: float = 0.0) -> str:
        return str(bar(done, under_way, 10, Pen(80, is_ascii=True)).plain)

    assert (cells(0.0), cells(0.001), cells(0.999), cells(1.0)) == ("-" * 10, "#" + "-" * 9, "#" * 9 + "-", "#" * 10)
    assert cells(0.0, 0.001) == "+" + "-" * 9
    for done, under_way in itertools.product((0.0, 0.3, 0.999, 1.0, 1.3), (0.0, 0.001, 0.5, 2.0)):
        assert len(cells(done, under_way)) == 10


def test_a_sparkline_shows_all_that_is_known_in_the_width_that_there_is():
    pen = Pen(80)
    assert spark((), 10, pen) == ""
    assert spark((0, 0), 10, pen) == "▁▁"
    assert spark((0, 1, 50, 100), 10, pen) == "▁▂▅█"
    assert spark(tuple(range(100)), 4, pen) == "▂▄▆█"
    assert spark((0, 100), 10, Pen(80, is_ascii=True)) == "_#"


@pytest.mark.parametrize(
    ("eta", "told"),
    [
        (Eta(322.0, 290.0, 655.0), "5 min to go (5 to 11 min)"),
        (Eta(322.0, 300.0, 310.0), "5 min to go"),
        (Eta(45.0, 40.0, 130.0), "45 s to go (40 s to 2 min)"),
        (Eta(45.0, 40.0, 50.0), "45 s to go (40 to 50 s)"),
        (Eta(45.0), "45 s to go"),
    ],
)
def test_how_long_it_takes_and_how_sure_that_is(eta: Eta, told: str):
    assert to_go(eta) == told


def test_a_picture_is_never_all_done_before_it_is():
    almost = replace(RUNNING, done=4999)
    assert "99 %" in "".join(lines(almost, 80))
    assert "100 %" in "".join(lines(replace(RUNNING, done=5000), 80))


def test_the_log_line_has_all_digits_of_the_money():
    said = facts(RUNNING, BALANCE)
    assert said.startswith("1,234/5,000 of 6,000 · $12.3456 spent · $0.8123 reserved · $36.8421 left · 702/min · 48 in")
    assert said.endswith("12 refusals · 5 min to go (5 to 11 min)")
    assert "spent" not in facts(RUNNING, None), "a chunk's money is the batch's"


def test_one_of_several_runs_is_a_line():
    assert run_line("0001", RUNNING, Pen(60)).plain == f"0001 {facts(RUNNING, None)}"
    wide = run_line("0001", RUNNING, Pen(200)).plain
    assert wide.startswith("0001 ━━━━")
    assert wide.endswith(facts(RUNNING, None))


@pytest.mark.parametrize(
    ("encoding", "is_ascii"), [("utf-8", False), ("cp1252", True), ("cp437", True), ("ascii", True)]
)
def test_a_code_page_gets_characters_that_it_has(encoding: str, is_ascii: bool):
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=80, color_system=None)
    pen = pen_of(console)
    assert pen.is_ascii == is_ascii
    console.print(view(replace(SEVERAL, trouble="größer 🦊"), BALANCE, pen))
    file.flush()


def test_only_a_terminal_that_somebody_looks_at_is_drawn_anew():
    terminal = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "xterm"})
    assert moves(terminal, {})
    assert not moves(terminal, {"CI": "true"})
    assert not moves(terminal, {"GITHUB_ACTIONS": "true"})
    assert moves(terminal, {"CI": "false"})
    assert not moves(Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb"}), {})
    assert not moves(Console(file=io.StringIO(), _environ={"TERM": "xterm"}), {})
    assert is_ci({"CI": "1"})


def test_no_color_keeps_the_drawing():
    console = Console(
        file=io.StringIO(), width=80, force_terminal=True, _environ={"NO_COLOR": "1", "TERM": "xterm-256color"}
    )
    console.print(view(RUNNING, BALANCE, Pen(80)))
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    assert "\x1b[3" not in said
    assert "━━" in said
