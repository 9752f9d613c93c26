"""Axis values: ranges to the last digit, files of every kind, and the types that they get in the dataset."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxbatch.manifest.sweep.columns import Counted, Stored, count_of
from tests.manifest.manifest_kit import own_values
from tests.manifest.sweep.sweep_kit import rows_of, sweep_of

P = "prompt: 'a {{ a }}'\n"

RANGES = {
    "[1, 4]": ("", ["1", "2", "3", "4"]),
    "[1, 4] ": ("exclusive: true", ["1", "2", "3"]),
    "[0, 10]": ("step: 3", ["0", "3", "6", "9"]),
    "[0, 9]": ("step: 3, exclusive: true", ["0", "3", "6"]),
    "[0, 10] ": ("step: 3, exclusive: true", ["0", "3", "6", "9"]),
    "[3, 1]": ("step: -1", ["3", "2", "1"]),
    "[5, 5]": ("", ["5"]),
    "[2.0, 3.0]": ("step: 0.25", ["2.0", "2.25", "2.5", "2.75", "3.0"]),
    "[3.0, 4.0]": ("step: 0.1", ["3.0", "3.1", "3.2", "3.3", "3.4", "3.5", "3.6", "3.7", "3.8", "3.9", "4.0"]),
    "[2, 3]": ("step: 0.5", ["2.0", "2.5", "3.0"]),
    "[-0.2, 0.1]": ("step: 0.1", ["-0.2", "-0.1", "0.0", "0.1"]),
    "[1.0, 0.7]": ("step: -0.1, exclusive: true", ["1.0", "0.9", "0.8"]),
}


@pytest.mark.parametrize("ends", RANGES)
def test_a_range_has_the_values_that_a_person_would_write(tmp_path: Path, ends: str) -> None:
    more, values = RANGES[ends]
    text = f"{P}axes: {{a: {{range: {ends}{', ' if more else ''}{more}}}}}"
    assert [row.prompt for row in rows_of(tmp_path, text)] == [f"a {value}" for value in values]


def test_a_decimal_range_of_a_parameter_is_exact(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "prompt: a\naxes: {guidance: {range: [3.0, 4.0], step: 0.1}}")
    assert [row.guidance for row in rows] == [3.0, 3.1, 3.2, 3.3, 3.4, 3.5, 3.6, 3.7, 3.8, 3.9, 4.0]


@given(st.integers(-(10**6), 10**6), st.integers(1, 10**4), st.integers(0, 300), st.integers(0, 6), st.booleans())
def test_a_decimal_range_is_what_decimal_arithmetic_gives(
    first: int, step: int, more: int, places: int, exclusive: bool
) -> None:
    start, by = Decimal(first).scaleb(-places), Decimal(step).scaleb(-places)
    last = start + by * more
    count = count_of(start, last, by, exclusive)
    assert count == more + (0 if exclusive else 1)
    values = [float(start + by * index) for index in range(count)]
    column = Counted(start, by, count, 1)
    assert column.take(np.arange(count)).to_pylist() == values
    assert [column.value(index) for index in range(count)] == values
    assert all(column.find(value).tolist() == [index] for index, value in enumerate(values))


FILES = {
    "t.csv": 'style,n\nnoir,1\n"pop, loud",2\nnoir,1\n',
    "t.tsv": "style\tn\nnoir\t1\npop, loud\t2\n",
    "t.jsonl": '{"style": "noir", "n": 1}\n{"style": "pop, loud", "n": 2}\n',
    "t.txt": "# styles\nnoir\n\n  pop, loud\n",
}


@pytest.mark.parametrize("name", [*FILES, "t.parquet"])
def test_values_come_from_a_column_of_any_table_or_the_lines_of_a_text(tmp_path: Path, name: str) -> None:
    table = pa.table({"style": pa.array(["noir", "pop, loud"]).dictionary_encode(), "n": pa.array([1, 2], pa.int16())})
    pq.write_table(table, tmp_path / "t.parquet")
    column = "" if name == "t.txt" else ", column: style"
    rows = rows_of(tmp_path, f"{P}axes: {{a: {{from: {name}{column}}}}}", FILES)
    assert [row.prompt for row in rows] == ["a noir", "a pop, loud"]


def test_a_column_of_the_axis_own_name_need_not_be_named(tmp_path: Path) -> None:
    rows = rows_of(
        tmp_path, "prompt: '{{ style }}'\nzip: [{style: {from: t.csv}, steps: {from: t.csv, column: n}}]", FILES
    )
    assert [(row.prompt, row.steps) for row in rows] == [("noir", 1), ("pop, loud", 2)]


TYPES = {
    "[fox, owl]": pa.string(),
    "['1', '2']": pa.string(),
    "[1, 2]": pa.int64(),
    "[1, 2.5]": pa.float64(),
    "[true, false]": pa.bool_(),
    "{range: [1, 3]}": pa.int64(),
    "{range: [1, 3], step: 0.5}": pa.float64(),
    "{from: t.csv, column: n}": pa.string(),
    "{from: t.jsonl, column: n}": pa.int64(),
}


@pytest.mark.parametrize("values", TYPES)
def test_a_variable_is_a_column_of_the_type_that_was_written(tmp_path: Path, values: str) -> None:
    sweep = sweep_of(tmp_path, f"{P}axes: {{a: {values}}}", FILES)
    assert sweep.type_of("a") == TYPES[values]


def test_a_number_stands_in_the_prompt_as_it_was_written(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, f"{P}axes: {{a: [2, 2.5, 3.0]}}")
    assert [row.prompt for row in rows] == ["a 2", "a 2.5", "a 3.0"]
    assert [own_values(row) for row in rows] == [{"a": 2.0}, {"a": 2.5}, {"a": 3.0}]


def test_a_number_and_a_text_of_its_digits_are_two_values() -> None:
    numbers, texts = Stored(pa.array([1, 2])), Stored(pa.array(["1", "2"]))
    assert numbers.find(2.0).tolist() == [1]
    assert numbers.find("2").tolist() == []
    assert texts.find(2).tolist() == []
    assert texts.find("2").tolist() == [1]
    assert numbers.find(True).tolist() == []


def test_variables_that_a_block_lacks_are_null_there(tmp_path: Path) -> None:
    text = """\
        blocks:
          - {prompt: 'a {{ a }}', axes: {a: [1]}}
          - {prompt: 'b {{ b }}', axes: {b: [x]}}
        """
    assert [own_values(row) for row in rows_of(tmp_path, text)] == [{"a": 1, "b": None}, {"a": None, "b": "x"}]


def test_a_prompt_may_speak_of_parameters(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "prompt: '{{ steps }} steps, {{ width }} wide'\naxes: {steps: [4, 8], size: [512x256]}")
    assert [row.prompt for row in rows] == ["4 steps, 512 wide", "8 steps, 512 wide"]


def test_values_are_put_in_as_they_are_never_as_syntax(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, P + 'axes: {a: ["{x|y}", "{{ b }}", "__c__", "  d  "]}')
    assert [row.prompt for row in rows] == ["a {x|y}", "a {{ b }}", "a __c__", "a   d"]
