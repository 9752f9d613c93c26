"""`--to webdataset`: tar files of KEY.jpg, KEY.json and KEY.txt, read in order by training loops.

A sample is what has the same name up to the first dot, so no key has one. Times, owners and rights are always the same,
so that the same pictures make the same tar.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa

from fluxbatch.dataset import files
from fluxbatch.export.cells import json_line
from fluxbatch.export.sample import sample_card
from fluxbatch.export.staging import Staging
from fluxbatch.export.stream import Chunk
from fluxbatch.export.survey import Limits, Survey, Unit


class WebDataset:
    """Shards of at most `shard_bytes`, or of one picture."""

    has_pictures = True

    def __init__(self, staging: Staging, shard_bytes: int) -> None:
        self.limits = Limits(max(shard_bytes - tarfile.RECORDSIZE, 1), 1_000_000)  # a tar is filled up to whole records
        self._staging = staging

    def write(self, unit: Unit, units: int, chunks: Iterator[Chunk]) -> None:
        def content(file: BinaryIO) -> None:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                for chunk in chunks:
                    for name, picture, row in zip(chunk.names, chunk.contents, chunk.values, strict=True):
                        stem, _, suffix = name.rpartition(".")
                        _add(tar, f"{stem}.{suffix}", picture)
                        _add(tar, f"{stem}.json", json_line(row).encode())
                        _add(tar, f"{stem}.txt", row["prompt"].encode())

        files.put_atomic(self._staging.path(f"shard-{unit.number:06d}.tar"), content)

    def finish(self, found: Survey, columns: pa.Schema) -> None:
        text = sample_card(self._staging.target.name, columns, found.formats)
        files.put_atomic(self._staging.path("README.md"), text.encode())

    def loading(self, target: str) -> str:
        return f"load_dataset({target!r}, split='train'), webdataset.WebDataset({f'{target}/shard-{{…}}.tar'!r})"


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o644
    tar.addfile(entry, io.BytesIO(content))
