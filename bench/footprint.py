"""CPU seconds a picture, and peak memory, at 50 and at 1,000 in flight with pictures of 350 kB."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from bench import driven
from bench.common import FREE_RATE, STEADY, account, megabytes, options, prompts, scratch, seconds, show, warm_up
from fluxbatch.simulator import Simulator

PICTURE_BYTES = 350_000
ROWS_PER_SHARD = 500
HEADER = ("", "pictures", "seconds", "peak in flight", "CPU a picture", "peak memory", "of which start")

NOTES = (
    "1024x1024 JPEGs of 350 kB, decoded, hashed, synced and booked. CPU (user and system) and memory of the client",
    "alone; the platform is a process of its own. Memory at the start: Python and the libraries, before the first",
    "request; the rest is answers on their way, pictures being decoded, and a part being sealed.",
)


@dataclass(frozen=True, slots=True)
class Shape:
    """So many in flight at this latency (seconds), for so many pictures."""

    in_flight: int
    latency_s: float
    pictures: int


FULL = (Shape(50, 1.0, 1000), Shape(1000, 30.0, 3000))
QUICK = (Shape(50, 1.0, 150), Shape(300, 5.0, 600))


def measure(shape: Shape, folder: Path) -> driven.Drive:
    """From cold: the limit in flight is found on the way."""
    name = f"{shape.in_flight}"
    platform = replace(STEADY, latency_s=shape.latency_s, picture_bytes=PICTURE_BYTES)
    wanted = {"max_in_flight": shape.in_flight, "rate": FREE_RATE, "steps": 4, "rows_per_shard": ROWS_PER_SHARD}
    with Simulator(platform) as simulator:
        environment = account(simulator, folder / name / "ledger.sqlite3")
        manifest = prompts(folder / f"{name}.csv", shape.pictures)
        return driven.run(manifest, folder / name / "dataset", environment, **wanted)


def row(shape: Shape, drive: driven.Drive) -> list[str]:
    return [
        f"{shape.in_flight:,} in flight, {shape.latency_s:g} s",
        f"{drive.made:,}",
        seconds(drive.sealed_s),
        str(drive.peak_in_flight),
        f"{1000 * drive.cpu_s / drive.made:.1f} ms",
        megabytes(drive.peak_bytes),
        megabytes(drive.base_bytes),
    ]


def breakdown(shape: Shape, drive: driven.Drive) -> list[str]:
    spent = driven.cpu_ms_by_thread(drive)
    return [f"{shape.in_flight:,} in flight", *(f"{spent.get(room, 0.0):.1f} ms" for room in ROOMS)]


ROOMS = ("event loop", "ledger", "spool", "look and seal", "open and close")


def main() -> None:
    shapes = QUICK if options(__doc__).quick else FULL
    warm_up()
    with scratch() as folder:
        drives = [(shape, measure(shape, folder)) for shape in shapes]
    show("Footprint: pictures of 350 kB", HEADER, [row(*one) for one in drives], NOTES)
    by_thread = [breakdown(*one) for one in drives]
    show("CPU a picture, by thread", ("", *ROOMS), by_thread, ("Sealing runs on the threads that decode.",))


if __name__ == "__main__":
    main()
