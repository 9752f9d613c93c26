"""`fluxbatch view` over 50,000 pictures, beside loading all of them: start-up, pages over HTTP, peak memory.

The pages are asked for over HTTP, without their pictures, from a server in a process of its own; each kind of page is
asked for once when nobody has asked that question before, and then its next pages. `--quick` for 2,000 pictures.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from urllib.parse import quote

from bench.common import ROOT, child, clean_environment, megabytes, options, scratch, seconds, show, warm_up
from bench.many import MANY, build_many

QUICK = 2_000
PER_PAGE = 60
COMMAND = "import sys; from fluxbatch.cli import main; sys.argv = ['fluxbatch', 'view', *sys.argv[1:]]; main()"
WHERE = quote("guidance > 3 AND style = 'oil'")

PAGES = {
    "a page in the dataset's order": "/?page={page}",
    "… of a style, by its filter": "/?is:style=oil&page={page}",
    "… of a condition in SQL": f"/?where={WHERE}&page={{page}}",
    "… of a search for two words": "/?q=pencil+boats&page={page}",
    "… sorted by the size of the files": "/?order=size_bytes&way=desc&page={page}",
    "the grid, subject by style": "/?across=style&down=subject&page={page}",
}
NOTES = (
    "First: the first time that a question is asked; next: the median of its next four pages. All other ways have all",
    "rows in memory, with their pictures, before they show the first page; a page of theirs is the rows of a condition",
    "(guidance > 3, one style), without any HTML.",
)


def _status(pid: int, field: str) -> int:
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return 1024 * int(next(line for line in text.splitlines() if line.startswith(field)).split()[1])


@contextmanager
def viewing(folder: Path) -> Iterator[tuple[int, int, float]]:
    """Port and process of a server, and how long it took until it said its address."""
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(folder), "--no-open"],
        cwd=ROOT,
        env=clean_environment({}),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    port = int(re.findall(r":([0-9]+)/", process.stdout.readline())[0])
    try:
        yield port, process.pid, time.monotonic() - started
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def asked(port: int, path: str) -> tuple[float, bytes]:
    """How long it took until the whole answer was there, and the answer."""
    connection = HTTPConnection("127.0.0.1", port)
    started = time.monotonic()
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    took_s = time.monotonic() - started
    connection.close()
    assert answer.status == 200, (path, answer.status)
    return took_s, body


def ours(folder: Path) -> tuple[list[list[str]], float, int]:
    """The pages' times, seconds until it answers, and peak memory."""
    with viewing(folder) as (port, pid, start_s):
        rows = [[name, *_times(port, path)] for name, path in PAGES.items()]
        _, page = asked(port, "/?page=7")
        keys = re.findall(rb"/thumbnail/([0-9a-f]{64})", page)
        small = [asked(port, f"/thumbnail/{key.decode()}")[0] for key in keys[:5]]
        full = [asked(port, f"/full/{key.decode()}")[0] for key in keys[:5]]
        rows.append(["a thumbnail", _ms(small[0]), _ms(median(small[1:]))])
        rows.append(["a picture, full size", _ms(full[0]), _ms(median(full[1:]))])
        return rows, start_s, _status(pid, "VmHWM")


def _times(port: int, path: str) -> tuple[str, str]:
    first = asked(port, path.format(page=1))[0]
    return _ms(first), _ms(median(asked(port, path.format(page=page))[0] for page in range(2, 6)))


def _ms(took_s: float) -> str:
    return f"{1000 * took_s:.0f} ms"


def with_pandas() -> None:
    import pandas as pd

    started = time.monotonic()
    rows = pd.read_parquet(Path(sys.argv[1]) / "data")
    loaded_s = time.monotonic() - started
    started = time.monotonic()
    page = rows[(rows["guidance"] > 3) & (rows["style"] == "oil")][:PER_PAGE].to_dict("records")
    print(json.dumps({"loaded_s": loaded_s, "page_s": time.monotonic() - started, "rows": len(page)}))


def with_datasets() -> None:
    from datasets import load_dataset

    started = time.monotonic()
    files = sorted(map(str, Path(sys.argv[1]).glob("data/*.parquet")))
    rows = load_dataset("parquet", data_files=files, split="train")
    loaded_s = time.monotonic() - started
    started = time.monotonic()
    columns = rows.select_columns(["guidance", "style"])
    found = columns.filter(lambda row: row["guidance"] > 3 and row["style"] == "oil", with_indices=False)
    print(
        json.dumps({"loaded_s": loaded_s, "page_s": time.monotonic() - started, "rows": len(found[:PER_PAGE]["style"])})
    )


def alternatives(folder: Path, aside: Path) -> Iterator[tuple[str, float, float, int]]:
    """What, seconds until it can answer, seconds for a filtered page, peak bytes."""
    environment = {"HF_HOME": str(aside / "hf"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    for name, target in (("pandas, all of it", "with_pandas"), ("datasets.load_dataset", "with_datasets")):
        took = child(f"bench.view:{target}", str(folder), environment=environment)
        yield name, took.wall_s - took.answer["page_s"], took.answer["page_s"], int(took.peak_bytes)


def compared(
    start_s: float, page: Sequence[str], peak_bytes: int, others: Sequence[tuple[str, float, float, int]]
) -> list[list[str]]:
    rows = [["fluxbatch view", seconds(start_s), page[1], megabytes(peak_bytes), ""]]
    for name, ready_s, page_s, bytes_ in others:
        ratio = f"{ready_s / start_s:.1f}x as long, {bytes_ / peak_bytes:.1f}x the memory"
        rows.append([name, seconds(ready_s), _ms(page_s), megabytes(bytes_), ratio])
    return rows


def main() -> None:
    count = QUICK if options(__doc__).quick else MANY
    warm_up()
    with scratch() as aside:
        given = os.environ.get("BENCH_MANY")
        folder = Path(given) if given else aside / "many"
        if not given:
            build_many(folder, count)
        rows, start_s, peak_bytes = ours(folder)
        others = list(alternatives(folder, aside))
    show(f"Pages of {count:,} pictures", ("", "first", "next"), rows, NOTES)
    condition = next(row for row in rows if "SQL" in row[0])
    table = compared(start_s, condition, peak_bytes, others)
    show("Beside loading it", ("", "until it answers", "a filtered page", "peak memory", "beside view"), table)


if __name__ == "__main__":
    main()
