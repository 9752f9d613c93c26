"""`python -m bench`: every benchmark, one after the other. `--quick` for a look at whether they work."""

from __future__ import annotations

import subprocess
import sys
import time

from bench.common import ROOT, options

BENCHES = (
    "throughput",
    "storm",
    "footprint",
    "planning",
    "sweep",
    "again",
    "machines",
    "page",
    "flow_cost",
    "look",
    "similar",
)


def main() -> None:
    quick = ["--quick"] if options(__doc__).quick else []
    ended = {}
    for name in BENCHES:
        started = time.monotonic()
        ended[name] = subprocess.run([sys.executable, "-m", f"bench.{name}", *quick], cwd=ROOT, check=False).returncode
        print(f"\n(bench.{name} took {time.monotonic() - started:.0f} s)", flush=True)
    if failed := [name for name, code in ended.items() if code]:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
