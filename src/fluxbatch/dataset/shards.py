"""Sealing: spool -> Parquet parts, each whole or not at all.

For each part: temp file, sync, rename, sync of the folder; then the catalogue line; then its spool files go. Whatever
dies in between, `recovery.py` finds the rest. The same entries give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from fluxbatch.dataset import place
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.hashed import Hashed
from fluxbatch.dataset.header import Part
from fluxbatch.dataset.image import Picture, inspect
from fluxbatch.dataset.parts import METADATA_KEY, belongs
from fluxbatch.dataset.place import Place
from fluxbatch.dataset.quarantine import Damaged
from fluxbatch.dataset.record import looked_at
from fluxbatch.dataset.spool import Spool, Spooled
from fluxbatch.models.money import ZERO, Money

PART_BYTES_MAX = 500_000_000
"""A part is closed before it grows beyond this (Hugging Face's advice)."""

GROUP_BYTES_MAX = 64 * 1024 * 1024
GROUP_ROWS_MAX = 1_000
"""A row group is what a viewer reads for one page, and what sealing holds in memory."""

PICTURES = "image.bytes"


def seal(
    dataset: Dataset,
    spool: Spool,
    entries: Sequence[Spooled],
    *,
    run_id: str,
    sealed_at: str,
    part_bytes_max: int = PART_BYTES_MAX,
    after: Callable[[str], None] = lambda step: None,
) -> list[Part]:
    """Write booked entries as parts, ordered by their place in the manifest, list them and empty the spool of them.

    An entry that turns out damaged is set aside (`spool.quarantined`), the others are sealed. StorageError when the
    disk would not; then nothing is lost and the rest can be sealed again. `after` is told each step that is done.
    """
    parts = []
    for chosen in split(_in_order(entries), part_bytes_max, rows_max=None):
        written = _write(dataset, spool, dataset.next_part(), chosen)
        if written is not None:
            after("part")
            part = written.part(dataset, run_id, sealed_at)
            dataset.add_part(part)
            after("listed")
            spool.remove(written.entries)
            parts.append(part)
            after("emptied")
    return parts


def rewrite(dataset: Dataset, spool: Spool, part: Part, entries: Sequence[Spooled]) -> bool:
    """Write a part that is no longer listed once more, under its name, and list it. Whether it is the same bytes."""
    written = _write(dataset, spool, dataset.path(part), _in_order(entries))
    if written is None:
        return False
    again = written.part(dataset, part.run_id, part.sealed_at)
    dataset.add_part(again)
    spool.remove(written.entries)
    return again == part


def _in_order(entries: Sequence[Spooled]) -> list[Spooled]:
    """By their place in the manifest: the same entries always make the same part."""
    return sorted(entries, key=lambda entry: (entry.row, entry.sample, entry.key, entry.attempt))


def split(entries: Iterable[Spooled], bytes_max: int, rows_max: int | None) -> Iterator[list[Spooled]]:
    """Neighbours together, as many as fit into `bytes_max` and `rows_max`, and at least one. Pure."""
    chosen: list[Spooled] = []
    size_bytes = 0
    for entry in entries:
        if chosen and (size_bytes + entry.size_bytes > bytes_max or len(chosen) == rows_max):
            yield chosen
            chosen, size_bytes = [], 0
        chosen.append(entry)
        size_bytes += entry.size_bytes
    if chosen:
        yield chosen


@dataclass(slots=True)
class _Written:
    """A part on its way to the disk, and the entries that are in it."""

    path: Place
    entries: list[Spooled] = field(default_factory=list)
    actual: Money = ZERO
    hashed: Hashed = field(default_factory=Hashed)

    def part(self, dataset: Dataset, run_id: str, sealed_at: str) -> Part:
        file = place.below(dataset.folder, self.path)
        money = (self.actual.nano_usd, self.actual.centineurons)
        return Part(file, len(self.entries), self.hashed.size_bytes, self.hashed.sha256, *money, sealed_at, run_id)


def sealed_schema(dataset: Dataset) -> pa.Schema:
    """The columns of a part, with what says whose it is."""
    return dataset.schema.with_metadata({**dataset.schema.metadata, METADATA_KEY: belongs(dataset.id)})


class _Empty(Exception):
    """All entries of a part were damaged: there is nothing to keep."""


def _write(dataset: Dataset, spool: Spool, path: Place, entries: Sequence[Spooled]) -> _Written | None:
    """The part in place, or None when no entry was sound."""
    written = _Written(path)
    schema = sealed_schema(dataset)

    def content(file: BinaryIO) -> None:
        written.hashed = Hashed(file)
        with pq.ParquetWriter(pa.PythonFile(written.hashed, mode="w"), schema, **part_settings(schema)) as writer:
            for chosen in split(entries, GROUP_BYTES_MAX, GROUP_ROWS_MAX):
                _write_group(writer, spool, schema, chosen, written)
        if not written.entries:
            raise _Empty

    try:
        place.put_atomic(path, content)
    except _Empty:
        return None
    return written


def _write_group(
    writer: pq.ParquetWriter, spool: Spool, schema: pa.Schema, chosen: Sequence[Spooled], written: _Written
) -> None:
    rows = []
    loaded = place.each(spool.folder, lambda entry: _load(spool, entry, schema), chosen)
    for entry, found in zip(chosen, loaded, strict=True):
        if isinstance(found, Damaged):
            spool.set_aside(entry.path, str(found))
        else:
            rows.append(found)
            written.entries.append(entry)
            written.actual += entry.actual
    if rows:
        table = pa.Table.from_batches(rows).unify_dictionaries().combine_chunks()
        writer.write_table(table.replace_schema_metadata(schema.metadata), row_group_size=len(rows))


def _load(spool: Spool, entry: Spooled, schema: pa.Schema) -> pa.RecordBatch | Damaged:
    try:
        row = spool.load(entry)
    except Damaged as error:
        return error
    if not row.schema.equals(schema):
        return Damaged(f"{entry.path}: has other columns than this dataset")
    return looked_at(row, entry.picture or _look(row))


def _look(row: pa.RecordBatch) -> Picture:
    """At a picture that nobody has looked at: its run died, or too many were waiting."""
    content = row.column("image")[0]["bytes"].as_py()
    return inspect(content, row.column("width")[0].as_py(), row.column("height")[0].as_py())


@lru_cache(maxsize=8)
def part_settings(schema: pa.Schema) -> dict[str, object]:
    """How a part is written: pictures plain, all else compressed, and checksums on every page.

    Compression and dictionaries are set by leaf path; a path that is not named gets pyarrow's default, so all are.
    """
    leaves = _leaves(schema)
    others = [leaf for leaf in leaves if leaf != PICTURES]
    return {
        "compression": {leaf: "NONE" if leaf == PICTURES else "ZSTD" for leaf in leaves},
        "use_dictionary": others,
        "write_statistics": others,
        "write_page_index": True,
        "write_page_checksum": True,
        "use_content_defined_chunking": {"min_chunk_size": 256 * 1024, "max_chunk_size": 1024 * 1024},
    }


def _leaves(schema: pa.Schema) -> list[str]:
    """The leaf columns' paths as Parquet names them (`references.list.element`)."""
    file = BytesIO()
    pq.write_table(schema.empty_table(), file)
    names = pq.ParquetFile(BytesIO(file.getvalue())).schema
    return [names.column(number).path for number in range(len(names))]
