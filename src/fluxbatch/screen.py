"""The live view of a run: one line that moves where there is a terminal, plain log lines where there is none."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fluxbatch.batch import Batch
from fluxbatch.tell import minutes, shown, usd

log = logging.getLogger("fluxbatch")

REFRESH_S = 0.25
LOG_EVERY_S = 10.0


@asynccontextmanager
async def watched(batch: Batch, console: Console) -> AsyncIterator[None]:
    """Show the run while the block lasts."""
    task = asyncio.create_task(_live(batch, console) if console.is_terminal else _log(batch))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def facts(batch: Batch) -> str:
    """Pictures, money, speed: one line."""
    tally, balance = batch.tally, batch.tally.balance
    per_minute = tally.per_minute(time.time())
    words = [
        f"{tally.done:,}/{tally.goal:,}" + (f" of {tally.asked:,}" if tally.goal < tally.asked else ""),
        f"{usd(balance.spent)} spent",
        f"{usd(balance.reserved)} reserved",
        f"{usd(balance.free_nano_usd)} left",
        f"{per_minute:,.0f}/min",
        f"{tally.in_flight} in flight",
        f"{tally.refusals} refusals",
    ]
    if balance.unknown.nano_usd:
        words.insert(2, f"{usd(balance.unknown)} unknown")
    if tally.goal > tally.done and per_minute:
        words.append(f"{minutes(60.0 * (tally.goal - tally.done) / per_minute)} to go")
    return " · ".join(words)


def trouble(batch: Batch) -> str | None:
    """What holds the run up, if anything does."""
    if batch.stop.is_set:
        return f"stopping ({batch.stop.by}): {batch.tally.in_flight} in flight are waited for"
    lanes = batch.engine.lanes
    told = []
    for model, lane in lanes:
        to = f"to {model.name} " if lanes.are_many else ""
        if (reason := lanes.why_given_up(model)) is not None:
            told.append(f"nothing more is sent {to}({reason})")
        elif (pause := lane.hold.pause) is not None:
            told.append(f"sending {to}pauses: {pause.trouble.text} ({pause.detail})")
    return "; ".join(told) or None


def lane_facts(batch: Batch) -> list[str]:
    """One line a model, where there are several."""
    lanes = batch.engine.lanes
    return [
        f"{model.name}: {lane.made:,} made · {lane.in_flight} in flight of {lane.gate.flight.limit}"
        + ("" if lane.latency_s is None else f" · {lane.latency_s:.1f} s a picture")
        for model, lane in lanes
        if lanes.are_many
    ]


def view(batch: Batch) -> Group:
    """Bar, facts and trouble, to be drawn anew."""
    bar = Table.grid(expand=True)
    bar.add_row(ProgressBar(total=max(1, batch.tally.goal), completed=batch.tally.done))
    lines: list[Table | Text] = [bar, Text(facts(batch), overflow="fold")]
    lines += [Text(line, overflow="fold") for line in lane_facts(batch)]
    if (held := trouble(batch)) is not None:
        lines.append(Text.from_markup(f"[yellow]{shown(held)}[/]"))
    return Group(*lines)


async def _live(batch: Batch, console: Console) -> None:
    with Live(view(batch), console=console, auto_refresh=False, transient=True) as live:
        while True:
            live.update(view(batch), refresh=True)
            await asyncio.sleep(REFRESH_S)


async def _log(batch: Batch) -> None:
    said: str | None = None
    while True:
        await asyncio.sleep(LOG_EVERY_S)
        held = trouble(batch)
        if held is not None and held != said:
            log.warning("%s", held)
        said = held
        for line in (facts(batch), *lane_facts(batch)):
            log.info("%s", line)
