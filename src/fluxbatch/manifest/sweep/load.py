"""Axis values as they are written -> a column of one type: checked, and each complaint at the value's own line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fluxbatch.manifest.columns import PARAMETERS
from fluxbatch.manifest.rows import read_parameter
from fluxbatch.manifest.sweep.columns import Column, Counted, Stored, count_of
from fluxbatch.manifest.sweep.nodes import Complaints, Value
from fluxbatch.manifest.sweep.spec import FromFile, InPlace, Listed, Range
from fluxbatch.manifest.sweep.tables import FileColumn, read_column
from fluxbatch.manifest.values import Unusable, shown
from fluxbatch.models.catalogue import Catalogue, Model

RANGE_MAX = 1_000_000_000
DIGITS_MAX = 15
SIZE = "size"

WHOLE = frozenset(("width", "height", "steps", "seed", "samples", "sample"))
DECIMAL = frozenset(("guidance", "strength"))

_KINDS = {str: "a text", bool: "true or false", int: "a number", float: "a number"}
_SIZE = re.compile(r"\s*([0-9]{1,6})\s*[x\u00d7]\s*([0-9]{1,6})\s*", re.IGNORECASE)


def type_of(name: str) -> pa.DataType:
    """What the column of a parameter is."""
    return pa.int64() if name in WHOLE else pa.float64() if name in DECIMAL else pa.string()


class Loader:
    """Loads the columns of one sweep file; files are looked for in its folder, and read once."""

    def __init__(self, folder: Path, complaints: Complaints, catalogue: Catalogue) -> None:
        self._folder = folder
        self._catalogue = catalogue
        self._complaints = complaints
        self._files: dict[tuple[str, str | None], FileColumn | None] = {}

    def load(self, name: str, listed: Listed) -> dict[str, Column] | None:
        """The column by its name (a size is two: width and height), or None when there is something to complain of."""
        if isinstance(listed, Range):
            column = self._counted(name, listed)
            return None if column is None else {name: column}
        if isinstance(listed, InPlace):
            written = [(value.value, value.line) for value in listed.values]
            if name == SIZE:
                return self._sizes(written, None)
            if name in PARAMETERS:
                return self._parameters(name, written, None)
            return self._variables(name, listed.values)
        return self._from_file(name, listed)

    def _counted(self, name: str, listed: Range) -> Column | None:
        problem = remedy = None
        count = count_of(listed.first, listed.last, listed.step, listed.exclusive)
        parts: tuple[int | Decimal, ...] = (listed.first, listed.last, listed.step)
        is_whole = all(isinstance(part, int) for part in parts)
        if not is_whole and any(len(Decimal(part).as_tuple().digits) > DIGITS_MAX for part in parts):
            problem, remedy = f"decimals of over {DIGITS_MAX} digits are not exact", "write fewer digits"
        elif any(not -(2**63) < part < 2**63 for part in parts):
            problem, remedy = "the range leaves 64 bits", "take smaller numbers"
        elif count > RANGE_MAX:
            problem, remedy = f"a range of {count:,} values", f"take at most {RANGE_MAX:,}"
        elif (name in PARAMETERS or name == SIZE) and name not in WHOLE | DECIMAL:
            problem, remedy = f"{name} is no number", "write a list"
        elif name in WHOLE and not is_whole:
            problem, remedy = f"{name} takes whole numbers, and the range has decimals", "write whole numbers"
        if problem is None or remedy is None:
            return Counted(listed.first, listed.step, count, listed.line)
        self._complaints.add(listed.line, problem, remedy, name)
        return None

    def _parameters(
        self, name: str, written: Sequence[tuple[object, int | None]], file: str | None
    ) -> dict[str, Column] | None:
        found: list[Any] = []
        before = self._complaints.count
        for value, line in written:
            try:
                read = read_parameter(name, value, self._catalogue)
            except Unusable as error:
                self._complaints.add(line, error.problem, error.remedy, name, file)
            else:
                found.append(read.name if isinstance(read, Model) else read)
        if self._complaints.count > before:
            return None
        lines = np.array([line or 0 for _, line in written])
        try:
            return {name: Stored(pa.array(found, type_of(name)), None, file, lines)}
        except (OverflowError, pa.ArrowInvalid):
            wrong = next(i for i, value in enumerate(found) if isinstance(value, int) and not -(2**63) <= value < 2**63)
            self._complaints.add(written[wrong][1], f"{found[wrong]} is out of range", "take 64 bits", name, file)
            return None

    def _sizes(self, written: Sequence[tuple[object, int | None]], file: str | None) -> dict[str, Column] | None:
        sides: list[tuple[int, int]] = []
        before = self._complaints.count
        for value, line in written:
            matched = _SIZE.fullmatch(value) if isinstance(value, str) else None
            if matched is None:
                self._complaints.add(line, f"{shown(value)} is no size", "write 1024x768: width, x, height", SIZE, file)
            else:
                sides.append((int(matched[1]), int(matched[2])))
        if self._complaints.count > before:
            return None
        lines = np.array([line or 0 for _, line in written])
        width, height = zip(*sides, strict=True)
        return {
            "width": Stored(pa.array(width, pa.int64()), None, file, lines),
            "height": Stored(pa.array(height, pa.int64()), None, file, lines),
        }

    def _variables(self, name: str, written: Sequence[Value]) -> dict[str, Column] | None:
        before = self._complaints.count
        objects = [self._variable(name, value) for value in written]
        kinds = {_KINDS[type(value)] for value in objects if value is not None}
        if len(kinds) > 1:
            first = _KINDS[type(objects[0])]
            odd = next(i for i, value in enumerate(objects) if value is not None and _KINDS[type(value)] != first)
            problem = f"{written[odd].written} is {_KINDS[type(objects[odd])]}, the first value is {first}"
            remedy = (
                "quote the numbers if they are texts" if kinds != {"a number", "true or false"} else "write one kind"
            )
            self._complaints.add(written[odd].line, problem, remedy, name)
        if self._complaints.count > before:
            return None
        is_decimal = any(isinstance(value, float) for value in objects)
        values = pa.array(objects, pa.float64() if is_decimal else None)
        plain = None if pa.types.is_string(values.type) else objects
        return {name: Stored(values, plain, None, np.array([value.line for value in written]))}

    def _variable(self, name: str, value: Value) -> Any:
        """What a prompt is rendered with; a number has to stand there as it would be written again."""
        found = float(value.value) if isinstance(value.value, Decimal) else value.value
        if found is None:
            self._complaints.add(value.line, "a value is empty", 'write a value, or "" for an empty text', name)
        elif not isinstance(found, bool | str):
            if isinstance(found, int) and abs(found) >= 2**63:
                self._complaints.add(value.line, f"{found} leaves 64 bits", "quote it", name)
                return None
            if str(found) != value.written:
                remedy = f'write {found}, or quote it if it is a text: "{value.written}"'
                problem = f"{value.written} is read as the number {found}"
                self._complaints.add(value.line, problem, remedy, name)
        return found

    def _from_file(self, name: str, listed: FromFile) -> dict[str, Column] | None:
        wanted = listed.column
        key = (listed.file, wanted or name)
        if key not in self._files:
            self._files[key] = read_column(self._folder, listed, name, self._complaints)
        found = self._files[key]
        if found is None:
            return None
        file = str(found.path)
        if name == SIZE or name in PARAMETERS:
            written = [
                (value, None if found.lines is None else int(found.lines[index]))
                for index, value in enumerate(found.values.to_pylist())
            ]
            return self._sizes(written, file) if name == SIZE else self._parameters(name, written, file)
        if found.values.null_count:
            index = int(np.flatnonzero(found.values.is_null().to_numpy(zero_copy_only=False))[0])
            line = None if found.lines is None else int(found.lines[index])
            place = "" if line is not None else f" in row {index + 1}"
            problem = f"{found.values.null_count:,} of {len(found.values):,} values are empty (the first{place})"
            self._complaints.add(line, problem, "fill them, or remove the rows", name, file)
            return None
        return {name: Stored(found.values, None, file, found.lines)}
