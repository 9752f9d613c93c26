"""The commands `fluxbatch prefect …`. Prefect is imported by the process that they start, not here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from fluxbatch.errors import UsageError

prefect_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Prefect: what its server needs.")


@prefect_app.callback()
def _group() -> None:
    """Scheduled, with Prefect: what its server needs."""


@prefect_app.command("setup")
def set_up(
    pool: Annotated[
        list[str] | None,
        typer.Option("--pool", help="Work pool of type process; may be given again. [fluxbatch-local]"),
    ] = None,
    block: Annotated[str, typer.Option("--block", help="Name of the credentials block.")] = "cloudflare",
    replace_block: Annotated[
        bool, typer.Option("--replace-block", help="The environment's credentials replace those of the block.")
    ] = False,
    heartbeat: Annotated[
        int, typer.Option("--heartbeat", help="Seconds between a run's signs of life; 30 or more.")
    ] = 60,
    window: Annotated[
        int, typer.Option("--window", help="A run without one for so many seconds is Crashed; 3 heartbeats or more.")
    ] = 240,
) -> None:
    """Make what the flows need on a Prefect server, or find it made. May be run again.

    A work pool, the credentials block (from CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_API_TOKEN, when they are set), and the
    automation that marks runs as Crashed whose heartbeats stay away. Run it in the folder that has prefect.yaml and
    flows/: the flows are not in the installed package.

    Example: fluxbatch prefect setup

    Example: fluxbatch prefect setup --pool night --block studio
    """
    if not Path("flows/setup.py").is_file():
        raise UsageError(
            f"there is no flows/ in {Path.cwd()}: run this in fluxbatch's project folder, the one with prefect.yaml; "
            "the flows are not in the installed package"
        )
    options = ["--block", block, "--heartbeat", str(heartbeat), "--window", str(window)]
    pools = [word for name in pool or [] for word in ("--pool", name)]
    replacing = ["--replace-block"] if replace_block else []
    command = [sys.executable, "-m", "flows.setup", *pools, *options, *replacing]
    raise typer.Exit(subprocess.run(command, check=False).returncode)  # noqa: S603 - our own module and plain words
