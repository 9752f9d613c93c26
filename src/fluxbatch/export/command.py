"""`fluxbatch export` from its options to its exit code."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.errors import UsageError
from fluxbatch.exit_codes import EXIT_COMPLETE, EXIT_INTERRUPTED, EXIT_WRONG
from fluxbatch.export.exporter import Wish, export
from fluxbatch.export.told import exported_json, show_before, show_exported, show_nothing, watched
from fluxbatch.tell import shown


def run_export(dataset: Dataset, target: str, wish: Wish, *, force: bool, as_json: bool, command: str) -> int:
    """Do it, tell it, and say how it ended."""
    aside = Console(stderr=True, emoji=False)
    show_before(aside, dataset)
    try:
        with watched(aside) as watch:
            done = export(dataset, _folder(target), wish, force=force, watch=watch)
    except KeyboardInterrupt:
        aside.print(f"Stopped. What is written is kept; to go on: {shown(command, 4_000)}", soft_wrap=True)
        return EXIT_INTERRUPTED
    if done is None:
        show_nothing(aside, dataset, wish)
        return EXIT_WRONG
    if as_json:
        sys.stdout.write(f"{exported_json(done)}\n")
    else:
        show_exported(Console(emoji=False), done)
    return EXIT_COMPLETE


def _folder(target: str) -> Path:
    """UsageError for an address: an export is renamed when it is whole, which no store can."""
    if "://" in target:
        raise UsageError(
            f"{target} is an address: an export goes into a folder; from there your store's own tool copies it up"
        )
    return Path(target)
