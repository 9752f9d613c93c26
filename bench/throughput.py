"""1,000 pictures at 0.5 s, 50 in flight, rate known and out of the way: how much of the ideal 10 s is reached."""

from __future__ import annotations

import json
from pathlib import Path

from bench import driven
from bench.common import FREE_RATE, STEADY, account, child, options, prompts, scratch, seconds, show, warm_up
from fluxbatch.simulator import Simulator

IN_FLIGHT = 50
SMALL = {"width": 512, "height": 512, "steps": 4}
# Small shards, so that little is left to seal when the last picture is in.
OURS: dict[str, object] = {"max_in_flight": IN_FLIGHT, "rate": FREE_RATE, "rows_per_shard": 100, **SMALL}

NOTES = (
    "From the first request leaving to the last picture standing in a sealed part (fluxbatch), or in a file (scripts).",
    "The scripts keep no books, sync nothing and do not look at the pictures. Total: from opening the batch to its",
    "close, report and ledger included. Each row is a process of its own against the same simulator.",
)


def measure(count: int) -> list[list[str]]:
    """The rows of the table: two runs of ours with one ledger, then the scripts."""
    with scratch() as folder, Simulator(STEADY) as simulator:
        environment = account(simulator, folder / "ledger.sqlite3")
        manifest = prompts(folder / "prompts.csv", count)
        ideal_s = count * STEADY.latency_s / IN_FLIGHT
        cold = driven.run(manifest, folder / "cold", environment, **OURS)
        warm = driven.run(manifest, folder / "warm", environment, **OURS)
        rows = [_ours("fluxbatch, cold", cold, ideal_s), _ours("fluxbatch, in-flight limit learned", warm, ideal_s)]
        scripts = [_script(client, count, folder / client, environment, ideal_s) for client in ("httpx", "aiohttp")]
    return [*rows, *scripts, ["the ideal", seconds(ideal_s), "100.0 %", "", "", ""]]


def _ours(name: str, drive: driven.Drive, ideal_s: float) -> list[str]:
    cpu = f"{1000 * drive.cpu_s / drive.made:.1f} ms"
    share = f"{100 * ideal_s / drive.sealed_s:.1f} %"
    return [name, seconds(drive.sealed_s), share, seconds(drive.total_s), cpu, str(drive.made)]


def _script(client: str, count: int, folder: Path, environment: dict[str, str], ideal_s: float) -> list[str]:
    folder.mkdir()
    work = json.dumps({"client": client, "count": count, "in_flight": IN_FLIGHT, "folder": str(folder)})
    answer = child("bench.plain:main", work, environment=environment).answer
    spent_s, made = answer["seconds"], answer["made"]
    cpu = f"{1000 * answer['cpu_s'] / made:.1f} ms"
    return [f"plain {client} script", seconds(spent_s), f"{100 * ideal_s / spent_s:.1f} %", "", cpu, str(made)]


def main() -> None:
    count = 200 if options(__doc__).quick else 1000
    warm_up()
    title = f"Throughput: {count:,} pictures, latency {STEADY.latency_s} s, {IN_FLIGHT} in flight"
    header = ("", "seconds", "of the ideal", "total", "CPU a picture", "pictures")
    show(title, header, measure(count), NOTES)


if __name__ == "__main__":
    main()
