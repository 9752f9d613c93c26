"""An address asks what a question says, and a question's link asks the same again."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxbatch.view.question import PER_PAGE, Question, literal, quoted, search

# What a field of an address carries: no lone surrogate can.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def again(question: Question) -> Question:
    return Question.of(parse_qsl(question.link.partition("?")[2], keep_blank_values=True))


@st.composite
def questions(draw: st.DrawFn) -> Question:
    order = draw(TEXT)
    return Question(
        words=" ".join(draw(TEXT).replace("\0", " ").split()),
        values=tuple(draw(st.dictionaries(TEXT, TEXT.filter(bool), max_size=3)).items()),
        where=draw(TEXT).strip(),
        order=order,
        is_descending=bool(order) and draw(st.booleans()),
        across=draw(TEXT),
        down=draw(TEXT),
        per_page=draw(st.sampled_from(PER_PAGE)),
        page=draw(st.integers(1, 10**9)),
    )


@given(questions())
def test_a_link_asks_what_its_question_says(question: Question):
    assert again(question) == question


@given(st.lists(st.tuples(st.sampled_from(["q", "per", "page", "where", "way", "order", "is:", "is:x", "y"]), TEXT)))
def test_whatever_stands_in_an_address_is_a_question(fields: list[tuple[str, str]]):
    question = Question.of(fields)
    assert question.per_page in PER_PAGE
    assert question.page >= 1
    assert again(question) == question


@pytest.mark.parametrize("page", ["0", "-1", "1e3", "x", "", "99999999999999999999", "٣", "1 "])
def test_a_page_that_is_none_is_the_first(page: str):
    assert Question.of([("page", page), ("per", page)]) == Question()


def test_an_own_column_cannot_take_a_fields_place():
    question = Question.of([("is:where", "a"), ("is:page", "7"), ("is:is:q", "b")])
    assert (question.where, question.page, question.words) == ("", 1, "")
    assert question.values == (("where", "a"), ("page", "7"), ("is:q", "b"))


def test_the_pictures_of_a_cell_are_asked_for_with_all_else_as_it_was():
    grid = Question(words="fox", values=(("style", "ink"), ("size", "1x1")), across="style", down="seed", page=3)
    assert grid.cell("oil", "7") == Question(words="fox", values=(("style", "oil"), ("size", "1x1"), ("seed", "7")))


def test_a_grid_needs_two_columns():
    assert Question(across="a", down="b").is_grid
    assert not Question(across="a", down="a").is_grid
    assert not Question(across="a").is_grid


def test_text_stays_text_in_sql():
    assert literal("it's") == "'it''s'"
    assert quoted('a"b') == '"a""b"'
    assert search("x') OR (true", ["p"]).count("''") == 1
