"""A cell of CSV is never a formula, a number stays one, and all of it comes back; JSON is always JSON."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxbatch.export.cells import csv_line, defused, json_line, restored

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1", "'=1",
     " =1", "\u200b=1", "-5", "+1e3", "-", "=",
     '"=1', "a,b", 'say "x"', "line\nline"]
)  # fmt: skip
NUMBER = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.decimals(-(10**9), 10**9, places=3)


@given(TEXT)
def test_no_cell_begins_a_formula_and_the_text_comes_back(text: str) -> None:
    cell = defused(text)
    assert restored(cell) == text
    seen = cell.lstrip("\u200b\ufeff \t\r\n\0")
    if seen[:1] in set("=+-@\uff1d\uff0b\uff0d\uff20"):
        float(cell)  # a number: no spreadsheet runs one
    assert cell[:1] not in {"\t", "\r", "\n"}


@given(st.lists(TEXT | NUMBER | st.none() | st.booleans(), min_size=2, max_size=5))
def test_a_line_is_read_back_by_any_reader(values: list[Any]) -> None:
    line = csv_line(values)
    assert line.endswith("\r\n")
    [cells] = csv.reader(io.StringIO(line, newline=""), strict=True)
    assert len(cells) == len(values)
    for cell, value in zip(cells, values, strict=True):
        if isinstance(value, str):
            assert restored(cell) == value
        elif value is None:
            assert cell == ""
        elif isinstance(value, bool):
            assert cell == str(value).lower()
        elif isinstance(value, Decimal):
            assert Decimal(cell) == value
        else:
            assert type(value)(cell) == value


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (-5, "-5"), (-0.5, "-0.5"), (Decimal("-1.50"), "-1.50"), ("-5", "-5"), ("-5+1", "'-5+1"),
        (["=1"], '"[""=1""]"'),
        ({"a": Decimal("1.5")}, '"{""a"": 1.5}"'), (b"\xf8\x00", "'+AA="), ("", '""'), (None, ""), (True, "true"),
        (dt.datetime(2026, 1, 2, tzinfo=dt.UTC), "2026-01-02T00:00:00+00:00"), (dt.timedelta(seconds=-1), "-1.0"),
        (" x", '" x"'), (math.nan, "nan"),
    ],
)  # fmt: skip
def test_each_kind_of_value_has_its_cell(value: object, cell: str) -> None:
    assert csv_line([value]) == f"{cell}\r\n"


JSONISH = st.recursive(
    TEXT | NUMBER | st.none() | st.booleans() | st.floats() | st.binary(max_size=4) | st.dates() | st.timedeltas(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(TEXT, JSONISH, max_size=4))
def test_a_json_line_is_one_line_that_any_parser_reads(row: dict[str, Any]) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    line = json_line(row)
    assert line.count("\n") == 1
    found = json.loads(line, parse_constant=refuse, parse_float=Decimal)
    assert list(found) == list(row)
    for name, value in row.items():
        if isinstance(value, str | int | None):
            assert found[name] == value
        if isinstance(value, Decimal):
            assert Decimal(found[name]) == value
