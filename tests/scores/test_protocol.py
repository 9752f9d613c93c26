"""What a scorer of one's own has to keep to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from fluxbatch.errors import UsageError
from fluxbatch.scores import Scorer
from fluxbatch.scores.protocol import check_scorer, scores
from tests.checks.check_kit import Reds
from tests.scores.scores_kit import sheet

PICTURES = [sheet(1, 2, 3), sheet(4, 5, 6)]


def giving(found: Mapping[str, Sequence[Any]], **columns: type) -> Reds:
    reds = Reds(columns=columns or {"red": float})
    reds.score = lambda pictures: found  # type: ignore[method-assign, assignment, return-value]
    return reds


def test_the_kits_scorer_is_one_and_so_it_is_said() -> None:
    scorer: Scorer = Reds()
    assert isinstance(scorer, Scorer)
    check_scorer(scorer, "mine:Reds")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({}, "gave the columns none, not red"),
        ({"red": [1, 2], "blue": [1, 2]}, "gave the columns blue, red, not red"),
        ({"red": [1]}, "gave 1 values of red for 2 pictures"),
        ({"red": ["a", "b"]}, "gave values of red that are no double"),
        ({"red": [[1], [2]]}, "gave values of red that are no double"),
    ],
)
def test_what_it_gives_is_held_against_what_it_says(found: dict[str, list[object]], said: str) -> None:
    with pytest.raises(UsageError, match=f"the scorer reds {said}"):
        scores(giving(found), PICTURES)


def test_numbers_of_numpy_are_taken_and_those_that_are_none_are_null() -> None:
    found = {
        "a": np.array([1.5, np.inf], np.float32),
        "b": np.array([3, 4], np.int32),
        "c": ["x\x1b[31m", None],
        "d": np.array([True, False]),
    }
    arrays = scores(giving(found, a=float, b=int, c=str, d=bool), PICTURES)
    assert [array.to_pylist() for array in arrays] == [[1.5, None], [3, 4], ["x\x1b[31m", None], [True, False]]


def test_of_no_pictures_nothing_is_asked() -> None:
    assert [len(array) for array in scores(giving({}), [])] == [0]
