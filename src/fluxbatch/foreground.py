"""A run at the terminal: signals, the live view, the summary, the exit code."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.logging import RichHandler

from fluxbatch import tell
from fluxbatch.dataset.place import Place
from fluxbatch.dispatch.stop import Stop, StoppedBy
from fluxbatch.drawn import moves
from fluxbatch.errors import DatasetInUse
from fluxbatch.exit_codes import EXIT_COMPLETE, EXIT_INTERRUPTED
from fluxbatch.job import Job
from fluxbatch.plain import plain
from fluxbatch.prepare import Prepared, prepared
from fluxbatch.report import REPORT
from fluxbatch.run import drive, open_batch, simulated
from fluxbatch.screen import watched
from fluxbatch.summary import Summary
from fluxbatch.unheard import leave_the_terminal, say

LOG_CHARACTERS_MAX = 4_000


def run_in_foreground(job: Job, console: Console, *, as_json: bool, command: str) -> int:
    """Run the job and say what came of it; the exit code."""
    _log_to(console)
    has_begun = False
    try:
        with simulated(job) as served, prepared(served) as ready:
            has_begun = True
            summary = asyncio.run(_run(ready, console))
    except KeyboardInterrupt:
        summary = None
    except DatasetInUse as error:
        if job.settings.if_running != "leave":
            raise
        return _left(error, console, as_json=as_json)
    if summary is None:
        what = "What was in flight counts as spent." if has_begun else "Nothing was sent."
        console.print(f"Stopped at once. {what} To go on: {tell.shown(command)}")
        return EXIT_INTERRUPTED
    tell.show_summary(console, summary, command)
    console.print(f"dataset  {tell.shown(summary.dataset)}", highlight=False, soft_wrap=True)
    console.print(f"report   {tell.shown(_report(job, summary))}", highlight=False, soft_wrap=True)
    if as_json:
        say(summary.to_json(), sys.stdout)
    return summary.exit_code


def _report(job: Job, summary: Summary) -> Place:
    """Where it is to be looked at. Who does not want to wait for it has what the run has written."""
    drawn = None
    if job.settings.report and job.chunk is None:
        from fluxbatch.reported import report_at_end  # what it draws with is loaded when all is done

        with suppress(KeyboardInterrupt):
            drawn = report_at_end(summary.dataset, job.settings)
    return drawn or summary.dataset / REPORT


def _left(error: DatasetInUse, console: Console, *, as_json: bool) -> int:
    """Another run is working on the dataset, and that is well."""
    console.print(f"Left: {tell.shown(error.by)} is working on this dataset (--if-running leave).", soft_wrap=True)
    if as_json:
        say(json.dumps({"left_to": plain(error.by, LOG_CHARACTERS_MAX)}), sys.stdout)
    return EXIT_COMPLETE


async def _run(ready: Prepared, console: Console) -> Summary | None:
    """None when a second signal ended it at once."""
    task = asyncio.current_task()
    assert task is not None
    try:
        async with open_batch(ready) as batch:
            with stop_on_signals(batch.stop, task):
                async with watched(batch, console):
                    await drive(batch, batch.work)
    except asyncio.CancelledError:
        return None
    return batch.summary


@contextmanager
def stop_on_signals(stopped: Stop, task: asyncio.Task[object]) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM stops the sending and waits for what is in flight; the second ends it at once.

    So does a terminal that is closed (SIGHUP), to which nothing is said any more; not under nohup. Outside the main
    thread there are no signals to hear, and the block is simply run.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    heard = 0

    def stop() -> None:
        nonlocal heard
        heard += 1
        if heard > 1:
            task.cancel()
        stopped.request(StoppedBy.SIGNAL, "interrupted; what was in flight was waited for")

    def hung_up() -> None:
        leave_the_terminal()
        stop()

    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number in before:
        if number != signal.SIGHUP or before[number] != signal.SIG_IGN:
            loop.add_signal_handler(number, hung_up if number == signal.SIGHUP else stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


class _Plain(logging.Formatter):
    """Log lines hold paths and the platform's words: what acts on a terminal is escaped."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        record.message = plain(record.message, LOG_CHARACTERS_MAX)
        return super().formatMessage(record)


def _log_to(console: Console) -> None:
    handler: logging.Handler
    if moves(console):
        handler = RichHandler(console=console, show_path=False, markup=False, highlighter=None)
        handler.setFormatter(_Plain("%(message)s"))
    else:
        handler = logging.StreamHandler(console.file)
        handler.setFormatter(_Plain("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger("fluxbatch")
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    root.propagate = False
