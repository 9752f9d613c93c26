"""One column of a table, or the lines of a text file, as an Arrow array with the line of each value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fluxbatch.errors import ManifestError, UsageError
from fluxbatch.manifest.columns import Layout
from fluxbatch.manifest.jsonl import JsonLines
from fluxbatch.manifest.lines import Lines, check_is_text
from fluxbatch.manifest.parquet import Parquet
from fluxbatch.manifest.separated import Separated, csv_rows, tsv_rows
from fluxbatch.manifest.source import Source
from fluxbatch.manifest.sweep.nodes import Complaints, did_you_mean
from fluxbatch.manifest.sweep.spec import FromFile
from fluxbatch.manifest.values import shown

VALUES_MAX = 10_000_000
BYTES_MAX = 1_000_000_000
ENDINGS = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".parquet", ".pq", ".txt")
LINES_AT_ONCE = 10_000

Part = tuple[pa.Array, list[int] | None]


@dataclass(frozen=True, slots=True)
class FileColumn:
    """Texts, whole numbers, decimals, or true and false; `lines` only where the file has lines."""

    path: Path
    values: pa.Array
    lines: NDArray[np.int64] | None


def read_column(folder: Path, listed: FromFile, name: str, complaints: Complaints) -> FileColumn | None:
    """The column that an axis names (its own name, where it names none); None when it is complained of."""
    path = folder / listed.file
    try:
        parts = _parts(path, listed, name, complaints)
        return _joined(path, listed, name, parts, complaints)
    except (ManifestError, UsageError) as error:
        complaints.add(listed.line, str(error), "correct the file or its name (it is relative to the sweep)", name)
    except OSError as error:
        complaints.add(listed.line, f"{path} cannot be read ({error.strerror or error})", "check the file", name)
    return None


def _parts(path: Path, listed: FromFile, name: str, complaints: Complaints) -> Iterator[Part]:
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file")
    ending = Path(path.name.lower().removesuffix(".gz")).suffix
    if ending == ".txt":
        return _text_lines(path, listed, name, complaints)
    if ending in ENDINGS:
        return _cells(path, _opened(path, ending), listed, name, complaints)
    raise UsageError(f"{path}: the ending does not say what it is; use one of {', '.join(ENDINGS)}")


def _opened(path: Path, ending: str) -> Source:
    if ending == ".csv":
        return Separated(path, csv_rows)
    if ending in (".tsv", ".tab"):
        return Separated(path, tsv_rows)
    return JsonLines(path) if ending in (".jsonl", ".ndjson") else Parquet(path)


def _cells(path: Path, source: Source, listed: FromFile, name: str, complaints: Complaints) -> Iterator[Part]:
    headers = list(source.headers)
    wanted = listed.column or (headers[0] if len(headers) == 1 else name)
    if wanted not in headers:
        say = f"{path.name} has no column {shown(wanted)}"
        complaints.add(listed.line, say, did_you_mean(wanted, headers), name)
        return
    layout = Layout(tuple(headers), {}, (headers.index(wanted),), ())
    fields, troubles = source.own_fields(layout)
    if troubles:
        complaints.add(listed.line, f"{path.name}: {troubles[0].problem}", troubles[0].remedy, name)
        return
    for chunk in source.chunks(layout, pa.schema(fields)):
        for index, broken in chunk.broken.items():
            line = None if chunk.lines is None else chunk.lines[index]
            complaints.add(line, broken.troubles[0].problem, broken.troubles[0].remedy, name, str(path))
        assert chunk.own is not None
        yield chunk.own.column(0), None if chunk.lines is None else list(chunk.lines)


def _text_lines(path: Path, listed: FromFile, name: str, complaints: Complaints) -> Iterator[Part]:
    """One value a line; blank lines, and lines that begin with #, are none."""
    if listed.column is not None:
        complaints.add(listed.line, f"{path.name} is a text and has no columns", "remove column:", name)
        return
    check_is_text(path)
    with Lines(path) as lines:
        values: list[str] = []
        numbers: list[int] = []
        for text in lines:
            if (trouble := lines.take_trouble()) is not None:
                complaints.add(lines.number, trouble.problem, trouble.remedy, name, str(path))
                continue
            value = text.strip()
            if value and not value.startswith("#"):
                values.append(value)
                numbers.append(lines.number)
            if len(values) == LINES_AT_ONCE:
                yield pa.array(values, pa.string()), numbers
                values, numbers = [], []
        yield pa.array(values, pa.string()), numbers


def _joined(
    path: Path, listed: FromFile, name: str, parts: Iterator[Part], complaints: Complaints
) -> FileColumn | None:
    before = complaints.count
    arrays: list[pa.Array] = []
    lines: list[NDArray[np.int64]] = []
    size = 0
    for array, numbers in parts:
        arrays.append(array)
        size += array.nbytes
        if numbers is not None:
            lines.append(np.array(numbers, np.int64))
        if sum(map(len, arrays)) > VALUES_MAX or size > BYTES_MAX:
            limit = f"{VALUES_MAX:,} values and {BYTES_MAX // 10**9} GB"
            complaints.add(listed.line, f"{path.name} has more than {limit}", "split the sweep", name)
            return None
    if complaints.count > before:
        return None
    if not sum(map(len, arrays)):
        complaints.add(listed.line, f"{path.name} has no value: there would be no picture at all", "fill it", name)
        return None
    values = _plain(pa.chunked_array(arrays))
    if values is None:
        problem = f"{path.name}: values of the type {arrays[0].type} cannot be an axis"
        complaints.add(listed.line, problem, "take texts, numbers, or true and false", name)
        return None
    return FileColumn(path, values, np.concatenate(lines) if lines else None)


def _plain(values: pa.ChunkedArray) -> pa.Array | None:
    """As text, 64-bit whole number, 64-bit decimal or boolean; None where it is nothing of the kind."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        values, kind = values.cast(kind.value_type), kind.value_type
    if pa.types.is_integer(kind):
        wanted = pa.int64()
    elif pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        wanted = pa.float64()
        values = values.cast(pa.string()) if pa.types.is_float32(kind) else values  # 3.3, not 3.299999952316284
    elif pa.types.is_large_string(kind) or pa.types.is_string(kind) or pa.types.is_string_view(kind):
        wanted = pa.string()
    elif pa.types.is_boolean(kind) or pa.types.is_null(kind):
        wanted = kind
    else:
        return None
    try:
        whole = values.cast(wanted).combine_chunks()
    except pa.ArrowInvalid:
        return None
    whole = whole.chunk(0) if isinstance(whole, pa.ChunkedArray) and whole.num_chunks == 1 else whole
    if isinstance(whole, pa.ChunkedArray):
        return None
    return pc.if_else(pc.is_nan(whole), None, whole) if pa.types.is_floating(wanted) else whole
