"""The command `fluxbatch export`."""

from __future__ import annotations

from typing import Annotated

import typer

from fluxbatch.options import DatasetArg, JsonOption


def export_dataset(
    dataset: DatasetArg,
    target: Annotated[str, typer.Argument(help="A folder that is not there yet.")],
    to: Annotated[str, typer.Option("--to", help="hf, webdataset, imagefolder, csv or images.")],
    where: Annotated[
        str | None, typer.Option(help="Only rows for which this SQL condition is true, over any columns.")
    ] = None,
    name: Annotated[
        str, typer.Option(help="How files are called, from columns: folders by /, the extension follows the bytes.")
    ] = "{key}",
    shard_size: Annotated[str, typer.Option(help="Of a file of --to hf or webdataset, at most.")] = "500MB",
    metadata: Annotated[str, typer.Option(help="Table of --to imagefolder: parquet, jsonl or csv.")] = "parquet",
    no_provenance: Annotated[
        bool, typer.Option("--no-provenance", help="Leave the pictures' bytes as they are: no mark of what made them.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Put it in the place of another export.")] = False,
    json: JsonOption = False,
) -> None:
    """Write a dataset, or some of it, in the form in which others take it. Reads the dataset only.

    Killed or interrupted, it goes on when it is run again. The same dataset makes the same bytes.

    Example: fluxbatch export cats cats-hf --to hf    (Parquet, as `datasets` and the Hub have it)

    Example: fluxbatch export cats shards --to webdataset --where "check = 'ok' AND width >= 1024"

    Example: fluxbatch export cats pictures --to images --name "{model}/{id}-{seed}.jpg"

    Example: fluxbatch export s3://pictures/cats cats.csv.d --to csv --where "created_at >= '2026-11-01'"

    Exit codes: 0 the export is there, 1 no row fits, 2 bad usage, 5 the dataset cannot be read, or the disk would not
    (run it again), 130 interrupted.
    """
    import shlex
    import sys

    from fluxbatch.dataset.catalogue import Dataset
    from fluxbatch.dataset.place import place_of
    from fluxbatch.export.command import run_export
    from fluxbatch.export.exporter import Wish
    from fluxbatch.export.told import size_of

    wish = Wish(to, where, name, size_of(shard_size), metadata, not no_provenance)
    command = shlex.join(["fluxbatch", *sys.argv[1:]])
    opened = Dataset.open(place_of(dataset))
    raise typer.Exit(run_export(opened, target, wish, force=force, as_json=json, command=command))
