"""Names of ours that SQL keeps for itself."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from fluxbatch.dataset.record import RESERVED
from fluxbatch.errors import UsageError
from fluxbatch.query import Rows
from fluxbatch.query.words import OURS, with_our_names
from tests.query.query_kit import dataset_of, values


def test_these_are_all_of_our_columns_that_sql_keeps_for_itself() -> None:
    kept = duckdb.sql("SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category = 'reserved'").fetchall()
    assert {word for (word,) in kept} & RESERVED == set(OURS)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("check = 'ok'", "\"check\" = 'ok'"),
        ("CHECK='a check' and (check is null)", '"CHECK"=\'a check\' and ("check" is null)'),
        ("len(references)>0", 'len("references")>0'),
        ("prompt = 'it''s a check' -- check", "prompt = 'it''s a check' -- check"),
        ('"check" = $$check$$ /* check */', '"check" = $$check$$ /* check */'),
        ("$a$ check $$ check $a$ = check", '$a$ check $$ check $a$ = "check"'),
        ("checked or recheck or my_check or check2", "checked or recheck or my_check or check2"),
        ("x.check = 1", "x.check = 1"),
        (r"prompt = E'it\'s a check' OR check = ''", r"""prompt = E'it\'s a check' OR "check" = ''"""),
        ("check", '"check"'),
    ],
)
def test_they_are_quoted_where_they_are_code_and_left_where_they_are_not(written: str, read: str) -> None:
    assert with_our_names(written) == read


def test_conditions_and_orders_may_name_them(tmp_path: Path) -> None:
    rows = Rows(dataset_of(tmp_path / "d", parts=(2, 1)))
    assert rows.count("check = 'ok' AND sharpness > 0 AND len(references) = 0") == 3
    assert rows.count("check IN ('blank', 'solid')") == 0
    assert values(rows, "row", where="Check = 'ok'", order_by="check, row DESC") == [3, 2, 1]


@pytest.mark.parametrize("written", ["'check", "check check", "prompt = 'a\" check", "$$ check", "/* check"])
def test_what_cannot_be_read_stays_a_complaint(tmp_path: Path, written: str) -> None:
    with pytest.raises(UsageError, match="the condition"):
        Rows(dataset_of(tmp_path / "d", parts=(1,))).count(written)
