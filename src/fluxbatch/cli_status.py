"""The command `fluxbatch status`: a dataset's books, and the run that is going on."""

from __future__ import annotations

from typing import Annotated

import typer

from fluxbatch.errors import UsageError
from fluxbatch.options import DatasetArg, JsonOption, LedgerOption


def show_status(
    dataset: DatasetArg,
    watch: Annotated[bool, typer.Option("--watch", help="Show the run that is going on, until it ends.")] = False,
    every: Annotated[
        float | None, typer.Option(min=0.2, help="With --watch: seconds between two looks. [1 at a terminal, else 10]")
    ] = None,
    ledger: LedgerOption = None,
    json: JsonOption = False,
) -> None:
    """A dataset's books: pictures, money, and every charge that is not known.

    --watch asks the ledger alone, so it works from any machine that reaches it: the dataset may be named by the folder
    or address that it has where it is made, or by its id. With --json it is an object a line.

    Example: fluxbatch status cats

    Example: fluxbatch status cats --watch

    Example: fluxbatch status s3://pictures/cats --watch --ledger postgresql://fluxbatch@db.example.com/fluxbatch

    Exit codes: 0, 2 no such dataset, 5 the ledger cannot be reached, 130 interrupted (the run goes on).
    """
    from rich.console import Console

    from fluxbatch.settings import load_settings

    if every is not None and not watch:
        raise UsageError("--every says how often --watch looks, and there is no --watch")
    settings, console = load_settings(ledger=ledger), Console(emoji=False)
    if watch:
        from fluxbatch.watch import Manner, watch_runs

        watch_runs(settings, dataset, console, Manner(json, every))
        return
    from fluxbatch.dataset.place import place_of
    from fluxbatch.examine import show_status_of

    show_status_of(place_of(dataset), settings, console, as_json=json)
