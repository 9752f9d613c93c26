"""The command `fluxbatch simulate`."""

from __future__ import annotations

from typing import Annotated

import typer


def serve_simulator(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 chooses one.")] = 8787,
    settings: Annotated[
        str, typer.Option(help='The simulator\'s settings as JSON, such as {"latency_s": 2, "faults": {"3040": 0.1}}.')
    ] = "{}",
) -> None:
    """Serve a Cloudflare that costs nothing, until Ctrl-C.

    Example: fluxbatch simulate --port 8787
    """
    from fluxbatch.simulator.server import serve
    from fluxbatch.simulator.settings import SimulatorSettings

    wanted = SimulatorSettings.from_json(settings)

    def ready(base_url: str) -> None:
        lines = [
            f"export CLOUDFLARE_BASE_URL={base_url}",
            f"export CLOUDFLARE_ACCOUNT_ID={wanted.account}",
            f"export CLOUDFLARE_API_TOKEN={wanted.token}",
        ]
        print("\n".join(lines), flush=True)  # noqa: T201

    serve(wanted, port, ready)
