"""A sweep file as a manifest: its rows are made when they are asked for, some thousands at once."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from fluxbatch.manifest.columns import PARAMETERS, Layout
from fluxbatch.manifest.rows import Defaults
from fluxbatch.manifest.source import Broken, Chunk, chunk_rows, own_batch
from fluxbatch.manifest.sweep.bind import bind
from fluxbatch.manifest.sweep.columns import Indexes
from fluxbatch.manifest.sweep.corners import corner_rows
from fluxbatch.manifest.sweep.load import type_of
from fluxbatch.manifest.sweep.nodes import Complaints
from fluxbatch.manifest.sweep.parse import parse
from fluxbatch.manifest.sweep.same import Silent
from fluxbatch.manifest.sweep.segment import Segment
from fluxbatch.manifest.sweep.spec import Spec
from fluxbatch.manifest.sweep.survey import Survey
from fluxbatch.manifest.values import Trouble

CELLS_MAX = 1_000_000_000
REFERENCE_BYTES_MAX = 50_000_000


class Sweep:
    """A sweep file, opened: bound, counted, and ready to give any of its rows.

    `headers` are the prompt, the parameters it speaks of, and its variables in the order of the alphabet: neither they
    nor the rows depend on the order of the keys in the file.
    """

    header_line: int | None = None

    def __init__(self, path: Path, spec: Spec, segments: Sequence[Segment], silent: Silent) -> None:
        self.path = path
        self.spec = spec
        self.segments = tuple(segments)
        self.survey = Survey(segments, silent)
        self._chosen = self._drawn()
        names = {name for segment in segments for name in segment.names()}
        self.variables = tuple(sorted(names - set(PARAMETERS)))
        self._types = {name: self._type(name) for name in names}
        self.headers = ("prompt", *(name for name in PARAMETERS if name in names), *self.variables)

    @property
    def rows(self) -> int:
        """How many rows there are, after all that is excluded, drawn or asked for twice."""
        return self.survey.rows if self._chosen is None else len(self._chosen)

    @property
    def is_whole(self) -> bool:
        """Whether every cell is a row."""
        return self.rows == self.survey.cells

    def corners(self, count: int) -> list[int]:
        """At most `count` row numbers (from 1, as a manifest counts) that show the ends of every axis."""
        if self._chosen is None:
            return [row + 1 for row in corner_rows(self.survey, count)]
        kept = np.searchsorted(self._chosen, corner_rows(self.survey, count))
        return sorted({min(int(row), self.rows - 1) + 1 for row in kept})

    def type_of(self, name: str) -> pa.DataType:
        """What a column is: parameters as they are sent, variables as they were written."""
        return self._types.get(name, pa.string())

    def _type(self, name: str) -> pa.DataType:
        if name in PARAMETERS:
            return type_of(name)
        kinds = {column[1].type for segment in self.segments if (column := segment.column(name)) is not None}
        return pa.float64() if len(kinds) > 1 else kinds.pop()

    def own_fields(self, layout: Layout) -> tuple[list[pa.Field], list[Trouble]]:
        names = [layout.headers[position] for position in layout.own]
        return [pa.field(name, self.type_of(name)) for name in names], []

    def chunks(self, layout: Layout, own_schema: pa.Schema) -> Iterator[Chunk]:
        parameters = [layout.headers[position] for position in layout.parameters.values()]
        size = chunk_rows(layout)
        for segment, cells in self.cells():
            for start in range(0, len(cells), size):
                part = cells[start : start + size]
                columns, troubles = self.columns(segment, part, [*parameters, *own_schema.names])
                given = [column.to_pylist() for column in columns[: len(parameters)]]
                own = own_batch(columns[len(parameters) :], own_schema)
                broken = {index: Broken((trouble,), {}) for index, trouble in troubles.items()}
                yield Chunk(len(part), given, own, [segment.line] * len(part), broken)

    def cells(self, rows: Sequence[int] | None = None) -> Iterator[tuple[Segment, Indexes]]:
        """All rows, or those with these numbers (from 1, ascending), as cells of their segments."""
        if rows is not None:
            wanted = np.array(rows, np.int64) - 1
            wanted = wanted if self._chosen is None else self._chosen[wanted]
        elif self._chosen is not None:
            wanted = self._chosen
        else:
            return self.survey.all_rows()
        return self.survey.these_rows(wanted)

    def columns(
        self, segment: Segment, cells: Indexes, names: Sequence[str]
    ) -> tuple[list[pa.Array], dict[int, Trouble]]:
        """These columns of some cells, and which prompts could not be rendered."""
        places = segment.places(cells)
        troubles: dict[int, Trouble] = {}
        columns = []
        for name in names:
            if name == "prompt":
                texts, troubles = segment.texts(places)
                columns.append(texts)
            else:
                columns.append(segment.take(name, places, self.type_of(name)))
        return columns, troubles

    def _drawn(self) -> Indexes | None:
        """The rows of the file's own random sample, or None for all."""
        sample = self.spec.sample
        if sample is None or sample.count >= self.survey.rows:
            return None
        rows = random.Random(sample.seed).sample(range(self.survey.rows), sample.count)
        return np.array(sorted(rows), np.int64)


def open_sweep(path: Path, defaults: Defaults, own: Collection[str] = (), reserved: Collection[str] = ()) -> Sweep:
    """Read, bind and count a sweep file. ManifestError with every complaint, each with its line; UsageError if it is
    no YAML. `own` and `reserved` are `open_manifest`'s.
    """
    complaints = Complaints(str(path))
    spec = parse(path, complaints)
    segments = bind(spec, path.parent.absolute(), complaints, defaults.catalogue, own, reserved)
    _check_types(segments, complaints)
    for segment in segments:
        if segment.cells > CELLS_MAX:
            remedy = "make an axis shorter, or draw from the prompt: alternatives: {count: 1000, seed: 7}"
            many = (
                f"{segment.cells:,}"
                if segment.cells < 10**15
                else f"over 10^{int(segment.cells.bit_length() * 0.30103)}"
            )
            complaints.add(segment.line, f"{many} cells; at most {CELLS_MAX:,} can be counted", remedy)
    complaints.check()
    sweep = Sweep(path, spec, segments, silent_values(defaults, path.parent))
    if not sweep.rows:
        complaints.add(spec.top.line, "every cell is excluded", "remove an exclude")
        complaints.check()
    return sweep


def _check_types(segments: Sequence[Segment], complaints: Complaints) -> None:
    """A variable is one column of the dataset, so it has one type in all blocks."""
    first: dict[str, tuple[pa.DataType, int]] = {}
    for segment in segments:
        for name in sorted(set(segment.names()) - set(PARAMETERS)):
            found = segment.column(name)
            assert found is not None
            kind, line = first.setdefault(name, (found[1].type, segment.line))
            if kind != found[1].type and not {kind, found[1].type} <= {pa.int64(), pa.float64()}:
                problem = f"{name} is {found[1].type} here, and {kind} in the block of line {line}"
                complaints.add(segment.line, problem, "quote the numbers if they are texts", name)


def silent_values(defaults: Defaults, folder: Path) -> Silent:
    """What is sent where a sweep is silent, by parameter."""

    def values(name: str, model: str | None) -> object:
        known = defaults.model if model is None else defaults.catalogue.find(model)
        assert known is not None
        return known.name if name == "model" else getattr(defaults.of(known), name, None)

    @lru_cache(maxsize=10_000)
    def picture(place: str | None) -> str | None:
        """A file by its content; what is no file (an address, say) by its name."""
        if place is None:
            return None
        path = folder / place
        try:
            if path.is_file() and path.stat().st_size <= REFERENCE_BYTES_MAX:
                return hashlib.sha256(path.read_bytes()).hexdigest()
        except (OSError, ValueError):
            pass
        return place

    return Silent(values, picture)
