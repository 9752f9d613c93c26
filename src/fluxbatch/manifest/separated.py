"""CSV and TSV. The user's own cells stay text ("00123" stays "00123"); an empty one is null.

CSV is quoted as RFC 4180 says. TSV knows no quotes (IANA text/tab-separated-values), so a cell is what stands between
two tabs; but a cell that is quoted from end to end is unquoted, because pandas and spreadsheets write those.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from fluxbatch.errors import UsageError
from fluxbatch.manifest.columns import Layout
from fluxbatch.manifest.lines import Lines, check_is_text, readable
from fluxbatch.manifest.source import Broken, Chunk, chunk_rows, own_batch
from fluxbatch.manifest.values import Trouble, shown


class TextRow(NamedTuple):
    """One row: the line that it starts in, its cells, and what is wrong with its text."""

    line: int
    cells: list[str]
    trouble: Trouble | None


Split = Callable[[Lines], Iterator[TextRow]]


def csv_rows(lines: Lines) -> Iterator[TextRow]:
    """The rows of a CSV file; empty lines are none. After a quote that never closes nothing can be trusted: the end."""
    reader = csv.reader(lines, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            lines.take_trouble()
            trouble = _csv_trouble(str(error), line)
            yield TextRow(line, [], trouble)
            if trouble is _NEVER_CLOSED:
                return
        else:
            if cells:
                yield TextRow(line, cells, lines.take_trouble())


_NEVER_CLOSED = Trouble(
    None,
    f"a quote that opens here is never closed, or its cell is longer than {csv.field_size_limit()} characters",
    "close it; the rows from here on were not read",
)


def _csv_trouble(error: str, line: int) -> Trouble:
    if "unexpected end" in error or "field limit" in error:
        return _NEVER_CLOSED
    if "expected after" in error:
        remedy = 'quote the whole cell and double the quotes inside: """so"" it is"'
        return Trouble(None, "text follows a closing quote", remedy)
    return Trouble(None, f"the row cannot be read ({error})", "correct its quotes")


# Possessive, so that nothing is remembered to come back to: a cell of 10 MB took 1.3 GB.
_QUOTED = re.compile(r'"((?:[^"]++|"")*+)"(?=\t|$)')


def tsv_rows(lines: Lines) -> Iterator[TextRow]:
    """The rows of a TSV file; empty lines are none."""
    for line in lines:
        text = line.rstrip("\r\n")
        if not text:
            continue
        trouble = lines.take_trouble()
        cells = text.split("\t")
        if '"' in text:
            cells, is_open = _tsv_cells(text)
            trouble = trouble or (_OPEN_QUOTE if is_open else None)
        yield TextRow(lines.number, cells, trouble)


_OPEN_QUOTE = Trouble(
    None,
    "a cell begins with a quote that is not closed in its line (a TSV cell cannot hold a line break)",
    "remove the quote, or write the file as CSV or JSONL",
)


def _tsv_cells(text: str) -> tuple[list[str], bool]:
    """The cells of a line with quotes, and whether one of them opens a quote that it does not close."""
    cells: list[str] = []
    is_open = False
    position = 0
    while position <= len(text):
        quoted = _QUOTED.match(text, position)
        if quoted is not None:
            cells.append(quoted.group(1).replace('""', '"'))
            end = quoted.end()
        else:
            tab = text.find("\t", position)
            end = len(text) if tab < 0 else tab
            cells.append(text[position:end])
            is_open |= cells[-1].startswith('"') and cells[-1].count('"') % 2 == 1
        position = end + 1
    return cells, is_open


class Separated:
    """A CSV or TSV file."""

    def __init__(self, path: Path, split: Split) -> None:
        check_is_text(path)
        self._path = path
        self._split = split
        with Lines(path) as lines:
            header = next(split(lines), None)
        if header is None:
            raise UsageError(f"{path}: the file is empty; its first line must name the columns")
        if header.trouble is not None:
            raise UsageError(f"{path}:{header.line}: {header.trouble.problem}; {header.trouble.remedy}")
        self.headers = tuple(header.cells)
        self.header_line = header.line

    def own_fields(self, layout: Layout) -> tuple[list[pa.Field], list[Trouble]]:
        return [pa.field(layout.headers[position], pa.string()) for position in layout.own], []

    def chunks(self, layout: Layout, own_schema: pa.Schema) -> Iterator[Chunk]:
        width, size = len(self.headers), chunk_rows(layout)
        blank = [""] * width
        with Lines(self._path) as lines:
            rows = self._split(lines)
            next(rows)
            taken: list[list[str]] = []
            starts: list[int] = []
            broken: dict[int, Broken] = {}
            for line, cells, trouble in rows:
                if trouble is not None or len(cells) != width:
                    broken[len(taken)] = self._broken(cells, trouble)
                    cells = blank
                taken.append(cells)
                starts.append(line)
                if len(taken) == size:
                    yield _chunk(taken, starts, broken, layout, own_schema)
                    taken, starts, broken = [], [], {}
            if taken:
                yield _chunk(taken, starts, broken, layout, own_schema)

    def _broken(self, cells: list[str], trouble: Trouble | None) -> Broken:
        if trouble is None:
            problem = f"the row has {len(cells)} cells, the header {len(self.headers)}"
            if len(cells) > len(self.headers):
                problem += f" (the first too many: {shown(cells[len(self.headers)])})"
            trouble = Trouble(None, problem, "quote cells that hold the separator, or remove or add cells")
        values = {header: readable(cell) for header, cell in zip(self.headers, cells, strict=False) if header}
        return Broken((trouble,), values)


def _chunk(
    rows: list[list[str]], lines: list[int], broken: dict[int, Broken], layout: Layout, own_schema: pa.Schema
) -> Chunk:
    columns = list(zip(*rows, strict=True))
    own = [pa.array([cell or None for cell in columns[position]], pa.string()) for position in layout.own]
    cells = [columns[position] for position in layout.parameters.values()]
    return Chunk(len(rows), cells, own_batch(own, own_schema), lines, broken)
