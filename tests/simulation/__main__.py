"""Play one seed of the world again: `python -m tests.simulation SEED`.

Shown are the scenario, the log (virtual seconds, and what happened: the disk, commits, requests, answers, the bill),
its fingerprint, what was reached, and the promises that were broken (BROKEN; the exit code is then 1).
"""

from __future__ import annotations

import sys

from tests.simulation.lives import play

if __name__ == "__main__":
    played = play(int(sys.argv[1]))
    print(played.scenario)
    print("\n".join(played.log))
    print(played.fingerprint)
    for broken in played.broken:
        print("BROKEN", broken)
    for name, count in sorted(played.reached.items()):
        print(f"{count:6}  {name}")
    sys.exit(1 if played.broken else 0)
