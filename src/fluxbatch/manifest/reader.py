"""A manifest file -> the pictures it asks for, and complaints, as a stream."""

from __future__ import annotations

import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import pyarrow as pa

from fluxbatch.errors import ManifestError, UsageError
from fluxbatch.manifest.columns import ALL_REFERENCE_COLUMNS, Layout, lay_out
from fluxbatch.manifest.jsonl import JsonLines
from fluxbatch.manifest.parquet import Parquet
from fluxbatch.manifest.places import Places, public_cell
from fluxbatch.manifest.request import Complaint, ImageRequest, OwnColumns, content_digest, request_key
from fluxbatch.manifest.rows import Asked, Defaults, RowReader
from fluxbatch.manifest.samples import SampleNumbers
from fluxbatch.manifest.separated import Separated, csv_rows, tsv_rows
from fluxbatch.manifest.source import Chunk, Source
from fluxbatch.manifest.values import Trouble

if TYPE_CHECKING:
    from fluxbatch.manifest.sweep.source import Sweep

__all__ = ["ENDINGS", "Defaults", "Manifest", "Rejected", "open_manifest"]

SWEEP_ENDINGS = (".yaml", ".yml")
ENDINGS = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".parquet", ".pq", *SWEEP_ENDINGS)
"""What a manifest's name may end in; text files may be gzipped on top (.csv.gz)."""

_NO_COLUMNS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that cannot be sent: all that is wrong with it, and its values as they were read, by header."""

    row: int
    complaints: tuple[Complaint, ...]
    values: Mapping[str, object]


class Manifest:
    """A manifest file, opened: its columns are known, its rows are read when they are asked for.

    `own_schema` has the user's own columns with their types, `complaints` what is wrong with the header or the whole
    file (a run should not start while there are any), `headers` the names of all columns. All in the file's order.
    """

    sweep: Sweep | None = None
    """The sweep, where the manifest is a sweep file: it knows its axes and corners."""

    def __init__(self, path: Path, source: Source, layout: Layout, defaults: Defaults, places: Places) -> None:
        self.path = path
        fields, troubles = source.own_fields(layout)
        self.own_schema = pa.schema(fields)
        self.headers = tuple(dict.fromkeys(header for header in layout.headers if header))
        self.complaints = tuple(
            self._complaint(trouble, None, source.header_line) for trouble in (*layout.troubles, *troubles)
        )
        self._source = source
        self._layout = layout
        self._places = places
        self.reader = RowReader(tuple(layout.parameters), defaults, path.parent.absolute(), places)

    @property
    def hosts_refused(self) -> tuple[str, ...]:
        """The hosts of addresses that were read and are not allowed: known when the rows have been read."""
        return self._places.addresses.hosts_refused

    def rows(self) -> Iterator[ImageRequest | Rejected]:
        """Every picture asked for, and every row that cannot be sent, in the order of the file: one streaming pass.

        Samples are expanded and keys assigned. It starts anew each time. ManifestError if there is no prompt column;
        UsageError if the file turns out to be damaged on the way.
        """
        if "prompt" not in self._layout.parameters:
            texts = "; ".join(str(complaint) for complaint in self.complaints)
            raise ManifestError(texts, self.complaints)
        numbers = SampleNumbers()
        rows_before = 0
        for chunk in self._source.chunks(self._layout, self.own_schema):
            yield from self._chunk_rows(chunk, rows_before + 1, numbers)
            rows_before += chunk.size

    def corners(self, count: int) -> list[int]:
        """So many rows at the corners of a sweep, by their numbers from 1. UsageError when it is no sweep."""
        if self.sweep is None:
            raise UsageError(f"{self.path}: --preview is for a sweep; of a manifest, --sample {count} takes a few rows")
        return self.sweep.corners(count)

    def _chunk_rows(self, chunk: Chunk, first_row: int, numbers: SampleNumbers) -> Iterator[ImageRequest | Rejected]:
        read = self._read(chunk)
        asked = [entry for entry in read if isinstance(entry, Asked)]
        digests = [content_digest(*entry.content) for entry in asked]
        firsts = numbers.number(digests, [entry.samples for entry in asked], [entry.sample for entry in asked])
        numbered = zip(digests, firsts, strict=True)
        for index, entry in enumerate(read):
            row = first_row + index
            if not isinstance(entry, Asked):
                yield self._rejected(chunk, index, row, entry)
                continue
            digest, first = next(numbered)
            if isinstance(first, Trouble):
                yield self._rejected(chunk, index, row, (first,))
                continue
            own = None if chunk.own is None else OwnColumns(chunk.own, index)
            for sample in range(first, first + entry.samples):
                yield _request(row, entry, sample, request_key(digest, sample), own)

    def _read(self, chunk: Chunk) -> list[Asked | tuple[Trouble, ...]]:
        self.reader.look_ahead(chunk.cells)
        read = self.reader.read
        if not chunk.broken:
            return [read(cells) for cells in zip(*chunk.cells, strict=True)]
        return [
            chunk.broken[index].troubles if index in chunk.broken else read(cells)
            for index, cells in enumerate(zip(*chunk.cells, strict=True))
        ]

    def _rejected(self, chunk: Chunk, index: int, row: int, troubles: Sequence[Trouble]) -> Rejected:
        line = None if chunk.lines is None else chunk.lines[index]
        complaints = tuple(self._complaint(trouble, row, line) for trouble in troubles)
        broken = chunk.broken.get(index)
        values = self._values(chunk, index) if broken is None else broken.values
        return Rejected(row, complaints, self._without_secrets(values))

    def _without_secrets(self, values: Mapping[str, object]) -> Mapping[str, object]:
        """The same, addresses without their queries: what was signed for one reader shall not lie in a file."""
        headers = {self._layout.header(name) for name in self._layout.parameters if name in ALL_REFERENCE_COLUMNS}
        return {name: public_cell(value) if name in headers else value for name, value in values.items()}

    def _complaint(self, trouble: Trouble, row: int | None, line: int | None) -> Complaint:
        column = trouble.column
        if row is not None and column is not None:
            column = self._layout.header(column)
        return Complaint(str(self.path), row, column, trouble.problem, trouble.remedy, line)

    def _values(self, chunk: Chunk, index: int) -> dict[str, object]:
        """One row as it was read, by header, in the file's order."""
        found = {
            self._layout.headers[position]: cells[index]
            for position, cells in zip(self._layout.parameters.values(), chunk.cells, strict=True)
        }
        if chunk.own is not None:
            for name, column in zip(chunk.own.schema.names, chunk.own.columns, strict=True):
                found[name] = _plain(column[index])
        return {header: found[header] for header in self.headers}


def _request(row: int, entry: Asked, sample: int, key: str, own: OwnColumns | None) -> ImageRequest:
    content = entry.content
    return ImageRequest(row, entry.id, *content[:8], sample, key, own, *content[8:])


def open_manifest(
    path: Path,
    defaults: Defaults,
    columns: Mapping[str, str] = _NO_COLUMNS,
    own: Collection[str] = (),
    reserved: Collection[str] = (),
    places: Places | None = None,
) -> Manifest:
    """Open a manifest: CSV, TSV, JSONL (each also gzipped), Parquet or a sweep file, told apart by the name's ending.

    `columns` says which header of the file a parameter is read from ({"prompt": "Prompt"}); `own` names headers that
    are the user's even though they look like a parameter; `reserved` are names that the dataset writes itself, which
    a user's column may not have; `places` is what references may come from, beside files. UsageError if the file
    cannot be read, or an option is wrong in itself.
    """
    if path.suffix.lower() in SWEEP_ENDINGS:
        return _open_sweep(path, defaults, columns, own, reserved, places or Places())
    source = _open_source(path)
    layout = lay_out(source.headers, columns, own, reserved)
    if "model" not in layout.parameters:  # else an option may be meant for other rows than this model's
        _check_options(defaults)
    return Manifest(path, source, layout, defaults, places or Places())


def _check_options(defaults: Defaults) -> None:
    """An option that no row can take is an error, not a complaint about each row."""
    troubles = [f"--{trouble.column}: {trouble.problem}; {trouble.remedy}" for trouble in defaults.troubles()]
    if troubles:
        remedy = "leave the option out (in the environment: FLUXBATCH_ and its name)"
        raise UsageError("; ".join(troubles).replace("leave it empty", remedy))


def _open_sweep(
    path: Path,
    defaults: Defaults,
    columns: Mapping[str, str],
    own: Collection[str],
    reserved: Collection[str],
    places: Places,
) -> Manifest:
    from fluxbatch.manifest.sweep.source import open_sweep  # YAML and templates, for those who sweep

    if columns:
        raise UsageError("--column is for tables: a sweep names its parameters itself; rename them in the file")
    _check_is_file(path)
    source = open_sweep(path, defaults, own, reserved)
    layout = lay_out(source.headers, {}, source.variables, ())
    if "model" not in layout.parameters:
        _check_options(defaults)
    manifest = Manifest(path, source, layout, defaults, places)
    manifest.sweep = source
    return manifest


def _check_is_file(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{path}: there is no such file") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error}); check it") from None
    if stat.S_ISDIR(mode):
        raise UsageError(f"{path}: this is a folder; give a file in it")
    if not stat.S_ISREG(mode):
        raise UsageError(f"{path}: this is a device or a pipe; give a file")


def _open_source(path: Path) -> Source:
    _check_is_file(path)
    name = path.name.lower()
    ending = Path(name.removesuffix(".gz")).suffix
    try:
        if ending == ".csv":
            return Separated(path, csv_rows)
        if ending in (".tsv", ".tab"):
            return Separated(path, tsv_rows)
        if ending in (".jsonl", ".ndjson"):
            return JsonLines(path)
        if ending in (".parquet", ".pq") and not name.endswith(".gz"):
            return Parquet(path)
    except PermissionError:
        raise UsageError(f"{path}: reading it is not allowed; check its permissions") from None
    raise UsageError(f"{path}: the name's ending does not say what it is; use one of {', '.join(ENDINGS)}")


def _plain(scalar: pa.Scalar) -> object:
    """A Python value; as text where Python has no such value (a date after the year 9999)."""
    try:
        return scalar.as_py()
    except (ValueError, OverflowError, LookupError):
        pass
    try:
        return str(scalar.cast(pa.string()).as_py())
    except (ValueError, LookupError, pa.ArrowException):  # inside of a list or a struct
        return f"a value of {scalar.type}"
