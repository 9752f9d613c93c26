"""The live view of a run: a picture that moves where there is a terminal, plain log lines where there is none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rich.console import Console, Group
from rich.live import Live

from fluxbatch.batch import Batch
from fluxbatch.drawn import facts, is_ci, model_lines, moves, notes, pen_of, view

log = logging.getLogger("fluxbatch")

REFRESH_S = 0.25
LOG_EVERY_S = 10.0
LOG_EVERY_IN_CI_S = 60.0
"""A log that is kept and read afterwards."""


@asynccontextmanager
async def watched(batch: Batch, console: Console) -> AsyncIterator[None]:
    """Show the run while the block lasts."""
    task = asyncio.create_task(_live(batch, console) if moves(console) else _log(batch, console))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _live(batch: Batch, console: Console) -> None:
    def drawn() -> Group:
        return view(batch.live.progress(), batch.tally.balance, pen_of(console))

    with Live(drawn(), console=console, auto_refresh=False, transient=True) as live:
        while True:
            live.update(drawn(), refresh=True)
            await asyncio.sleep(REFRESH_S)


async def _log(batch: Batch, console: Console) -> None:
    said: list[str] = []
    pen = pen_of(console)
    while True:
        await asyncio.sleep(LOG_EVERY_IN_CI_S if is_ci() else LOG_EVERY_S)
        progress = batch.live.progress()
        held = notes(progress, pen)
        for line in held:
            if line not in said:
                log.warning("%s", line)
        said = held
        for line in (facts(progress, batch.tally.balance, pen), *model_lines(progress, pen)):
            log.info("%s", line)
