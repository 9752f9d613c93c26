"""The command `fluxbatch reconcile`."""

from __future__ import annotations

from typing import Annotated

import typer

from fluxbatch.options import DatasetArg, JsonOption, LedgerOption


def reconcile_dataset(
    dataset: DatasetArg,
    billed: Annotated[
        list[str] | None, typer.Option("--billed", help="Settle as billed: KEY, KEY#N, or all. Its bound is spent.")
    ] = None,
    not_billed: Annotated[
        list[str] | None, typer.Option("--not-billed", help="Settle as not billed: KEY, KEY#N, or all.")
    ] = None,
    why: Annotated[str | None, typer.Option(help="The reason, kept in the ledger beside each decision.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask Cloudflare for its figures.")] = False,
    ledger: LedgerOption = None,
    json: JsonOption = False,
) -> None:
    """What may have been billed: compare the ledger with Cloudflare's figures, and settle what is unknown.

    Nothing is settled but what you name. The token needs Account Analytics: Read besides Workers AI: Read.

    Example: fluxbatch reconcile cats

    Example: fluxbatch reconcile cats --not-billed all --why "invoice of November"

    Exit codes: 0 nothing is unknown, and Cloudflare (if asked) does not say more than the ledger, 2 bad usage, or a run
    is alive, 4 unknown attempts are left, or Cloudflare says more.
    """
    from rich.console import Console

    from fluxbatch import reconciled
    from fluxbatch.dataset.place import place_of
    from fluxbatch.reconcile import NO_REASON, Wishes
    from fluxbatch.reconcile import reconcile as compare_and_settle
    from fluxbatch.settings import load_settings

    wishes = Wishes(billed or (), not_billed or (), why or NO_REASON)
    found = compare_and_settle(place_of(dataset), load_settings(ledger=ledger), wishes, offline=offline)
    if json:
        print(reconciled.to_json(found))  # noqa: T201
    else:
        reconciled.show(Console(emoji=False), found)
    raise typer.Exit(found.exit_code)
