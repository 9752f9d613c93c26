"""A condition from outside is one expression over the columns there are; whatever else it would be is said."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.errors import UsageError
from fluxbatch.query import Rows
from fluxbatch.query.conditions import condition
from fluxbatch.query.duck import opened
from fluxbatch.query.names import Names
from tests.query.query_kit import dataset_of, values
from tests.soak import soak

STRANGE = (
    'say "x"', "SELECT", "Ünicode ☃", "a\0b", "a", "A", "row at", "the rows", "; DROP TABLE x; --", "column_3",
    "rowid", " ", "x.y", "image.bytes", "Prompt",
)  # fmt: skip


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    own = pa.table({"meta": ['{"a": "b"}'] * 2, "box": [{"x": 1}] * 2})
    return Rows(dataset_of(tmp_path_factory.mktemp("rows") / "set", (2,), own=own))


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("", "is empty"),
        ("  \n", "is empty"),
        ("row >", "cannot be read: syntax error"),
        ("true; DROP TABLE x", "cannot be read"),
        ("true); SELECT (1", "more than one statement"),
        ("true) UNION ALL SELECT (1", "is not one condition"),
        ("true) ORDER BY (row", "is not one condition"),
        ("true) GROUP BY (row", "is not one condition"),
        ("true) LIMIT (1", "is not one condition"),
        ("true) HAVING (true", "is not one condition"),
        ("row IN (SELECT 1)", "a subquery has no place"),
        ("EXISTS (FROM read_text('/etc/passwd'))", "a subquery has no place"),
        ("row_number() OVER () = 1", "a window function .* has no place"),
        ("COLUMNS(*) IS NULL", "a star or COLUMNS"),
        ("row = ?", "a parameter"),
        ("row = $1", "a parameter"),
        ("row = #1", "has no place"),
        ("count(*) > 1", r"count_star\(\) is over many rows"),
        ("random() < 0.5", r"random\(\) says something else each time"),
        ("created_at > now()", r"now\(\) says something else"),
        ("age(created_at) > INTERVAL 1 DAY", r"age\(\) says something else"),
        ("current_setting('threads') = '1'", "says something else"),
        ("pg_sleep(9)", "says something else"),
        ("prompt.upper() = 'A'", r"write upper\(…\) instead of ….upper\(\)"),
        ('format = "jpeg"', "no column 'jpeg'.*text stands in single quotes.*columns: prompt"),
        ("promt = 'a' AND sed = 1", r"'promt' \(did you mean 'prompt'\?\); there is no column 'sed'"),
        ("rows.row = 1", "no column 'rows'"),
        ("row", "is no condition, but BIGINT"),
        ("no_such_function(row)", "no_such_function"),
        ("box.z = 1", "z"),
        ("CAST(prompt AS no_such_type) = 1", "no_such_type"),
        ("true, false", "is no condition"),
        ("a\0b", "has NUL"),
        ("true OR " * 5000 + "true", "20,000 characters"),
        ("NOT " * 900 + "true", "depth"),
    ],
)
def test_what_is_no_condition_is_said_before_a_row_is_read(rows: Rows, where: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"(?s){said}"):
        rows.check(where)


@pytest.mark.parametrize("order", ["row; DROP TABLE x", "row LIMIT 1", "(SELECT 1)", "", "random()", "sed", "ALL"])
def test_what_is_no_order_is_said(rows: Rows, order: str) -> None:
    with pytest.raises(UsageError):
        rows.check(order_by=order)


def test_a_value_that_does_not_convert_is_said(rows: Rows) -> None:
    with pytest.raises(UsageError, match=r"condition.*Could not convert string 'x'"):
        values(rows, "row", where="row = 'x'")
    with pytest.raises(UsageError, match=r"condition.*Could not convert string 'picture 1'"):
        values(rows, "row", where="CAST(prompt AS INTEGER) = 1")


def test_json_is_looked_into_with_an_arrow(rows: Rows) -> None:
    assert values(rows, "row", where="(meta ->> '$.a') = 'b'") == [1, 2]
    assert values(rows, "row", where="(meta -> '$.a') = '\"b\"'") == [1, 2]


def test_columns_of_any_name_can_be_asked(tmp_path: Path) -> None:
    own = pa.table({name: [number, number + 100] for number, name in enumerate(STRANGE)})
    rows = Rows(dataset_of(tmp_path / "set", (2,), own=own))
    for number, name in enumerate(STRANGE):
        if "\0" not in name:  # no SQL can write it
            quoted = '"' + name.replace('"', '""') + '"'
            assert values(rows, name, where=f"{quoted} > 99") == [number + 100]
            assert values(rows, "row", order_by=f"{quoted} DESC") == [2, 1]
        assert values(rows, name) == [number, number + 100]
    with pytest.raises(UsageError, match="'PROMPT' may be any of 'prompt', 'Prompt'"):
        rows.check("PROMPT = 'x'")


def test_nothing_of_this_machine_can_be_read_by_a_condition(tmp_path: Path) -> None:
    duck = opened()
    secret = tmp_path / "secret.csv"
    secret.write_text("a\nsecret\n")
    for sql in (f"FROM '{secret}'", f"FROM read_text('{secret}')", f"ATTACH '{tmp_path}/x.db'", "INSTALL httpfs",
                "SET enable_external_access=true", f"COPY (SELECT 1) TO '{tmp_path}/out.csv'"):  # fmt: skip
        with pytest.raises(Exception, match=r"(?i)permission|cannot|disabled|locked"):
            duck.execute(sql).fetchall()
    assert [path.name for path in tmp_path.iterdir()] == ["secret.csv"]


@pytest.fixture(scope="module")
def small() -> Dataset:
    return dataset_of(Path(tempfile.mkdtemp()) / "set", (2,))


@settings(max_examples=soak(80, 5_000), deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["true", "false", "row", "prompt", "(", ")", "1", "'a'", " ", "\n", "--", "/*", "*/", ";", ",", "=", "AND",
             "OR", "NOT", "SELECT", "FROM", "UNION", "WHERE", "LIMIT", "ORDER BY", "IN", "::", "->", "[", "]", '"', "."]
        ),
        max_size=9,
    )
)  # fmt: skip
def test_whatever_is_written_the_rows_come_back_whole_or_it_is_said(small: Dataset, pieces: list[str]) -> None:
    rows = Rows(small)
    try:
        found = values(rows, "row", "key", where=" ".join(pieces))
    except UsageError:
        return
    assert set(found) <= set(values(rows, "row", "key"))
    assert len(found) == len(set(found))


def test_the_sql_is_written_anew_over_aliases() -> None:
    found = condition(opened(), "a = 1 OR \"x y\" = 'it''s' /* no */", Names(("A", "x y", "other")))
    assert (found.sql, found.columns) == ("((column_0 = 1) OR (column_1 = 'it''s'))", ("A", "x y"))
