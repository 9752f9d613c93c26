"""A check at the terminal: its scorers, its progress, and its end by Ctrl-C."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fluxbatch.checks.check import check
from fluxbatch.checks.checked import Found
from fluxbatch.checks.similar import DISTANCE
from fluxbatch.dataset.place import place_of
from fluxbatch.scores.load import scorer_of


def check_at_the_terminal(folder: str, scorers: Sequence[str], distance_max: int | None, console: Console) -> Found:
    """Check with the scorers as they were written, and show on `console` how far it is."""
    opened = [scorer_of(written) for written in scorers]
    tasks: dict[str, TaskID] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:

        def watch(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done)

        try:
            return check(place_of(folder), opened, DISTANCE if distance_max is None else distance_max, watch)
        except KeyboardInterrupt:
            progress.stop()
            console.print("Stopped. What was looked at is kept: the same command goes on from there.")
            raise
