"""The commands `fluxbatch budget show | set`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fluxbatch.options import JsonOption, LedgerOption

if TYPE_CHECKING:
    from rich.console import Console

budget_app = typer.Typer(no_args_is_help=True, help="Budgets of the account, of projects and of datasets.")

AccountOption = Annotated[str | None, typer.Option("--account", help="The account. [CLOUDFLARE_ACCOUNT_ID]")]
ProjectOption = Annotated[str | None, typer.Option("--project", help="A project: what runs give as --project.")]
AMOUNT = "US dollars (5, 0.11), neurons (10000n), or none to remove it"


@budget_app.command("show")
def show_budget(
    account: AccountOption = None, project: ProjectOption = None, ledger: LedgerOption = None, json: JsonOption = False
) -> None:
    """Every budget: what it is, what is gone of it today and this month, what is left, and when it begins anew.

    Days and months are UTC, as Cloudflare counts. What is on its way and what may have been billed counts as gone. What
    others spend outside this ledger is not seen; `fluxbatch reconcile` compares it with Cloudflare's figures.

    Example: fluxbatch budget show

    Example: fluxbatch budget show --project cats --json
    """
    from fluxbatch.budgets import budgets_now, show_budgets
    from fluxbatch.prepare import now_us
    from fluxbatch.settings import load_settings

    found = budgets_now(load_settings(ledger=ledger), now_us(), account, project)
    show_budgets(_console(), found, as_json=json)


@budget_app.command("set")
def set_budget(
    account: AccountOption = None,
    project: ProjectOption = None,
    dataset: Annotated[Path | None, typer.Option("--dataset", help="A dataset: its folder.")] = None,
    day: Annotated[
        str | None, typer.Option(help=f"For each UTC day: {AMOUNT}; `free`: the account's 10,000 free neurons.")
    ] = None,
    month: Annotated[str | None, typer.Option(help=f"For each UTC month: {AMOUNT}.")] = None,
    total: Annotated[str | None, typer.Option(help=f"For ever, of a project or a dataset: {AMOUNT}.")] = None,
    ledger: LedgerOption = None,
) -> None:
    """Set what may be spent. It holds at once, also for runs that are under way; what was spent before counts.

    `--day free` counts what this ledger knows to have been sent today, also what is unknown; what others spend of the
    account's free neurons outside this ledger is not seen.

    Example: fluxbatch budget set --day 5 --month 100

    Example: fluxbatch budget set --day free

    Example: fluxbatch budget set --project cats --total 200 --day 20

    Example: fluxbatch budget set --dataset out/cats --total 30

    Exit codes: 0, 2 bad usage: everything that is wrong is named at once, and nothing is changed.
    """
    from fluxbatch.budgets import Wanted, changed_lines, set_budgets
    from fluxbatch.prepare import now_us
    from fluxbatch.settings import load_settings

    wanted = Wanted(account, project, dataset, day, month, total)
    for line in changed_lines(set_budgets(load_settings(ledger=ledger), wanted, now_us())):
        _console().print(line, highlight=False, soft_wrap=True)


def _console() -> Console:
    from rich.console import Console

    return Console(emoji=False)
