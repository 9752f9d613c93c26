"""What is said at the terminal: plan, summary and status as tables and sentences. Pure, but for the printing.

Text from outside (prompts, paths, the platform's messages) is escaped before it comes here or shown through `shown`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fluxbatch.budget.coverage import Coverage
from fluxbatch.budget.entries import USED_UP, Balance, OpenAttempt
from fluxbatch.budget.plan import Plan
from fluxbatch.budget.selection import OnBudget
from fluxbatch.dataset.place import Place
from fluxbatch.dispatch.stop import StoppedBy
from fluxbatch.manifest.request import Complaint
from fluxbatch.many import many
from fluxbatch.models.money import Money, decimal_usd, exact
from fluxbatch.plain import plain, with_its_end
from fluxbatch.summary import ModelSummary, Summary

COMPLAINTS_SHOWN = 50
COMPLAINT_MAX = 10_000
"""A complaint cuts its own parts shorter than this, so that none of them costs another its place."""
MESSAGE_MAX = 2_000
SHAPES_SHOWN = 20


def usd(money: Money | int) -> str:
    """Dollars for people: four decimals, and all of them where that would hide something."""
    nano = money if isinstance(money, int) else money.nano_usd
    return f"${decimal_usd(nano):,.4f}" if nano % 100_000 == 0 else f"${exact(decimal_usd(nano))}"


def neurons(money: Money) -> str:
    return f"{money.neurons:,} neurons"


def shown(text: object, limit: int = 200) -> str:
    """Text from outside, safe for a terminal: control characters and markup are escaped."""
    return escape(plain(str(text), limit))


def minutes(seconds: float) -> str:
    """A duration for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def plan_json(plan: Plan, coverage: Coverage, rate_per_minute: float, budgets: Mapping[str, Any] | None = None) -> str:
    return json.dumps(
        {
            **(budgets or {}),
            "asked": plan.asked,
            "already": plan.already,
            "due": plan.due,
            "too_dear": plan.too_dear,
            "not_selected": plan.not_selected,
            "on_budget": plan.selection.on_budget,
            "ended": {end.value: count for end, count in sorted(plan.ended.items())},
            "rejected_rows": plan.rejected_rows,
            "complaints": plan.complaint_count,
            "expected_usd": exact(plan.expected.usd),
            "bound_usd": exact(plan.bound.usd),
            "expected_neurons": exact(plan.expected.neurons),
            "bound_neurons": exact(plan.bound.neurons),
            "budget_usd": exact(decimal_usd(plan.balance.cap_nano_usd)),
            "gone_usd": exact(plan.balance.gone.usd),
            "fits": plan.fits,
            "fits_expected_usd": exact(decimal_usd(plan.fits_nano_usd)),
            "prices_read": {s.model.name: s.model.prices_read.isoformat() for s in plan.shapes},
            "coverage": [
                {
                    "model": s.model.name,
                    "width": s.width,
                    "height": s.height,
                    "steps": s.steps,
                    "references": s.references,
                    "due": count,
                    "fits": coverage.shapes[s],
                }
                for s, count in plan.shapes.most_common()
                if coverage.shapes
            ],
            "axes": [
                {"name": axis.name, "values": axis.values, "least": round(axis.least, 4), "most": round(axis.most, 4)}
                for axis in coverage.axes
            ],
            "minutes_at_rate": round(plan.due / rate_per_minute, 3) if rate_per_minute else None,
        }
    )


def show_complaints(console: Console, complaints: Sequence[object], count: int) -> None:
    for complaint in complaints[:COMPLAINTS_SHOWN]:
        console.print(f"  {shown(complaint, COMPLAINT_MAX)}", highlight=False, soft_wrap=True)
    if count > COMPLAINTS_SHOWN:
        console.print(f"  … and {count - min(len(complaints), COMPLAINTS_SHOWN):,} more")


def show_plan(
    console: Console,
    plan: Plan,
    coverage: Coverage,
    out: Place,
    rate_per_minute: float,
    latency_s: float,
    in_flight: int,
) -> None:
    """The whole plan: pictures, complaints, money, what fits, how long."""
    if plan.complaint_count:
        console.print(f"[bold red]{many(plan.complaint_count, 'complaint')}[/] about {many(plan.rejected_rows, 'row')}")
        show_complaints(console, plan.complaints, plan.complaint_count)
    if plan.due:
        console.print(_shapes_table(plan, coverage))
    if len(plan.shapes) > SHAPES_SHOWN:
        console.print(f"… and {len(plan.shapes) - SHAPES_SHOWN} more shapes")
    for name, value in _plan_lines(plan, out, rate_per_minute, latency_s, in_flight):
        console.print(f"{name:>14}  {value}", highlight=False, soft_wrap=True)
    for axis in coverage.axes:
        share = f"{axis.least:.1%} to {axis.most:.1%} of each" if axis.least < axis.most else f"{axis.most:.1%} of each"
        console.print(f"{shown(axis.name):>14}  {many(axis.values, 'value')}: {share}", highlight=False)


def _shapes_table(plan: Plan, coverage: Coverage) -> Table:
    headers = ["pictures", "model", "size", "steps", "refs", "expected", "bound"]
    if coverage.shapes:
        headers.insert(1, "fit")
    table = Table(title="What is asked", box=SIMPLE, padding=0)
    for header in headers:  # at 80 columns a name is folded; no figure is cut
        table.add_column(header, no_wrap=header != "model", overflow="fold")
    for shape, count in plan.shapes.most_common(SHAPES_SHOWN):
        price = plan.price(shape)
        size = f"{shape.width}x{shape.height}"
        table.add_row(
            f"{count:,}", *([f"{coverage.shapes[shape]:,}"] if coverage.shapes else []), shape.model.name, size,
            str(shape.steps), str(shape.references), usd(price.expected * count), usd(price.bound * count),
        )  # fmt: skip
    return table


def _plan_lines(
    plan: Plan, out: Place, rate_per_minute: float, latency_s: float, in_flight: int
) -> list[tuple[str, str]]:
    lines = [
        ("pictures", f"{plan.asked:,} asked, {plan.already:,} already made (they cost nothing), {plan.due:,} to make")
    ]
    if plan.ended:
        ended = ", ".join(f"{count:,} {end.value}" for end, count in sorted(plan.ended.items()))
        lines.append(
            ("ended", f"{ended}: not sent again unless asked (--resend-refused, --resend-failed, --resend-lost)")
        )
    lines += _selected_lines(plan)
    lines += _reference_lines(plan)
    lines += [
        ("expected", f"{usd(plan.expected)}  ({neurons(plan.expected)})"),
        ("bound", f"{usd(plan.bound)}  ({neurons(plan.bound)}): what is reserved, each picture bought once"),
    ]
    balance = plan.balance
    gone = f", {usd(balance.gone)} of it gone already" if balance.gone.nano_usd else ""
    fits = "all of it fits" if plan.fits == plan.due else f"{plan.fits:,} of {plan.due:,} pictures fit{_how(plan)}"
    lines.append(("budget", f"{usd(balance.cap_nano_usd)}{gone}: {fits}"))
    if rate_per_minute:
        at_rate = 60.0 * plan.due / rate_per_minute
        needed = latency_s * rate_per_minute / 60.0
        lines.append(
            ("at the rate", f"{minutes(at_rate)} at {rate_per_minute:g} a minute, with {needed:.0f} in flight")
        )
    bound_s = max(plan.due / in_flight, min(plan.due, 1)) * latency_s  # one picture takes as long as it takes
    lines.append(("at the latency", f"{minutes(bound_s)} at {latency_s:g} s a picture and {in_flight} in flight"))
    lines.append(("dataset", shown(out)))
    return lines


def show_notes(console: Console, notes: Sequence[tuple[str, str]]) -> None:
    """More lines of a plan."""
    for name, value in notes:
        console.print(f"{name:>14}  {value}", highlight=False, soft_wrap=True)


def _reference_lines(plan: Plan) -> list[tuple[str, str]]:
    lines = []
    changes = [("fitted under 512x512", plan.fitted_references), *plan.changes.items()]
    done = [f"{count:,} {change}" for change, count in changes if count]
    if done:
        lines.append(("references", f"{', '.join(done)}; the originals stay as they are"))
    if plan.first_doubtful is not None:
        row, number = plan.first_doubtful
        where = f'"image {number}" in row {row}'
        said = f"{plan.doubtful_prompts:,} speak of an image that is not among their references ({where})"
        lines.append(("prompts", f"{said}: sent as they are"))
    if plan.first_odd_json is not None:
        row, trouble = plan.first_odd_json
        said = f"{plan.odd_json_prompts:,} begin like a JSON prompt and look wrong (row {row}: {shown(trouble, 200)})"
        lines.append(("prompts", f"{said}: sent as they are"))
    return lines


def _how(plan: Plan) -> str:
    """Which of the due pictures a short budget buys, when it is not simply the first."""
    match plan.selection.on_budget:
        case OnBudget.CHEAPEST_FIRST:
            return f", the cheapest first; they should cost {usd(plan.fits_nano_usd)}"
        case OnBudget.SPREAD:
            return f", spread over {len(plan.selection.axes.axes) if plan.selection.axes else 0} axes"
        case OnBudget.STOP:
            return ""


def _selected_lines(plan: Plan) -> list[tuple[str, str]]:
    """What of the manifest is left out."""
    s, lines = plan.selection, []
    if s.limit is not None:
        lines.append(("limit", f"the first {many(s.limit, 'picture')}; the manifest is read no further"))
    if s.sample is not None:
        lines.append(("sample", f"{plan.asked:,} of {many(plan.asked + plan.not_selected, 'picture')}, seed {s.seed}"))
    if s.preview is not None:
        lines.append(("preview", f"{many(plan.asked, 'corner')} of the sweep, a picture each"))
    if s.price_max_nano_usd is not None:
        most = f"may cost more than {usd(s.price_max_nano_usd)} each (bound): left out"
        lines.append(("too dear", f"{many(plan.too_dear, 'picture')} {most}"))
    return lines


def show_summary(console: Console, summary: Summary, command: str) -> None:
    """What came of the run, and how to go on."""
    s = summary
    table = Table(title="Spend", show_header=False)
    table.add_row("pictures made", f"{s.made:,} (and {s.already:,} before, of {s.asked:,} asked)")
    for name, count in (("refused", s.refused), ("failed", s.failed), ("unknown", s.unknown), ("left", s.left)):
        if count:
            table.add_row(name, f"{count:,}")
    if s.too_dear:
        table.add_row("too dear", f"{s.too_dear:,} (above --max-price-per-picture; failures.parquet)")
    if s.not_selected:
        table.add_row("not asked for", f"{s.not_selected:,} more in the manifest")
    if s.rejected:
        table.add_row("rows skipped", f"{s.rejected:,} (rejected.parquet)")
    table.add_row("spent", f"{usd(s.spent)}  ({neurons(s.spent)}), {usd(s.spent_in_run)} of it now")
    if s.unknown_charges.nano_usd:
        table.add_row("perhaps billed", f"{usd(s.unknown_charges)}  (counted as spent)")
    table.add_row("budget", usd(s.budget_nano_usd))
    table.add_row("requests", f"{s.requests:,}, {s.refusals:,} turned away; at most {s.peak_in_flight:,} in flight")
    table.add_row("time", minutes(s.seconds))
    console.print(table)
    if len(s.models) > 1:
        console.print(_models_table(s.models))
    for line in closing_lines(summary, command):
        console.print(line, highlight=False, soft_wrap=True)


def _models_table(models: Sequence[ModelSummary]) -> Table:
    """Fits 80 columns, so that no name of a model is cut."""
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    for name in ("model", "made", "left", "refusals", "in flight", "a picture"):
        table.add_column(name, no_wrap=True)
    for one in models:
        left = f"{one.not_reached:,}{' *' if one.given_up else ''}"
        latency = "" if one.latency_s is None else f"{one.latency_s:.1f} s"
        in_flight = f"{one.peak_in_flight:,} of {one.limit:,}"
        table.add_row(shown(one.name), f"{one.made:,}", left, f"{one.refusals:,}", in_flight, latency)
    if any(one.given_up for one in models):
        table.caption = "* given up"
    return table


def closing_lines(summary: Summary, command: str) -> list[str]:
    """How the run ended and what to do next, as sentences."""
    s, lines = summary, [f"Note: {shown(str(drift), 600)}." for drift in summary.drifts]
    left = many(s.left, "picture is left", "pictures are left")
    if s.stopped_by is StoppedBy.BUDGET and s.reason == USED_UP:
        lines.append(
            f"Stopped: the budget is used up. {left}; {'it' if s.left == 1 else 'they'} should cost "
            f"{usd(s.left_expected)}. To go on: the same command with --budget {decimal_usd(s.enough_nano_usd):.2f} or "
            "more."
        )
    elif s.stopped_by is not None:
        lines.append(f"Stopped: {shown(s.reason, 600)}. {left}. To go on: {shown(command, 600)}")
    if s.failed or s.unknown or s.refused:
        lines.append(
            "Rows without a picture stand in failures.parquet with the reason; they are not bought again unless asked "
            "(--resend-failed N, --resend-lost N, --resend-refused)."
        )
    return lines


def show_status(
    console: Console, told: dict[str, Any], balance: Balance | None, open_attempts: Sequence[OpenAttempt]
) -> None:
    """A dataset's books, and every attempt whose charge is not known."""
    for name, value in told.items():
        console.print(f"{name.replace('_', ' '):>14}  {shown(value)}", highlight=False)
    if balance is not None:
        console.print(f"{'spent':>14}  {usd(balance.spent)}  ({neurons(balance.spent)})", highlight=False)
        console.print(f"{'unknown':>14}  {usd(balance.unknown)}  ({neurons(balance.unknown)})", highlight=False)
        console.print(f"{'in flight':>14}  {usd(balance.reserved)}", highlight=False)
        console.print(f"{'budget':>14}  {usd(balance.cap_nano_usd)}", highlight=False)
    if open_attempts:
        table = Table("key", "attempt", "how", "bound", "code", "request id", "run", title="Perhaps billed, no picture")
        for one in open_attempts:
            table.add_row(
                one.key[:16], str(one.number), one.end.value, usd(one.bound), shown(one.code or ""),
                shown(one.request_id or ""), one.run,
            )  # fmt: skip
        console.print(table)


def show_error(console: Console, message: str, complaints: Sequence[Complaint | object] = (), count: int = 0) -> None:
    console.print(
        f"[bold red]fluxbatch:[/] {escape(with_its_end(message, MESSAGE_MAX))}", highlight=False, soft_wrap=True
    )
    show_complaints(console, complaints, max(count, len(complaints)))
