"""400 pictures against a platform that allows 20 in any second and refuses the rest, the rate known and unknown."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from bench import driven
from bench.common import STEADY, account, prompts, scratch, seconds, show, warm_up
from bench.throughput import SMALL
from fluxbatch.simulator import Simulator

ALLOWED = 20
PLATFORM = replace(STEADY, latency_s=0.2, rate=ALLOWED, window_s=1.0)

NOTES = (
    "From the first request leaving to the last picture in a sealed part; each run with a ledger of its own.",
    "Others on the same storm, on another day and machine: DataDesigner 21.42 s and 69 refusals, inspect_ai 23.35 s",
    "and 191, Curator 40.25 s and 324; a pacer that knows the rate 20.45 s and 0.",
)


def measure(count: int, folder: Path, name: str, rate: float) -> driven.Drive:
    """One storm against a platform of its own."""
    with Simulator(PLATFORM) as simulator:
        manifest = prompts(folder / "prompts.csv", count)
        environment = account(simulator, folder / name / "ledger.sqlite3")
        return driven.run(manifest, folder / name / "dataset", environment, rate=rate, **SMALL)


def row(name: str, drive: driven.Drive, ideal_s: float) -> list[str]:
    over = f"{100 * (drive.sealed_s / ideal_s - 1):+.1f} %"
    return [name, seconds(drive.sealed_s), over, str(drive.refusals), str(drive.requests), str(drive.made)]


def trace(drive: driven.Drive) -> None:
    """Each refusal: when it left, how many had been let in during the second before, and who was in flight."""
    for one in sorted(drive.seen, key=lambda seen: seen.sent_s):
        if one.status != 429:
            continue
        let_in = sum(one.sent_s - 1 <= seen.sent_s <= one.sent_s and seen.status == 200 for seen in drive.seen)
        flying = sum(seen.sent_s < one.sent_s < seen.answered_s for seen in drive.seen)
        print(f"429 sent at {one.sent_s:7.3f} s, answered {one.answered_s:7.3f} s: {let_in} let in, {flying} in flight")
    print("pictures sent in each second:", _by_second(drive))


def _by_second(drive: driven.Drive) -> str:
    sent = [int(seen.sent_s) for seen in drive.seen if seen.status == 200]
    return " ".join(str(sent.count(second)) for second in range(max(sent, default=0) + 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100 pictures; not for quoting")
    parser.add_argument("--trace", action="store_true", help="say each refusal")
    given = parser.parse_args()
    count = 100 if given.quick else 400
    ideal_s = count / ALLOWED
    warm_up()
    rows = []
    with scratch() as folder:
        for name, rate in (("rate known (--rate 1200)", 60.0 * ALLOWED), ("rate unknown (--rate 0)", 0.0)):
            drive = measure(count, folder, name[:12].strip(), rate)
            rows.append(row(name, drive, ideal_s))
            if given.trace:
                print(f"\n{name}")
                trace(drive)
    title = f"Storm: {count} pictures, {ALLOWED} a second allowed, ideal {ideal_s:.0f} s"
    show(title, ("", "seconds", "over the ideal", "429s", "requests", "pictures"), rows, NOTES)


if __name__ == "__main__":
    main()
