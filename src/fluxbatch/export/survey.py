"""The look before an export: which pictures, how many bytes, in which units, and whether every file has its own name.

Nothing is written yet. In memory: eight bytes a picture, and one batch of rows.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fluxbatch.errors import UsageError
from fluxbatch.export.names import folded
from fluxbatch.export.plain_rows import plain_rows
from fluxbatch.export.template import Template
from fluxbatch.many import many
from fluxbatch.query import Rows

MARK_BYTES = 4_096
"""Room for a mark inside a picture, and for what a format puts around it."""
NAMES_SHOWN = 10
ROWS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Limits:
    """Of a unit: what is written whole or not at all."""

    bytes_max: int
    rows_max: int


@dataclass(frozen=True, slots=True)
class Unit:
    """Pictures that are neighbours: from the `first`-th one that is exported (from 0), so many."""

    number: int
    first: int
    rows: int


@dataclass(frozen=True, slots=True)
class Survey:
    """What an export will have. `size_bytes` are those of its pictures, `formats` what Pillow calls them."""

    units: tuple[Unit, ...]
    pictures: int
    size_bytes: int
    formats: frozenset[str | None]


def survey(rows: Rows, where: str | None, template: Template | None, limits: Limits) -> Survey:
    """UsageError when two pictures would have the same name; `template` None: there are no files to be named."""
    units, hashes, size_bytes, formats = _Units(limits), array("Q"), 0, set[str | None]()
    for batch in rows.read(None, where):
        sizes = batch.column("size_bytes").to_pylist()
        size_bytes += sum(sizes)
        formats.update(batch.column("format").unique().to_pylist())
        around = MARK_BYTES + 2 * batch.nbytes // len(batch)  # as JSON, a row is longer than in memory, by less than so
        for size in sizes:
            units.add(size + around)
        if template is not None:
            hashes.extend(_hash(stem) for stem in stems(batch, template))
    twice = _twice(hashes)
    if twice and template is not None and (complaint := _complaint(rows, where, template, twice)):
        raise UsageError(complaint)
    return Survey(tuple(units.ended()), units.pictures, size_bytes, frozenset(formats))


class _Units:
    """Neighbours together, as many as fit into the limits, and at least one."""

    def __init__(self, limits: Limits) -> None:
        self.pictures = 0
        self._limits = limits
        self._units: list[Unit] = []
        self._first, self._bytes = 0, 0

    def add(self, size_bytes: int) -> None:
        rows = self.pictures - self._first
        if rows and (rows == self._limits.rows_max or self._bytes + size_bytes > self._limits.bytes_max):
            self._end()
        self.pictures += 1
        self._bytes += size_bytes

    def ended(self) -> list[Unit]:
        if self.pictures > self._first:
            self._end()
        return self._units

    def _end(self) -> None:
        self._units.append(Unit(len(self._units), self._first, self.pictures - self._first))
        self._first, self._bytes = self.pictures, 0


def stems(batch: pa.RecordBatch, template: Template) -> Iterator[str]:
    """The name of each row's picture, without its extension."""
    if not template.columns:
        yield from (template.stem({}) for _ in range(len(batch)))
        return
    for row in plain_rows(batch.select(list(template.columns))):
        yield template.stem(row)


def _hash(stem: str) -> int:
    return int.from_bytes(hashlib.blake2b(folded(stem).encode(), digest_size=8).digest())


def _twice(hashes: array[int]) -> frozenset[int]:
    """Those that stand more than once: of the same names, or, very rarely, of two."""
    ordered = np.sort(np.frombuffer(hashes, dtype=np.uint64)) if hashes else np.empty(0, np.uint64)
    return frozenset(ordered[1:][ordered[1:] == ordered[:-1]].tolist())


def _complaint(rows: Rows, where: str | None, template: Template, twice: frozenset[int]) -> str:
    """Which names are whose; empty when only the hashes were the same."""
    found: dict[str, list[tuple[str, int]]] = {}
    for batch in rows.read(None, where):
        for stem, row in zip(stems(batch, template), batch.column("row").to_pylist(), strict=True):
            if _hash(stem) in twice:
                found.setdefault(folded(stem), []).append((stem, row))
    clashes = [owners for owners in found.values() if len(owners) > 1]
    if not clashes:
        return ""
    named = "; ".join(_told(owners) for owners in clashes[:NAMES_SHOWN])
    more = f"; and {len(clashes) - NAMES_SHOWN:,} more" if len(clashes) > NAMES_SHOWN else ""
    return (
        f"--name gives {many(len(clashes), 'name')} to more than one picture "
        f"(capitals do not count, as on many disks): {named}{more}; add a column that tells them apart, as {{sample}}, "
        "{seed} or {key:.8}"
    )


def _told(owners: list[tuple[str, int]]) -> str:
    names = " and ".join(repr(name) for name in dict.fromkeys(name for name, _ in owners[:ROWS_SHOWN]))
    rows = ", ".join(str(row) for _, row in owners[:ROWS_SHOWN])
    return f"{names} (rows {rows}{', …' if len(owners) > ROWS_SHOWN else ''})"
