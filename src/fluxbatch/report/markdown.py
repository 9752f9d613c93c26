"""What came of a run, as Markdown: `report.md` in the dataset, and the flow's artifact. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from fluxbatch.models.money import decimal_usd, exact
from fluxbatch.plain import plain
from fluxbatch.summary import ModelSummary, Summary

REPORT = "report.md"


def spend_rows(summary: Summary) -> list[tuple[str, str]]:
    """The spend, exact, as name and value: the rows of every table that shows it."""
    s = summary
    return [
        ("budget", f"${exact(decimal_usd(s.budget_nano_usd))}"),
        ("expected for this run", f"${exact(s.expected.usd)}"),
        ("spent in this run", f"${exact(s.spent_in_run.usd)}"),
        ("spent, all runs", f"${exact(s.spent.usd)} ({exact(s.spent.neurons)} neurons)"),
        ("perhaps billed", f"${exact(s.unknown_charges.usd)} ({exact(s.unknown_charges.neurons)} neurons)"),
    ]


def picture_rows(summary: Summary) -> list[tuple[str, int]]:
    """The pictures by how they ended; they add up to what was asked."""
    s = summary
    return [
        ("asked", s.asked),
        ("already made", s.already),
        ("made", s.made),
        ("refused", s.refused),
        ("failed", s.failed),
        ("unknown", s.unknown),
        *([("too dear", s.too_dear)] if s.too_dear else []),
        ("left", s.left),
    ]


def to_markdown(summary: Summary, title: str) -> str:
    """Pictures, money and what was answered instead of pictures, in three tables."""
    return "\n".join(_lines(summary, title)) + "\n"


def _lines(summary: Summary, title: str) -> Iterator[str]:
    yield f"# {_cell(title)}"
    yield ""
    if summary.stopped_by is not None:
        yield f"**Stopped by {summary.stopped_by.value}**: {_cell(summary.reason or '')}"
        yield ""
    for drift in summary.drifts:
        yield f"**Note**: {_cell(str(drift))}"
        yield ""
    yield from _table("pictures", "", [(name, f"{count:,}") for name, count in picture_rows(summary)])
    yield from _table("money", "", spend_rows(summary))
    if len(summary.models) > 1:
        yield from _table("model", "made, of requests", [_model_row(one) for one in summary.models])
    if summary.not_selected:
        yield f"{summary.not_selected:,} more pictures of the manifest were not asked for."
        yield ""
    codes = [(code, f"{count:,}") for code, count in summary.codes.items()]
    if codes:
        yield from _table("answers without a picture (code)", "how often", codes)
    yield (
        f"{summary.requests:,} requests, {summary.refusals:,} turned away, at most {summary.peak_in_flight:,} in "
        f"flight, {summary.seconds:.1f} s. Rows without a picture stand in `failures.parquet`."
    )


def _model_row(one: ModelSummary) -> tuple[str, str]:
    left = f"; {one.not_reached:,} not reached: {one.given_up}" if one.not_reached and one.given_up else ""
    return one.name, f"{one.made:,} of {one.requests:,}{left}"


def _table(first: str, second: str, rows: list[tuple[str, str]]) -> Iterator[str]:
    yield f"| {first} | {second} |"
    yield "|---|---:|"
    for name, value in rows:
        yield f"| {_cell(name)} | {_cell(value)} |"
    yield ""


def _cell(text: str) -> str:
    """Text from outside becomes no markup: Markdown's and HTML's special characters are escaped."""
    escaped = plain(text, 500)
    for character in "\\`*_{}[]<>#|":
        escaped = escaped.replace(character, "\\" + character)
    return escaped
