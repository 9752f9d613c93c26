"""The command `fluxbatch sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fluxbatch.options import (
    AllowOption,
    FitOption,
    GuidanceOption,
    HeightOption,
    JsonOption,
    ModelOption,
    ModelsOption,
    OwnOption,
    StepsOption,
    WidthOption,
)


def count_sweep(
    spec: Annotated[Path, typer.Argument(help="A sweep file: .yaml.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write it: .parquet, .csv or .jsonl.")] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first N rows.")] = None,
    sample: Annotated[
        int | None, typer.Option(help="Only N rows by chance, by --seed (`run --sample` draws others: by key).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of --sample.")] = 0,
    preview: Annotated[int | None, typer.Option(help="Only N rows that show the ends of every axis.")] = None,
    model: ModelOption = None,
    width: WidthOption = None,
    height: HeightOption = None,
    steps: StepsOption = None,
    guidance: GuidanceOption = None,
    fit: FitOption = None,
    models: ModelsOption = None,
    own: OwnOption = None,
    allow_hosts: AllowOption = None,
    json: JsonOption = False,
) -> None:
    """Count a sweep by axis, price it and show some of its rows; write it as a table. Sends nothing to Cloudflare.

    `plan` and `run` take a sweep file as it is: it need not be written first.

    Example: fluxbatch sweep prompts/matrix.yaml

    Example: fluxbatch sweep prompts/matrix.yaml --sample 500 --seed 7 -o sample.parquet

    Example: fluxbatch sweep prompts/matrix.yaml --preview 8    (one row of each corner)

    Exit codes: 0, or 2: bad usage, or some of the rows cannot be sent.
    """
    from rich.console import Console

    from fluxbatch.settings import load_settings
    from fluxbatch.swept import Look, show_sweep

    settings = load_settings(
        model=model, width=width, height=height, steps=steps, guidance=guidance,
        fit=fit, models=models, allow_hosts=allow_hosts,
    )  # fmt: skip
    look = Look(limit, sample, seed, preview)
    raise typer.Exit(show_sweep(spec, look, settings, own or (), output, Console(emoji=False), as_json=json))
