"""report.html of 50,000 pictures, beside a page that simply has all of them in it: seconds, memory, size.

Each in a process of its own. `python -m bench.page --quick` for 2,000 pictures.
"""

from __future__ import annotations

import base64
import html
import sys
from pathlib import Path

from bench.common import Took, child, megabytes, options, scratch, seconds, show, warm_up
from bench.many import MANY, build_many

QUICK = 2_000
HEADER = ("", "seconds", "peak memory", "page")
NOTES = (
    "Both read the same dataset of 256x256 JPEGs. The report has money, charts and the thumbnails of 2,000 pictures",
    "spread over it; the other page has nothing but every picture, as its bytes are, and its prompt.",
)


def ours() -> None:
    from fluxbatch.reported import write_report
    from fluxbatch.settings import load_settings

    folder, page = map(Path, sys.argv[1:])
    write_report(folder, load_settings(ledger=f"sqlite:///{page.parent}/ledger.sqlite3"), to=page)


def plain() -> None:
    import pandas as pd

    folder, page = map(Path, sys.argv[1:])
    rows = pd.read_parquet(folder / "data", columns=["image", "prompt"])
    cells = (
        f'<img src="data:image/jpeg;base64,{base64.b64encode(image["bytes"]).decode()}"><p>{html.escape(prompt)}</p>'
        for image, prompt in zip(rows["image"], rows["prompt"], strict=True)
    )
    page.write_text("<!doctype html>" + "".join(cells), "utf-8")


WAYS = {"report.html": "ours", "every picture on a page": "plain"}


def measure(count: int) -> list[list[str]]:
    with scratch() as folder:
        build_many(folder / "dataset", count)
        found = {name: _drawn(name, folder) for name in WAYS}
    theirs = found["every picture on a page"]
    return [[name, *_figures(took, size_bytes)] for name, (took, size_bytes) in found.items()] + [
        _ratio(found["report.html"], theirs)
    ]


def _drawn(name: str, folder: Path) -> tuple[Took, int]:
    page = folder / "page.html"
    took = child(f"bench.page:{WAYS[name]}", str(folder / "dataset"), str(page))
    return took, page.stat().st_size


def _figures(took: Took, size_bytes: int) -> list[str]:
    return [seconds(took.wall_s), megabytes(took.peak_bytes), megabytes(size_bytes)]


def _ratio(ours: tuple[Took, int], theirs: tuple[Took, int]) -> list[str]:
    (one, size), (other, other_size) = ours, theirs
    return [
        "ratio",
        f"{one.wall_s / other.wall_s:.2f}",
        f"{one.peak_bytes / other.peak_bytes:.2f}",
        f"{size / other_size:.3f}",
    ]


def main() -> None:
    count = QUICK if options(__doc__).quick else MANY
    warm_up()
    show(f"A page of {count:,} pictures", HEADER, measure(count), NOTES)


if __name__ == "__main__":
    main()
