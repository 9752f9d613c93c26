"""The command `fluxbatch publish`."""

from __future__ import annotations

from typing import Annotated

import typer

from fluxbatch.options import DatasetArg, JsonOption


def publish_dataset(
    dataset: DatasetArg,
    target: Annotated[str, typer.Argument(help="hf://datasets/USER/NAME, or …/NAME@BRANCH.")],
    private: Annotated[bool, typer.Option("--private", help="Make a new dataset that only you see.")] = False,
    license_name: Annotated[
        str | None,
        typer.Option("--license", help="For the card: the Hub's name of a licence, like cc-by-4.0. [as the card says]"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, and change nothing.")] = False,
    json: JsonOption = False,
) -> None:
    """Bring a dataset to the Hugging Face Hub: its parts as they are, and its card, in one commit.

    What is there already is not sent again; the parts of an older publication go with the same commit. What you have
    written into the card by hand stays. The token comes from HF_TOKEN, or from `hf auth login`; needs
    huggingface_hub: pip install 'fluxbatch[hub]'.

    Example: fluxbatch publish cats hf://datasets/ann/cats --dry-run

    Example: fluxbatch publish cats hf://datasets/ann/cats --private --license cc-by-4.0

    Example: fluxbatch publish s3://pictures/cats hf://datasets/ann/cats@next

    Exit codes: 0, 2 bad usage, no token or no right to write there, 5 the Hub, the network or the disk did not do its
    part: the same command goes on where it stopped.
    """
    from rich.console import Console

    from fluxbatch.dataset.place import place_of
    from fluxbatch.published import publish_at

    console = Console(emoji=False, stderr=json)
    publish_at(
        place_of(dataset), target, console, private=private, license_name=license_name, dry_run=dry_run, as_json=json
    )
