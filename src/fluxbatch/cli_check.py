"""The command `fluxbatch check`."""

from __future__ import annotations

from typing import Annotated

import typer

from fluxbatch.options import DatasetArg, JsonOption

ScorerOption = Annotated[
    list[str] | None,
    typer.Option(
        "--scorer",
        help="clip=FOLDER, aesthetic=FOLDER (ONNX; needs the extra `score`), or your own as package.module:Class. "
        "May be given again. [none]",
    ),
]
DistanceOption = Annotated[
    int | None, typer.Option(help="Near-duplicates: bits of 64 that their perceptual hashes may differ in. [4]")
]


def check_pictures(
    dataset: DatasetArg,
    scorer: ScorerOption = None,
    distance: DistanceOption = None,
    json: JsonOption = False,
) -> None:
    """Look at the sealed pictures: suspects, near-duplicates over the whole dataset, and scores by models of yours.

    What is found is kept beside the parts as further columns (.fluxbatch/columns), so that it can be filtered by:
    duplicate_group, duplicate_distance, and those of the scorers. Only parts that came since the last check are looked
    at; a check that is stopped goes on where it was. It may go on beside a run, and changes no part.

    Example: fluxbatch check cats

    Example: fluxbatch check cats --scorer clip=models/clip-vit-base-patch32 --json

    Exit codes: 0 no picture is suspect, 1 some are (another size than asked, blank, solid, undecodable), 2 bad usage,
    or another check goes on, 5 some parts cannot be read, 130 stopped: what was done is kept.
    """
    from rich.console import Console

    from fluxbatch.checking import check_at_the_terminal
    from fluxbatch.checks.checked import show_checked

    found = check_at_the_terminal(dataset, scorer or (), distance, Console(stderr=True, emoji=False))
    show_checked(Console(emoji=False), found, as_json=json)
    raise typer.Exit(found.exit_code)
