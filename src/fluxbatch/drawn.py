"""How a run is drawn and told: bars, sparklines and facts, for any width and any set of characters.

What comes from outside (the platform's words, names of models and of who paused) is made plain here.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from fluxbatch.budget.entries import Balance
from fluxbatch.many import many
from fluxbatch.models.money import decimal_usd
from fluxbatch.plain import plain
from fluxbatch.progress import Eta, Progress
from fluxbatch.tell import minutes, usd

NARROW = 64
"""Below so many columns a bar and its figures stand on lines of their own."""
BAR_MAX, BAR_MIN = 60, 10
SPARK_MAX = 60
REASON_MAX = 120
TROUBLE_MAX = 400


@dataclass(frozen=True, slots=True)
class Pen:
    """What can be drawn with: columns, and whether the terminal knows more than ASCII."""

    width: int
    is_ascii: bool = False

    @property
    def dot(self) -> str:
        return " | " if self.is_ascii else " · "

    @property
    def bar(self) -> tuple[str, str, str]:
        """What is done, what is on its way, what is left."""
        return ("#", "+", "-") if self.is_ascii else ("━", "╍", "─")

    @property
    def steps(self) -> str:
        """From nothing to the most."""
        return "_.:-=+*#" if self.is_ascii else "▁▂▃▄▅▆▇█"

    def fit(self, text: str, limit: int) -> str:
        """Plain, and in characters that this terminal has."""
        made = plain(text, limit)
        return made.encode("ascii", "replace").decode() if self.is_ascii else made


def pen_of(console: Console) -> Pen:
    """For this console: a Windows code page, or a terminal in the C locale, gets ASCII."""
    return Pen(console.width, not console.encoding.lower().replace("-", "").startswith("utf"))


def is_ci(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether nobody looks at a terminal, whatever it says of itself: GitHub and nearly all others set CI."""
    return any(environment.get(name, "").lower() not in ("", "0", "false") for name in ("CI", "GITHUB_ACTIONS"))


def moves(console: Console, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether what was drawn can be drawn anew: not in a file or a pipe, on a dumb terminal, or in CI."""
    return console.is_terminal and not console.is_dumb_terminal and not is_ci(environment)


def facts(progress: Progress, balance: Balance | None, pen: Pen | None = None) -> str:
    """Pictures, money (where it is this one's), speed: one line."""
    p = progress
    words = [f"{p.done:,}/{p.goal:,}" + (f" of {p.asked:,}" if p.goal < p.asked else "")]
    words += [] if balance is None else _exact_money(balance)
    words += [f"{p.per_minute:,.0f}/min", f"{p.in_flight} in flight", f"{many(p.refusals, 'refusal')}"]
    if p.eta is not None and p.left and p.paused_by is None:
        words.append(to_go(p.eta))
    return (pen or Pen(80)).dot.join(words)


def _exact_money(balance: Balance) -> Iterator[str]:
    yield f"{usd(balance.spent)} spent"
    yield f"{usd(balance.reserved)} reserved"
    if balance.unknown.nano_usd:
        yield f"{usd(balance.unknown)} unknown"
    yield f"{usd(balance.free_nano_usd)} left"


def to_go(eta: Eta) -> str:
    """How long it takes, and how sure that is; the spread is left out where it says no more."""
    told = f"{minutes(eta.seconds)} to go"
    if eta.low_s is None or eta.high_s is None:
        return told
    low, high = minutes(eta.low_s), minutes(eta.high_s)
    if low == high:
        return told
    unit = high.rpartition(" ")[2]
    return f"{told} ({low.removesuffix(' ' + unit)} to {high})"


def notes(progress: Progress, pen: Pen | None = None) -> list[str]:
    """Why nothing moves, where that is so: somebody has paused it, or there is trouble."""
    p, pen = progress, pen or Pen(80)
    told = []
    if p.paused_by is not None:
        at = datetime.fromtimestamp((p.paused_at_us or 0) / 1e6, UTC)
        told.append(pen.fit(f"paused by ctl ({p.paused_by}, since {at:%H:%M} UTC); `ctl resume` goes on", TROUBLE_MAX))
    if p.trouble is not None:
        told.append(pen.fit(p.trouble, TROUBLE_MAX))
    return told


def model_lines(progress: Progress, pen: Pen | None = None) -> list[str]:
    """One line a model, where there are several."""
    pen = pen or Pen(80)
    return [
        f"{pen.fit(one.model, 60)}: {one.made:,} made{pen.dot}{one.in_flight} in flight of {one.limit}"
        + ("" if one.latency_s is None else f"{pen.dot}{one.latency_s:.1f} s a picture")
        for one in progress.models
    ]


def view(progress: Progress, balance: Balance, pen: Pen) -> Group:
    """All of it, to be drawn anew: as wide as the pen."""
    rows = list(_rows(progress, balance, pen))
    drawn = _stacked(rows, pen) if pen.width < NARROW else _side_by_side(rows, pen)
    lines: list[Table | Text] = [*drawn]
    lines += [Text(line, "dim", overflow="fold") for line in model_lines(progress, pen)]
    lines += [Text(line, "yellow", overflow="fold") for line in notes(progress, pen)]
    return Group(*lines)


def run_line(name: str, progress: Progress, pen: Pen) -> Text:
    """One of several runs: its name, a bar, and the facts but the money, which is that of all."""
    said = facts(progress, None, pen)
    width = min(BAR_MAX, pen.width - len(name) - len(said) - 2)
    share = progress.done / max(1, progress.goal)
    drawn = bar(share, 0.0, width, pen) if width >= BAR_MIN else Text()
    return Text.assemble((name, "dim"), " ", drawn, " " if drawn else "", said)


@dataclass(frozen=True, slots=True)
class _Row:
    """A name, what is drawn beside it (a bar of shares, or a sparkline of values), and what is said."""

    name: str
    said: tuple[str, ...]
    """Phrases: a line is broken between them."""
    shares: tuple[float, float] | None = None
    values: tuple[int, ...] | None = None
    style: str = "green"

    @property
    def is_drawn(self) -> bool:
        return self.shares is not None or self.values is not None


def _rows(p: Progress, balance: Balance, pen: Pen) -> Iterator[_Row]:
    share = p.done / max(1, p.goal)
    of = f" of {p.asked:,}" if p.goal < p.asked else ""
    yield _Row("pictures", (f"{p.done:,}/{p.goal:,}{of}", _percent(share)), (share, 0.0))
    yield _Row("money", tuple(_money(balance)), _money_shares(balance), style="cyan")
    yield _Row("speed", tuple(_speed(p)), values=p.speeds)
    flying = (f"{p.in_flight} in flight of {p.in_flight_max:,}", f"{many(p.refusals, 'refusal')}")
    yield _Row("in flight", flying, values=p.flights, style="blue")
    if p.reasons:
        limit = max(20, min(REASON_MAX, pen.width - (6 if pen.width < NARROW else 18)))
        named = (f"{one.count:,}x {pen.fit(f'{one.code} {one.text}', limit)}" for one in p.reasons)
        yield _Row("no picture", tuple(named), style="dim")


def _percent(share: float) -> str:
    """Never 100 before the end."""
    return f"{min(99, int(100 * share)) if share < 1 else 100} %"


def _speed(p: Progress) -> Iterator[str]:
    yield f"{p.per_minute:,.0f}/min" + ("" if p.rate is None else f" of {p.rate:,.0f}")
    if p.paused_by is not None:
        yield "paused"
    elif p.eta is not None and p.left:
        yield to_go(p.eta)
    elif p.in_flight and not p.made:
        yield "the first are on their way"


def _money(balance: Balance) -> Iterator[str]:
    """At a glance: to the cent where the budget is more than ten dollars, else to a hundredth of one."""
    places = 2 if balance.cap_nano_usd > 10 * 10**9 else 4

    def about(nano_usd: int) -> str:
        return f"${decimal_usd(nano_usd):,.{places}f}"

    yield f"{about(balance.spent.nano_usd)} spent"
    if balance.unknown.nano_usd:
        yield f"{about(balance.unknown.nano_usd)} unknown"
    yield f"{about(balance.reserved.nano_usd)} reserved"
    yield f"{about(balance.free_nano_usd)} left"


def _money_shares(balance: Balance) -> tuple[float, float]:
    cap = max(1, balance.cap_nano_usd)
    return balance.spent.nano_usd / cap, (balance.reserved.nano_usd + balance.unknown.nano_usd) / cap


def _side_by_side(rows: Sequence[_Row], pen: Pen) -> Iterator[Table]:
    """A name, a drawing, and what is said: the drawing gets what is left of the width."""
    name = max(len(row.name) for row in rows)
    said = max(len(pen.dot.join(row.said)) for row in rows if row.is_drawn)
    drawn = max(BAR_MIN, min(BAR_MAX, pen.width - name - said - 4))
    for row in rows:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(justify="right", style="dim", no_wrap=True, width=name)
        if row.is_drawn:
            table.add_column(width=drawn, no_wrap=True)
            lines = _broken(row.said, pen.width - name - drawn - 4, pen)
            table.add_row(row.name, _drawn(row, drawn, pen), Text("\n".join(lines), overflow="fold"))
        else:
            table.add_row(row.name, Text("\n".join(row.said), row.style, overflow="fold"))
        yield table


def _stacked(rows: Sequence[_Row], pen: Pen) -> Iterator[Table | Text]:
    """Each drawing on a line of its own, as wide as there is, and below it what is said."""
    for row in rows:
        if row.shares or row.values:
            yield _drawn(row, min(BAR_MAX, pen.width), pen)
        lines = _broken(row.said, pen.width, pen) if row.is_drawn else row.said
        yield Text("\n".join(lines), "" if row.is_drawn else row.style, overflow="fold")


def _broken(phrases: Sequence[str], width: int, pen: Pen) -> list[str]:
    """As many phrases on a line as it holds."""
    lines: list[str] = []
    for phrase in phrases:
        if lines and len(lines[-1]) + len(pen.dot) + len(phrase) <= width:
            lines[-1] += pen.dot + phrase
        else:
            lines.append(phrase)
    return lines


def _drawn(row: _Row, width: int, pen: Pen) -> Text:
    if row.shares is not None:
        return bar(*row.shares, width, pen, row.style)
    return Text(spark(row.values or (), min(width, SPARK_MAX), pen), row.style)


def bar(done: float, under_way: float, width: int, pen: Pen, style: str = "green") -> Text:
    """Shares of a whole. What is there is seen: at least one character, as long as there is something."""
    full = _cells(done, width)
    part = min(_cells(done + under_way, width) - full if under_way else 0, width - full)
    part = max(part, 1 if under_way > 0 and full < width else 0)
    a, b, c = pen.bar
    return Text.assemble((a * full, style), (b * part, f"dim {style}"), (c * (width - full - part), "dim"))


def _cells(share: float, width: int) -> int:
    """The last cell is filled at the very end only."""
    cells = int(max(0.0, share) * width)
    return width if share >= 1 else min(max(cells, 1 if share > 0 else 0), width - 1)


def spark(values: Sequence[int], width: int, pen: Pen) -> str:
    """The values, from nothing to the most of them."""
    fitted = _fitted(values, width)
    most = max(fitted, default=0)
    top = len(pen.steps) - 1
    return "".join(pen.steps[0 if not value else max(1, round(top * value / most))] for value in fitted)


def _fitted(values: Sequence[int], width: int) -> list[float]:
    """All of them in so many: where there are more, those that share a place are averaged."""
    if len(values) <= width:
        return list(values)
    edges = [round(place * len(values) / width) for place in range(width + 1)]
    return [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
