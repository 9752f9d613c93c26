"""The command `fluxbatch ctl`: steer a run that is going on, from another terminal or another machine."""

from __future__ import annotations

from typing import Annotated

import typer

from fluxbatch.errors import UsageError
from fluxbatch.options import DatasetArg, JsonOption, LedgerOption


def control_run(
    dataset: DatasetArg,
    action: Annotated[str, typer.Argument(help="pause, resume, rate N, max-in-flight N, or stop.")],
    number: Annotated[
        str | None, typer.Argument(metavar="[N]", help="Of rate and max-in-flight; off: as the run was started.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="With stop: return when the run has ended.")] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Do not wait (5 s at most) until the run has taken it up.")
    ] = False,
    ledger: LedgerOption = None,
    json: JsonOption = False,
) -> None:
    """Steer the run that is going on: from another terminal, or another machine that reaches the run's ledger.

    pause: nothing new is sent, what is in flight is finished and kept, and no patience runs out. resume: it goes on.

    rate N: at most N requests a minute, of all its runs together, at once. max-in-flight N: at most N at once (each run
    of a batch in chunks). Neither goes beyond what the run was started with.

    stop: as the first Ctrl-C. What is in flight is waited for, what was made is sealed, the run ends with code 130.

    A wish is for the run that is going on, and gone with it: the next one starts unsteered.

    Example: fluxbatch ctl cats pause

    Example: fluxbatch ctl cats rate 300

    Example: fluxbatch ctl s3://pictures/cats stop --wait --ledger postgresql://fluxbatch@db.example.com/fluxbatch

    Exit codes: 0 the run has taken it up (or --no-wait), 1 it was said, and not taken up within 5 s, 2 bad usage, or no
    run is going on, 5 the ledger cannot be reached.
    """
    from rich.console import Console

    from fluxbatch.controls import TAKEN_UP_S, Patience, control, order_of, show
    from fluxbatch.settings import load_settings

    order = order_of(action, number)
    if wait and (order.action != "stop" or no_wait):
        raise UsageError("--wait is for stop, and without --no-wait: it waits until the run has ended")
    patience = Patience(0.0 if no_wait else TAKEN_UP_S, wait)
    done = control(load_settings(ledger=ledger), dataset, order, patience)
    show(Console(emoji=False), done, as_json=json)
    raise typer.Exit(done.exit_code)
