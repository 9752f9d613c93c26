"""The command `fluxbatch doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from fluxbatch.options import LedgerOption, ModelOption, ModelsOption


def check_all(
    out: Annotated[str, typer.Option("--out", help="Where a dataset would be written.")] = ".",
    model: ModelOption = None,
    models: ModelsOption = None,
    ledger: LedgerOption = None,
) -> None:
    """Check token, account, model, prices, ledger, disk (or the rights in a store) and clock. Free.

    Example: fluxbatch doctor --out cats --model flux-2-klein-4b

    Example: fluxbatch doctor --out s3://pictures/cats
    """
    from rich.console import Console

    from fluxbatch.dataset.place import place_of
    from fluxbatch.examine import examine
    from fluxbatch.settings import load_settings

    settings = load_settings(model=model, models=models, ledger=ledger)
    raise typer.Exit(examine(settings, place_of(out), Console(emoji=False)))
