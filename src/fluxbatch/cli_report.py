"""The command `fluxbatch report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fluxbatch.options import DatasetArg, LedgerOption

ToOption = Annotated[Path | None, typer.Option("--to", help="Where to write it. [report.html in the dataset]")]
BesideOption = Annotated[str | None, typer.Option(help="Another dataset, whose same cells are shown side by side.")]
MatchOption = Annotated[
    str | None, typer.Option(help="Columns by which they are matched. [id, else what was asked: prompt, size, seed …]")
]


def write_report_of(
    dataset: DatasetArg,
    to: ToOption = None,
    beside: BesideOption = None,
    match: MatchOption = None,
    ledger: LedgerOption = None,
) -> None:
    """Draw report.html: one page with money, failures and pictures that needs no network. Changes nothing else.

    Every run draws it at its end; this draws it anew, also while a run goes on.

    Example: fluxbatch report out/demo

    Example: fluxbatch report out/new --beside out/old --match prompt,seed --to compared.html

    Exit codes: 0, 2: there is no such dataset, or 5: it or the ledger cannot be read.
    """
    from rich.console import Console

    from fluxbatch.dataset.place import place_of
    from fluxbatch.reported import write_report
    from fluxbatch.settings import load_settings
    from fluxbatch.tell import shown

    columns = tuple(name for name in (match or "").split(",") if name)
    other = None if beside is None else place_of(beside)
    written = write_report(place_of(dataset), load_settings(ledger=ledger), to=to, beside=other, match=columns)
    Console(emoji=False).print(f"report   {shown(written)}", highlight=False, soft_wrap=True)
