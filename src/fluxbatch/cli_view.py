"""The command `fluxbatch view`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from fluxbatch.options import DatasetArg

PortOption = Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 chooses a free one.")]
OpenOption = Annotated[
    bool, typer.Option("--open/--no-open", help="Open it in the browser, where there is a terminal and a desktop.")
]


def view_dataset(dataset: DatasetArg, port: PortOption = 0, open_: OpenOption = True) -> None:
    """Look at all pictures of a dataset in the browser, in full size: search, filter, sort, grids. Until Ctrl-C.

    Serves on this machine only (127.0.0.1), and reads what is sealed page by page, also while a run goes on. From
    another machine: ssh -L 8788:127.0.0.1:8788 HOST, and here --port 8788.

    Example: fluxbatch view out/demo

    Example: fluxbatch view s3://pictures/cats --port 8788 --no-open

    Exit codes: 0 ended by Ctrl-C, 2: there is no such dataset, or the port is taken, or 5: it cannot be read.
    """
    from fluxbatch.dataset.place import place_of
    from fluxbatch.view.serve import serve

    serve(place_of(dataset), port, lambda address: _tell(address, open_))


def _tell(address: str, may_open: bool) -> None:
    print(f"view     {address}/    (Ctrl-C ends it)", flush=True)  # noqa: T201
    if may_open and sys.stdout.isatty() and _has_desktop():
        import webbrowser

        webbrowser.open(address)


def _has_desktop() -> bool:
    """Without one, the browser that is found would be one of the terminal, and take it over."""
    import os

    return sys.platform in ("darwin", "win32") or any(name in os.environ for name in ("DISPLAY", "WAYLAND_DISPLAY"))
