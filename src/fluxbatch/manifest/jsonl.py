"""JSON lines: one object a line. Read twice: once for the columns and one type for each, once for the rows."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from fluxbatch.errors import ManifestError, UsageError
from fluxbatch.manifest.columns import COLUMNS_MAX, Layout
from fluxbatch.manifest.lines import Lines, check_is_text
from fluxbatch.manifest.request import Complaint
from fluxbatch.manifest.source import CHUNK_ROWS, Broken, Chunk, chunk_rows, own_batch
from fluxbatch.manifest.values import Trouble, shown

NESTING_MAX = 32
INTEGER_DIGITS_MAX = 40
TROUBLES_MAX = 50

_NOT_ONE_TYPE = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError)
_KINDS: Mapping[type, str] = {
    **{bool: "true or false", int: "a whole number", float: "a number", str: "a text", dict: "an object"},
    list: "a list",
}


class Line(NamedTuple):
    """One line: its object, or what is wrong with it."""

    number: int
    fields: Mapping[str, Any]
    trouble: Trouble | None


class _Column:
    """What the first pass learns of a column: one Arrow type, and where each kind of value was seen first."""

    def __init__(self) -> None:
        self.type: pa.DataType = pa.null()
        self.problem: str | None = None
        self._first_line: dict[type, int] = {}

    def see(self, value: object, line: int) -> None:
        kind = type(value)
        if kind not in self._first_line and value is not None:
            self._first_line[kind] = line

    def settle(self, values: list[object]) -> None:
        """Widen the type so that it holds these too; remember it if no type can."""
        if self.problem is not None:
            return
        try:
            schemas = [pa.schema([("", kind)]) for kind in (self.type, pa.array(values).type)]
            self.type = pa.unify_schemas(schemas, promote_options="permissive").field(0).type
        except _NOT_ONE_TYPE as error:
            first = sorted(self._first_line.items(), key=lambda item: item[1])
            kinds = " and ".join(f"{_KINDS[kind]} (line {line})" for kind, line in first)
            self.problem = f"no one type holds {kinds}" if len(first) > 1 else f"no one type holds it ({error})"


class JsonLines:
    """A JSONL file. Keys are the headers, in the order in which they are first seen; a missing key is a null."""

    header_line: int | None = None

    def __init__(self, path: Path) -> None:
        check_is_text(path)
        self._path = path
        self._columns: dict[str, _Column] = {}
        self._first_troubles: list[Complaint] = []
        self._learn()
        self.headers = tuple(self._columns)
        if not self.headers:
            problem = f"{path}: no line holds an object with fields; write one JSON object a line"
            raise ManifestError(problem, self._first_troubles)

    def _learn(self) -> None:
        pending: dict[str, list[object]] = {}
        for count, (number, fields, trouble) in enumerate(self._lines(), 1):
            if trouble is not None and not self._columns and count <= TROUBLES_MAX:
                self._first_troubles.append(Complaint(str(self._path), count, *trouble, number))
            for name, value in fields.items():
                if name not in pending:
                    pending[name] = []
                    self._column(name)
                pending[name].append(value)
                self._columns[name].see(value, number)
            if count % CHUNK_ROWS == 0:
                self._settle(pending)
                pending = {}
        self._settle(pending)

    def _column(self, name: str) -> None:
        if name not in self._columns:
            if len(self._columns) == COLUMNS_MAX:
                raise UsageError(
                    f"{self._path}: the lines have over {COLUMNS_MAX} different keys; these are no columns"
                )
            self._columns[name] = _Column()

    def _settle(self, pending: Mapping[str, list[object]]) -> None:
        for name, values in pending.items():
            self._columns[name].settle(values)

    def _lines(self) -> Iterator[Line]:
        with Lines(self._path) as lines:
            for text in lines:
                if not text.isspace():
                    yield _line(text, lines.number, lines.take_trouble())

    def own_fields(self, layout: Layout) -> tuple[list[pa.Field], list[Trouble]]:
        fields, troubles = [], []
        for name in (layout.headers[position] for position in layout.own):
            column = self._columns[name]
            if column.problem is None and _has_empty_struct(column.type):
                column.problem = "it holds only empty objects, which Parquet cannot store"
            if column.problem is not None:
                troubles.append(Trouble(name, column.problem, "write one type (texts hold anything), or remove it"))
            fields.append(pa.field(name, column.type if column.problem is None else pa.null()))
        return fields, troubles

    def chunks(self, layout: Layout, own_schema: pa.Schema) -> Iterator[Chunk]:
        size = chunk_rows(layout)
        taken: list[Line] = []
        for line in self._lines():
            taken.append(line)
            if len(taken) == size:
                yield self._chunk(taken, layout, own_schema)
                taken = []
        if taken:
            yield self._chunk(taken, layout, own_schema)

    def _chunk(self, lines: Sequence[Line], layout: Layout, own_schema: pa.Schema) -> Chunk:
        broken = {
            index: Broken((line.trouble,), line.fields) for index, line in enumerate(lines) if line.trouble is not None
        }
        own = [self._own(lines, field, broken) for field in own_schema]
        names = [layout.headers[position] for position in layout.parameters.values()]
        cells = [[line.fields.get(name) for line in lines] for name in names]
        return Chunk(len(lines), cells, own_batch(own, own_schema), [line.number for line in lines], broken)

    def _own(self, lines: Sequence[Line], field: pa.Field, broken: dict[int, Broken]) -> pa.Array:
        if self._columns[field.name].problem is not None:
            return pa.nulls(len(lines))
        values = [None if index in broken else line.fields.get(field.name) for index, line in enumerate(lines)]
        try:
            return pa.array(values, field.type)
        except _NOT_ONE_TYPE:
            return self._own_one_by_one(lines, values, field, broken)

    def _own_one_by_one(
        self, lines: Sequence[Line], values: list[object], field: pa.Field, broken: dict[int, Broken]
    ) -> pa.Array:
        """A column of which some value does not fit the type that the whole file needs: those rows are broken."""
        for index, value in enumerate(values):
            try:
                pa.array([value], field.type)
            except _NOT_ONE_TYPE:
                problem = f"{shown(value)} does not fit the column's type, {field.type}"
                trouble = Trouble(field.name, problem, "write it as a text in all rows")
                broken[index] = Broken((trouble,), lines[index].fields)
                values[index] = None
        return pa.array(values, field.type)


def _line(text: str, number: int, trouble: Trouble | None) -> Line:
    if trouble is not None:
        return Line(number, {}, trouble)
    try:
        fields = _decode(text)
    except RecursionError:
        return Line(number, {}, Trouble(None, "the JSON is nested too deeply", f"nest at most {NESTING_MAX} deep"))
    except ValueError as error:
        return Line(number, {}, Trouble(None, f"this is no valid JSON ({error})", "write one JSON object a line"))
    if not isinstance(fields, dict):
        problem = f"the line is {_KINDS.get(type(fields), 'null')}, not an object"
        return Line(number, {}, Trouble(None, problem, 'write one object a line: {"prompt": "…"}'))
    return Line(number, fields, None)


def _decode(text: str) -> Any:
    """ValueError also for what JSON has and a row must not: NaN, a key twice, half characters, endless numbers."""
    value = _DECODER.decode(text)
    if "\\ud" in text or "\\uD" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("a text holds half of a character, \\ud800 to \\udfff alone") from None
    if text.count("[") + text.count("{") > NESTING_MAX and _depth(value) > NESTING_MAX:
        raise ValueError(f"it is nested over {NESTING_MAX} deep")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        counted = Counter(name for name, _ in pairs)
        twice = next(name for name, times in counted.items() if times > 1)
        raise ValueError(f"the key {shown(twice)} stands twice")
    return fields


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def _integer(text: str) -> int:
    if len(text) > INTEGER_DIGITS_MAX:
        raise ValueError(f"a number has {len(text)} digits")
    return int(text)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_once, parse_constant=_no_constant, parse_float=_finite, parse_int=_integer
)


def _depth(value: object) -> int:
    """How deeply lists and objects are nested; the parser has bounded it already."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max((_depth(item) for item in inner if isinstance(item, dict | list)), default=0)


def _has_empty_struct(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.num_fields == 0 or any(_has_empty_struct(field.type) for field in kind)
    return pa.types.is_list(kind) and _has_empty_struct(kind.value_type)
