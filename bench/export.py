"""`fluxbatch export` beside what a user would do instead: `datasets`' own save, `webdataset`'s writer, a loop."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench.common import Took, child, megabytes, options, scratch, seconds, show, warm_up
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.header import Part
from fluxbatch.dataset.parts import file_sha256
from fluxbatch.dataset.shards import part_settings, sealed_schema

PICTURE_BYTES = 350_000
PICTURES_PER_PART = 500
SHARD_BYTES = 100_000_000
HEADER = ("", "seconds", "CPU", "peak memory", "seconds beside theirs")
NOTES = (
    "Pictures of 350 kB from parts of 500, out as shards of 100 MB or as files. fluxbatch checks every page's checksum",
    "and every picture against its SHA-256, and syncs what it writes; the others do none of that. `datasets` copies",
    "the Parquet files into its cache of Arrow files first, which is in its time: it cannot save without.",
)
FORMS = ("hf", "webdataset", "images")
THEIRS = {"hf": "datasets: load, to_parquet", "webdataset": "a loop with webdataset.ShardWriter", "images": "a loop"}


def stock(folder: Path, pictures: int) -> None:
    """A dataset of so many pictures: JPEGs of noise, which is as hard to compress as photographs are."""
    dataset = Dataset.create(folder, pa.schema([]), True)
    for first in range(0, pictures, PICTURES_PER_PART):
        rows = min(PICTURES_PER_PART, pictures - first)
        path = dataset.next_part()
        schema = sealed_schema(dataset)
        table = pa.Table.from_pylist([_row(first + number) for number in range(rows)], schema)
        pq.write_table(table, path, row_group_size=150, **part_settings(schema))
        facts = (path.stat().st_size, file_sha256(path), 0, 0, datetime.now(UTC).isoformat(), "bench")
        dataset.add_part(Part(f"data/{path.name}", rows, *facts))


def _row(number: int) -> dict[str, Any]:
    from numpy.random import default_rng

    body = default_rng(number).integers(0, 255, PICTURE_BYTES, dtype="uint8").tobytes().replace(b"\xff", b"\xfe")
    frame = b"\xff\xc0\x00\x0b\x08\x04\x00\x04\x00\x01\x01\x11\x00\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"
    content = b"\xff\xd8" + frame + body + b"\xff\xd9"
    key = sha256(str(number).encode()).hexdigest()
    return {
        "image": {"bytes": content, "path": f"{key}.jpg"},
        "prompt": f"a lighthouse by the sea, number {number}", "model": "flux-2-dev", "width": 1024, "height": 1024,
        "steps": 25, "sample": 0, "references": [], "row": number, "key": key, "format": "JPEG", "check": "ok",
        "size_bytes": len(content), "sha256": sha256(content).hexdigest(), "phash": "0" * 16, "attempts": 1,
        "usd": 0, "neurons": 0, "neurons_expected": 0, "latency_s": 1.0, "created_at": datetime.now(UTC), "run_id": "b",
    }  # fmt: skip


def ours() -> None:
    """In a child: the export, as the command makes it."""
    source, target, to, marked = sys.argv[1:]
    from fluxbatch.export.exporter import Wish, export

    wish = Wish(to, shard_bytes=SHARD_BYTES, is_marked=False)
    export(Dataset.open(Path(source)), Path(target), replace(wish, is_marked=marked == "marked"))


def theirs() -> None:
    """In a child: the same by other means."""
    source, target, to = sys.argv[1:]
    Path(target).mkdir()
    {"hf": _datasets, "webdataset": _webdataset, "images": _loop}[to](source, target)


def _datasets(source: str, target: str) -> None:
    import datasets

    datasets.disable_progress_bars()
    loaded = datasets.load_dataset(
        "parquet", data_files=f"{source}/data/*.parquet", split="train", cache_dir=f"{target}/cache"
    )
    count = loaded.data.nbytes // SHARD_BYTES + 1
    for index in range(count):
        loaded.shard(count, index, contiguous=True).to_parquet(f"{target}/train-{index:05d}-of-{count:05d}.parquet")


def _rows(source: str) -> Iterator[dict[str, Any]]:
    for path in sorted(Path(source, "data").glob("*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(32):
            yield from batch.to_pylist()


def _webdataset(source: str, target: str) -> None:
    import json

    from webdataset import ShardWriter

    with ShardWriter(f"{target}/shard-%06d.tar", maxsize=SHARD_BYTES, verbose=0) as writer:
        for row in _rows(source):
            content = row.pop("image")["bytes"]
            told = json.dumps(row, default=str).encode()
            writer.write({"__key__": row["key"], "jpg": content, "json": told, "txt": row["prompt"].encode()})


def _loop(source: str, target: str) -> None:
    for row in _rows(source):
        Path(target, row["image"]["path"]).write_bytes(row["image"]["bytes"])


def line(name: str, took: Took, beside: Took | None) -> list[str]:
    ratio = "" if beside is None else f"{took.wall_s / beside.wall_s:.2f}"
    return [name, seconds(took.wall_s), seconds(took.cpu_s), megabytes(took.peak_bytes), ratio]


def main() -> None:
    pictures = 300 if options(__doc__).quick else 3_000
    warm_up()
    rows = []
    with scratch() as folder:
        stock(folder / "set", pictures)
        for to in FORMS:
            their = child("bench.export:theirs", str(folder / "set"), str(folder / f"theirs-{to}"), to)
            plain, marked = (
                child("bench.export:ours", str(folder / "set"), str(folder / f"{how}-{to}"), to, how)
                for how in ("plain", "marked")
            )
            rows.append(line(f"{to}: {THEIRS[to]}", their, None))
            rows.append(line(f"{to}: fluxbatch export --no-provenance", plain, their))
            rows.append(line(f"{to}: fluxbatch export", marked, their))
    show(f"Export: {pictures:,} pictures, {megabytes(pictures * PICTURE_BYTES)}", HEADER, rows, NOTES)


if __name__ == "__main__":
    main()
