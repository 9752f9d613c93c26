"""The command `fluxbatch models`."""

from __future__ import annotations

from typing import Annotated

import typer

from fluxbatch.options import JsonOption, ModelsOption


def list_models(
    name: Annotated[
        str | None, typer.Argument(help="One model in detail: its name, id, or a part of its name.")
    ] = None,
    models: ModelsOption = None,
    json: JsonOption = False,
) -> None:
    """What can be asked: every model with its limits, parameters and price, and the day the price was read.

    Example: fluxbatch models

    Example: fluxbatch models klein-4b

    A models.toml (--models, FLUXBATCH_MODELS) changes prices and adds models:

    [flux-2-dev]

    prices_read = 2026-12-01

    price = { output_tile_neurons = 37.5, input_tile_neurons = 18.75 }
    """
    from rich.console import Console

    from fluxbatch import listing
    from fluxbatch.models.custom import read_catalogue
    from fluxbatch.settings import load_settings

    file = load_settings(models=models).models
    catalogue = read_catalogue(file)
    found = catalogue.models if name is None else (listing.chosen(catalogue, name),)
    if json:
        print(listing.models_json(found))  # noqa: T201
    elif name is None:
        listing.show_models(Console(emoji=False), catalogue, file)
    else:
        listing.show_model(Console(emoji=False), found[0], file)
