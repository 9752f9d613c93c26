"""The header: parameters, own columns, and what looks like a mistake, with both ways out."""

from __future__ import annotations

import pytest

from fluxbatch.errors import UsageError
from fluxbatch.manifest.columns import PARAMETERS, Layout, lay_out


def laid_out(
    *headers: str, columns: dict[str, str] | None = None, own: tuple[str, ...] = (), reserved: tuple[str, ...] = ()
) -> Layout:
    return lay_out(headers, columns or {}, own, reserved)


def test_parameters_and_own_columns_are_told_apart() -> None:
    layout = laid_out("category", "prompt", "steps", "note")
    assert layout.parameters == {"prompt": 1, "steps": 2}
    assert layout.own == (0, 3)
    assert layout.troubles == ()


def test_every_parameter_is_known_by_its_own_name() -> None:
    layout = laid_out(*PARAMETERS)
    assert set(layout.parameters) == set(PARAMETERS)
    assert layout.own == layout.troubles == ()


@pytest.mark.parametrize(
    ("header", "meant"),
    [
        ("Steps", "steps"),
        (" steps", "steps"),
        ("num-inference-steps", "steps"),
        ("numInferenceSteps", "steps"),
        ("n_steps", "steps"),
        ("stesp", "steps"),
        ("guidence", "guidance"),
        ("guidance scale", "guidance"),
        ("CFG", "guidance"),
        ("w", "width"),
        ("widht", "width"),
        ("hieght", "height"),
        ("ID", "id"),
        ("Model Name", "model"),
        ("num_images", "samples"),
        ("Sample", "sample"),
        ("random_seed", "seed"),
        ("image_0", "input_image_0"),
        ("input_image", "input_image_0"),
        ("input_image3", "input_image_3"),
        ("Image 2", "input_image_2"),
        ("Negative Prompt", "negative_prompt"),
        ("neg_prompt", "negative_prompt"),
        ("denoising_strength", "strength"),
    ],
)
def test_a_misspelt_parameter_is_named_with_both_ways_out(header: str, meant: str) -> None:
    (trouble,) = laid_out("prompt", header).troubles
    assert trouble.column == header
    assert f"looks like {meant}" in trouble.problem
    option = f"{meant}={header}"
    assert f"--column '{option}'" in trouble.remedy or f"--column {option}" in trouble.remedy
    assert "--own" in trouble.remedy


@pytest.mark.parametrize("header", ["sampler", "Scheduler", "size", "input_image_4", "input_image_a"])
def test_what_no_model_takes_is_said_and_not_sent(header: str) -> None:
    (trouble,) = laid_out("prompt", header).troubles
    assert "would not be sent" in trouble.problem
    assert "--own" in trouble.remedy
    assert laid_out("prompt", header, own=(header,)).troubles == ()


@pytest.mark.parametrize(
    "header",
    ["category", "weight", "Challenge", "note", "text", "caption", "seeded_by", "idx", "lighting", "__index_level_0__"],
)
def test_an_ordinary_column_is_no_complaint(header: str) -> None:
    layout = laid_out("prompt", header)
    assert layout.troubles == ()
    assert layout.own == (1,)


def test_a_parameter_that_is_given_twice_under_two_names_is_a_complaint() -> None:
    (trouble,) = laid_out("prompt", "steps", "Steps").troubles
    assert "given already" in trouble.problem
    assert "--own Steps" in trouble.remedy


def test_a_mapped_header_is_the_parameter() -> None:
    layout = laid_out("Prompt", "Steps", columns={"prompt": "Prompt", "steps": "Steps"})
    assert layout.parameters == {"prompt": 0, "steps": 1}
    assert layout.troubles == ()
    assert layout.header("prompt") == "Prompt"
    assert layout.header("width") == "width"


def test_a_parameter_mapped_elsewhere_leaves_its_own_name_suspicious() -> None:
    layout = laid_out("prompt", "text", columns={"prompt": "text"})
    assert layout.parameters == {"prompt": 1}
    assert [trouble.column for trouble in layout.troubles] == ["prompt"]


def test_a_header_of_ones_own_is_never_a_parameter() -> None:
    layout = laid_out("prompt", "steps", own=("steps",))
    assert layout.parameters == {"prompt": 0}
    assert layout.own == (1,)
    assert layout.troubles == ()


@pytest.mark.parametrize(
    ("headers", "remedy"),
    [
        (("Prompt",), "--column prompt=Prompt"),
        (("caption", "x"), "--column prompt=caption"),
        (("My Prompt Text", "prompt text"), "--column 'prompt=prompt text'"),
        (("a", "b"), "--column prompt=HEADER"),
        (("prompt;steps",), "';'"),
    ],
)
def test_a_missing_prompt_column_is_one_complaint_with_the_way_out(headers: tuple[str, ...], remedy: str) -> None:
    (trouble,) = laid_out(*headers).troubles
    assert "no prompt column" in trouble.problem
    assert remedy in trouble.remedy


def test_a_mapping_to_a_column_that_is_not_there_names_the_near_one() -> None:
    (trouble,) = laid_out("Prompt", columns={"prompt": "Promt"}).troubles
    assert trouble.column == "Promt"
    assert "did you mean 'Prompt'" in trouble.remedy


def test_names_of_the_dataset_are_refused_for_own_columns_only() -> None:
    layout = laid_out("prompt", "key", "steps", reserved=("key", "prompt", "steps"))
    assert [trouble.column for trouble in layout.troubles] == ["key"]
    assert "rename" in layout.troubles[0].remedy
    (trouble,) = laid_out("prompt", "image", reserved=("image",)).troubles
    assert "--own" not in trouble.remedy
    (trouble,) = laid_out("prompt", "image", own=("image",), reserved=("image",)).troubles
    assert "rename" in trouble.remedy


def test_nameless_and_doubled_headers_are_complaints() -> None:
    layout = laid_out("", "prompt", "note", "note", "prompt")
    assert [trouble.column for trouble in layout.troubles] == [None, "note", "prompt"]
    assert layout.parameters == {"prompt": 1}
    assert layout.own == (2,)


@pytest.mark.parametrize(
    ("columns", "own", "why"),
    [
        ({"promt": "x"}, (), "no parameter"),
        ({"prompt": "x"}, ("x",), "--own"),
        ({"prompt": "x", "id": "x"}, (), "twice"),
    ],
)
def test_options_that_contradict_themselves_are_refused(
    columns: dict[str, str], own: tuple[str, ...], why: str
) -> None:
    with pytest.raises(UsageError, match=why):
        laid_out("x", columns=columns, own=own)


def test_a_header_of_thousands_of_columns_is_refused() -> None:
    with pytest.raises(UsageError, match="columns"):
        laid_out(*map(str, range(2001)))
