"""`python -m fluxbatch.simulator`: the simulator as a child process, told everything on the command line.

Prints one JSON line, {"port": …, "base_url": …}, when it takes connections; ends when its standard input ends.
"""

from __future__ import annotations

import argparse
import json
import sys
from urllib.parse import urlsplit

from fluxbatch.errors import FluxbatchError
from fluxbatch.simulator.server import serve
from fluxbatch.simulator.settings import SimulatorSettings


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fluxbatch.simulator", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--json-settings", default="{}", help='such as {"latency_s": 0.1, "faults": {"3040": 0.02}}')
    options = parser.parse_args()
    try:
        serve(SimulatorSettings.from_json(options.json_settings), options.port, ready=_announce, until_eof=True)
    except FluxbatchError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a program's output
        return 2
    return 0


def _announce(base_url: str) -> None:
    print(json.dumps({"port": urlsplit(base_url).port, "base_url": base_url}), flush=True)  # noqa: T201 - the protocol


if __name__ == "__main__":
    sys.exit(main())
