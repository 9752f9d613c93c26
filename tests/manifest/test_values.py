"""A cell becomes the value it means, or says why it cannot."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest

from fluxbatch.manifest import values
from fluxbatch.manifest.values import Unusable
from fluxbatch.models.catalogue import FLUX_2_DEV


def test_a_part_of_a_models_name_is_asked_about() -> None:
    with pytest.raises(Unusable) as caught:
        values.model("klein-4b")
    assert "did you mean flux-2-klein-4b? There is: flux-2-dev (" in caught.value.remedy
    with pytest.raises(Unusable) as caught:
        values.model("flux-9")
    assert "take one of: flux-2-dev (" in caught.value.remedy


@pytest.mark.parametrize("silent", [None, "", "  ", "nan", "NaN", float("nan"), Decimal("NaN")])
def test_a_silent_number_is_not_given(silent: object) -> None:
    assert values.whole_number(silent) is None
    if not isinstance(silent, Decimal):
        assert values.number(silent) is None


@pytest.mark.parametrize(
    ("cell", "meant"),
    [
        (1024, 1024),
        ("1024", 1024),
        (" 1024 ", 1024),
        ("1024.0", 1024),
        ("1024.", 1024),
        (1024.0, 1024),
        (Decimal("1024.00"), 1024),
        ("-3", -3),
        ("+7", 7),
        ("9223372036854775807", 2**63 - 1),
        (2**80, 2**80),
    ],
)
def test_a_whole_number_is_read_however_it_is_written(cell: object, meant: int) -> None:
    assert values.whole_number(cell) == meant
    assert type(values.whole_number(cell)) is int


@pytest.mark.parametrize(
    "cell",
    [
        True,
        False,
        "1024.5",
        1024.5,
        "1e3",
        "1_000",
        "\u0661\u0660",
        "0x10",
        "many",
        math.inf,
        Decimal("Infinity"),
        [1],
        "9" * 5000,
    ],
)
def test_what_is_no_whole_number_is_refused(cell: object) -> None:
    with pytest.raises(Unusable, match="no whole number"):
        values.whole_number(cell)


def test_a_float_that_has_lost_digits_is_refused_as_seed() -> None:
    with pytest.raises(Unusable, match="too large to be exact"):
        values.whole_number(1.2345678901234567e18)


@pytest.mark.parametrize(
    ("cell", "meant"), [(3, 3.0), ("3.5", 3.5), (3.5, 3.5), (Decimal("3.5"), 3.5), ("1e1", 10.0), (".5", 0.5)]
)
def test_a_number_is_a_float_however_it_is_written(cell: object, meant: float) -> None:
    assert values.number(cell) == meant
    assert type(values.number(cell)) is float


def test_minus_zero_asks_for_the_same_as_zero() -> None:
    assert [str(values.number(cell)) for cell in (-0.0, "-0", 0)] == ["0.0"] * 3


@pytest.mark.parametrize("cell", [True, "inf", "-Infinity", math.inf, "1e999", 10**400, "3,5", "high", {}])
def test_what_is_no_finite_number_is_refused(cell: object) -> None:
    with pytest.raises(Unusable, match="no finite number"):
        values.number(cell)


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        (None, "empty"),
        ("", "empty"),
        (" \t\n", "blank"),
        ("\u3000", "blank"),
        (7, "no text"),
        (b"a fox", "no text"),
        ({"scene": "a fox"}, "write a JSON prompt as a text"),
        ("a\0fox", "NUL"),
        ("a \ud800 fox", "half of a character"),
        ("x" * 100_001, "100001 characters"),
    ],
)
def test_a_prompt_that_would_be_paid_for_nothing_is_refused(cell: object, why: str) -> None:
    with pytest.raises(Unusable, match=why):
        values.prompt(cell)


@pytest.mark.parametrize("text", ['  "G I G G L E" painted ', "a\nfox", '{"scene": "a fox"}', "雪の中の狐 🦊"])
def test_a_prompt_is_kept_to_the_character(text: str) -> None:
    assert values.prompt(text) == text


@pytest.mark.parametrize(
    ("cell", "meant"), [("a-1", "a-1"), (7, "7"), (7.0, "7"), ("", None), (None, None), (math.nan, None)]
)
def test_an_id_is_text(cell: object, meant: str | None) -> None:
    assert values.identifier(cell) == meant


@pytest.mark.parametrize("cell", [True, 7.5, b"7", ["7"], "a\0b", "x" * 1001])
def test_what_is_no_id_is_refused(cell: object) -> None:
    with pytest.raises(Unusable):
        values.identifier(cell)


@pytest.mark.parametrize("name", ["flux-2-dev", FLUX_2_DEV.id, " flux-2-dev "])
def test_a_model_is_known_by_both_names(name: str) -> None:
    assert values.model(name) is FLUX_2_DEV


@pytest.mark.parametrize("cell", ["flux", 2, "FLUX-2-DEV"])
def test_an_unknown_model_is_answered_with_the_known(cell: object) -> None:
    with pytest.raises(Unusable, match="flux-2-dev \\(@cf/black-forest-labs/flux-2-dev\\)"):
        values.model(cell)


@pytest.mark.parametrize(
    ("cell", "meant"),
    [
        ("a.png", "a.png"),
        (b"PNG", b"PNG"),
        ({"bytes": b"PNG", "path": "a.png"}, b"PNG"),
        ({"bytes": None, "path": "a.png"}, "a.png"),
        ({"bytes": None, "path": None}, None),
        ("", None),
        (None, None),
        (math.nan, None),
    ],
)
def test_a_picture_is_a_path_or_bytes_or_a_struct_of_both(cell: object, meant: object) -> None:
    assert values.image_source(cell) == meant


@pytest.mark.parametrize("cell", [7, ["a.png"], {"url": "a.png"}, "a\0.png"])
def test_what_is_no_picture_is_refused(cell: object) -> None:
    with pytest.raises(Unusable):
        values.image_source(cell)


def test_a_long_value_is_shown_short() -> None:
    assert len(values.shown("x" * 1000)) == 60
    assert values.shown(b"x" * 1000) == "1000 bytes"
