"""The report as one HTML page that needs nothing else: facts and gallery -> text. Pure.

No text from outside becomes markup: Jinja escapes all of it, what the script reads is JSON in which no `<` stands, and
the content-security policy lets in this page's own style and script by their hashes, and nothing from anywhere.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import PurePath
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from fluxbatch.models.money import Money, decimal_usd, exact
from fluxbatch.plain import plain
from fluxbatch.report.charts import Chart, Series, chart
from fluxbatch.report.facts import Facts
from fluxbatch.report.gallery import GROUPS_MAX, IN_GROUP_MAX, SUSPECTS_MAX, Gallery, Item
from fluxbatch.report.timeline import PERCENTILES, Timeline

KINDS_SHOWN = 40
RUNS_SHOWN = 50
TEXT_MAX = 300
Numbered = tuple[int, Item]


@dataclass(frozen=True, slots=True)
class Share:
    """A piece of a bar that is 100 wide."""

    name: str
    value: str
    role: str
    x: float
    width: float


def to_html(facts: Facts, gallery: Gallery, version: str) -> str:
    """The page. The same facts give the same page."""
    page = environment().get_template("report.html")
    style, script = _template("report.css"), _template("opened.js") + _template("report.js")
    numbered = list(enumerate(gallery.items))
    return page.render(
        facts=facts,
        gallery=gallery,
        version=version,
        style=Markup(style),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        style_hash=_policy_hash(style),
        script_hash=_policy_hash(script),
        summary=facts.summary,
        outcome=list(_outcome(facts)),
        spend=list(_spend(facts)),
        money=list(_money(facts)),
        kinds=facts.kinds[:KINDS_SHOWN],
        runs=list(reversed(facts.runs))[:RUNS_SHOWN],
        charts=[] if facts.timeline is None else list(charts_of(facts)),
        figures=None if facts.timeline is None else _figures(facts.timeline),
        began=None if facts.timeline is None else _utc(facts.timeline.began_at_us),
        suspects=[one for one in numbered if one[1].is_suspect][:SUSPECTS_MAX],
        groups=_groups(numbered),
        items=_for_script(gallery),
    )


@cache
def environment() -> Environment:
    """The templates, for whoever shows the same pieces: everything is escaped, and what is not given is an error."""
    made = Environment(
        loader=PackageLoader("fluxbatch.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(_FILTERS)
    return made


@cache
def _template(name: str) -> str:
    return (files("fluxbatch.report") / "templates" / name).read_text("utf-8")


def _policy_hash(text: str) -> str:
    """As a content-security policy names an inline style or script (w3.org/TR/CSP3, section 2.3.1)."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _outcome(facts: Facts) -> Iterator[Share]:
    """Of the last run's pictures; what an older summary does not have counts as none."""
    if facts.summary is None:
        return iter(())
    s = facts.summary
    counts = [
        ("made before", int(s.get("already", 0)), "first"),
        ("made", int(s.get("made", 0)), "made"),
        ("refused", int(s.get("refused", 0)), "refused"),
        ("failed", int(s.get("failed", 0)), "failed"),
        ("unknown", int(s.get("unknown", 0)), "unknown"),
        ("too dear", int(s.get("too_dear", 0)), "second"),
        ("left", int(s.get("left", 0)), "left"),
    ]
    return _shares([(name, f"{count:,}", count, role) for name, count, role in counts if count or name == "made"])


def _spend(facts: Facts) -> Iterator[Share]:
    if facts.balance is None:
        return iter(())
    b = facts.balance
    amounts = [
        ("spent", b.spent.nano_usd, "made"),
        ("perhaps billed", b.unknown.nano_usd, "unknown"),
        ("on its way", b.reserved.nano_usd, "reserved"),
        ("free", max(0, b.free_nano_usd), "left"),
    ]
    return _shares([(name, _usd(nano), nano, role) for name, nano, role in amounts if nano or name == "spent"])


def _shares(parts: Sequence[tuple[str, str, int, str]]) -> Iterator[Share]:
    whole = sum(size for _, _, size, _ in parts) or 1
    x = 0.0
    for name, value, size, role in parts:
        width = 100 * size / whole
        yield Share(name, value, role, round(x, 3), round(width, 3))
        x += width


def _money(facts: Facts) -> Iterator[tuple[str, str]]:
    """The spend, exact."""
    if facts.balance is not None:
        b = facts.balance
        yield "budget", f"${exact(decimal_usd(b.cap_nano_usd))}"
        yield "spent", _both(b.spent)
        if b.unknown.nano_usd:
            yield "perhaps billed", _both(b.unknown)
        if b.reserved.nano_usd:
            yield "on its way", _both(b.reserved)
    else:
        charged = sum((kind.charged for kind in facts.kinds), Money())
        yield "charged, by the pictures", _both(charged)
    if facts.summary is not None:
        yield "expected of the last run", f"${facts.summary.get('expected_usd', '?')}"
        yield "spent by the last run", f"${facts.summary.get('spent_in_run_usd', '?')}"
    if facts.free is not None:
        used, free = facts.free.used.neurons, f"{facts.free.of.neurons:,.0f}"
        told = f"{used:,} of {free} neurons" if used <= facts.free.of.neurons else f"all {free} of {used:,} neurons"
        yield f"free allocation, {facts.free.day}", told


def _both(money: Money) -> str:
    return f"${exact(money.usd)} ({money.neurons:,} neurons)"


def charts_of(facts: Facts) -> Iterator[Chart]:
    """The last batch over time, in four charts."""
    t = facts.timeline
    assert t is not None
    rate = next((run.summary.get("rate_per_minute") for run in facts.batch if run.summary is not None), None)
    draw: Callable[..., Chart] = lambda title, unit, series, limit=None: chart(  # noqa: E731 - four calls of one shape
        title, unit, t.starts_s, t.width_s, series, limit
    )
    away = [Series("turned away", "away", t.turned_away_per_minute)] if t.turned_away_per_minute.any() else []
    allowed = None if not rate else (f"allowed, {rate:g} requests", float(rate))
    # A limit far above what was made would flatten the line.
    near = allowed if allowed and t.made_per_minute.max(initial=0) * 4 >= allowed[1] else None
    yield draw("Pictures", "a minute", [Series("made", "made", t.made_per_minute, is_filled=True), *away], near)
    yield draw("In flight", "requests at once", [Series("at most", "first", t.in_flight, is_filled=True)])
    if not np.isnan(t.latency_s).all():
        roles = ("first", "second", "third")
        names = ("median", *(f"{percentile}th percentile" for percentile in PERCENTILES[1:]))
        lines = [Series(name, role, row) for name, role, row in zip(names, roles, t.latency_s, strict=True)]  # type: ignore[arg-type]
        yield draw("Latency", "seconds", lines)
    yield draw("Spent", "US dollars", [Series("spent by this batch", "made", t.spent_usd, is_filled=True)])


@dataclass(frozen=True, slots=True)
class _Figures:
    names: tuple[str, ...]
    rows: tuple[tuple[float, tuple[float, ...]], ...]


def _figures(t: Timeline) -> _Figures:
    """What the charts show, for who cannot see them."""
    latencies = tuple(f"latency p{percentile} (s)" for percentile in PERCENTILES)
    names = ("made a minute", "turned away a minute", "in flight", *latencies, "spent ($)")
    columns = (t.made_per_minute, t.turned_away_per_minute, t.in_flight, *t.latency_s, t.spent_usd)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return _Figures(names, tuple(zip(t.starts_s.tolist(), rows, strict=True)))


def _groups(numbered: Sequence[Numbered]) -> list[tuple[str, list[Numbered]]]:
    """The near-duplicates that are shown, by their group."""
    groups: dict[str, list[Numbered]] = {}
    for number, item in numbered:
        if item.group is not None:
            groups.setdefault(item.group, []).append((number, item))
    shown = [(name, members[:IN_GROUP_MAX]) for name, members in groups.items() if len(members) > 1]
    return shown[:GROUPS_MAX]


def _for_script(gallery: Gallery) -> Mapping[str, Any]:
    """What filters, grid and opened picture need: all values as texts, by column."""
    columns = list(dict.fromkeys(name for item in gallery.items for name in item.values))
    items = [[item.values.get(name) for name in columns] for item in gallery.items]
    axes = [{"name": axis.name, "values": axis.values} for axis in gallery.axes]
    return {"columns": columns, "items": items, "axes": axes}


def _usd(amount: Money | int) -> str:
    nano = amount if isinstance(amount, int) else amount.nano_usd
    return f"${decimal_usd(nano):,.4f}" if nano % 100_000 == 0 else f"${exact(decimal_usd(nano))}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:g} s" if seconds == int(seconds) else f"{seconds:.1f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def _size(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count} bytes"


def _figure(value: float) -> str:
    return "" if np.isnan(value) else f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"


def _moment(when: datetime) -> str:
    return when.strftime("%Y-%m-%d %H:%M UTC")


def _utc(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us / 1e6, UTC)


def _webp(content: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(content).decode()}"


_FILTERS: dict[str, Callable[..., object]] = {
    "count": lambda number: f"{number:,}",
    "cut": lambda text, limit=TEXT_MAX: plain(str(text), limit),
    "duration": _duration,
    "figure": _figure,
    "file_name": lambda path: plain(PurePath(path).name, 80),
    "last": lambda name: plain(str(name).rpartition("/")[2], 80),
    "moment": _moment,
    "moment_us": lambda at_us: _moment(_utc(at_us)),
    "seconds": lambda seconds: f"{seconds:.1f} s",
    "size": _size,
    "trusted": Markup,  # what matplotlib has drawn, of texts that are our own
    "usd": _usd,
    "webp": _webp,
}
