"""The commands `fluxbatch ledger show | upgrade`."""

from __future__ import annotations

import typer

from fluxbatch.options import JsonOption, LedgerOption

ledger_app = typer.Typer(no_args_is_help=True, help="Where the ledger is, what it holds, and its upgrade.")


@ledger_app.command("show")
def show_ledger(ledger: LedgerOption = None, json: JsonOption = False) -> None:
    """Where the ledger lies, its schema, and how much it holds. Changes nothing.

    Example: fluxbatch ledger show

    Example: fluxbatch ledger show --ledger postgresql://fluxbatch@db.example.com/fluxbatch

    Exit codes: 0, or 5: it cannot be reached.
    """
    from rich.console import Console

    from fluxbatch.ledgers import look, show
    from fluxbatch.settings import load_settings

    show(Console(emoji=False), look(load_settings(ledger=ledger).ledger), as_json=json)


@ledger_app.command("upgrade")
def upgrade_ledger(ledger: LedgerOption = None) -> None:
    """Bring the ledger to the schema of this fluxbatch. Let what runs on it end first.

    A SQLite ledger is upgraded whenever it is opened. One on PostgreSQL is shared, so it is upgraded by this command
    alone; take a copy of it before (pg_dump). Repeating it changes nothing.

    Example: fluxbatch ledger upgrade --ledger postgresql://fluxbatch@db.example.com/fluxbatch

    Exit codes: 0, or 5: it cannot be reached, or is newer than this fluxbatch.
    """
    from rich.console import Console

    from fluxbatch.ledgers import upgrade
    from fluxbatch.settings import load_settings

    upgrade(Console(emoji=False), load_settings(ledger=ledger).ledger)
