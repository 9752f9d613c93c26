"""Rows of every model: its own defaults, its ranges, and what it does not take: refused, never silently sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from manifest_kit import asked, opened, picture, rejected, written

from fluxbatch.errors import UsageError
from fluxbatch.manifest.reader import Defaults
from fluxbatch.models.catalogue import (
    FLUX_1_SCHNELL,
    FLUX_2_KLEIN_4B,
    LUCID_ORIGIN,
    MODELS,
    PHOENIX_1_0,
    SDXL_BASE_1_0,
    Model,
)

EMPTY = dict.fromkeys(("width", "height", "steps", "guidance", "seed", "negative_prompt", "strength"), "")


def one_row(folder: Path, model: Model, defaults: Defaults | None = None, **given: object) -> object:
    (folder / "lamp.png").write_bytes(picture(64, 64))
    values = {"prompt": "a lighthouse", "model": model.name, **EMPTY, "input_image_0": "", **given}
    text = "\t".join(values) + "\n" + "\t".join(str(value) for value in values.values()) + "\n"
    return opened(written(folder, "rows.tsv", text), defaults=defaults or Defaults())


def complaints(manifest: object) -> list[tuple[str | None, str]]:
    (row,) = rejected(manifest)  # type: ignore[arg-type]
    return [(one.column, f"{one.problem}; {one.remedy}") for one in row.complaints]


# Size, steps, guidance, prompt length, references: section 1 of CLOUDFLARE.md, by hand.
SILENT = {
    "flux-2-dev": (1024, 1024, 25),
    "flux-2-klein-4b": (1024, 1024, 4),
    "flux-2-klein-9b": (1024, 1024, 4),
    "flux-1-schnell": (1024, 1024, 4),
    "lucid-origin": (1120, 1120, 15),
    "phoenix-1.0": (1024, 1024, 25),
    "stable-diffusion-xl-lightning": (1024, 1024, 20),
    "stable-diffusion-xl-base-1.0": (1024, 1024, 20),
    "dreamshaper-8-lcm": (512, 512, 20),
}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_silent_row_gets_the_models_own_values(tmp_path: Path, model: Model) -> None:
    (request,) = asked(one_row(tmp_path, model))  # type: ignore[arg-type]
    assert (request.width, request.height, request.steps) == SILENT[model.name]
    assert (request.guidance, request.seed, request.negative_prompt, request.strength) == (None,) * 4


REFUSED = [
    ("flux-2-klein-4b", {"steps": 8}, "steps", "steps is always 4 with flux-2-klein-4b: 8 would be ignored"),
    ("flux-2-klein-9b", {"steps": 25}, "steps", "always 4"),
    ("flux-2-klein-4b", {"width": 2064}, "width", "take 256 to 2048, in multiples of 16"),
    ("flux-1-schnell", {"width": 512}, "width", "always 1024"),
    ("flux-1-schnell", {"height": 768}, "height", "always 1024"),
    ("flux-1-schnell", {"guidance": 3}, "guidance", "takes no guidance"),
    ("flux-1-schnell", {"seed": 7}, "seed", "takes no seed"),
    ("flux-1-schnell", {"steps": 9}, "steps", "take 1 to 8"),
    ("flux-1-schnell", {"prompt": "x" * 2049}, "prompt", "2049 characters; flux-1-schnell takes 2048"),
    ("flux-1-schnell", {"input_image_0": "lamp.png"}, "input_image_0", "takes no references"),
    ("flux-2-dev", {"negative_prompt": "fog"}, "negative_prompt", "flux-2-dev takes no negative prompt"),
    ("flux-2-dev", {"strength": 0.5, "input_image_0": "lamp.png"}, "strength", "takes no strength"),
    ("flux-2-klein-4b", {"negative_prompt": "fog"}, "negative_prompt", "takes no negative prompt"),
    ("lucid-origin", {"negative_prompt": "fog"}, "negative_prompt", "takes no negative prompt"),
    ("lucid-origin", {"width": 2501}, "width", "take 256 to 2500"),
    ("lucid-origin", {"steps": 41}, "steps", "take 1 to 40"),
    ("lucid-origin", {"guidance": 10.5}, "guidance", "take 0 to 10"),
    ("lucid-origin", {"input_image_0": "lamp.png"}, "input_image_0", "takes no references"),
    ("phoenix-1.0", {"height": 2049}, "height", "take 256 to 2048"),
    ("phoenix-1.0", {"steps": 51}, "steps", "take 1 to 50"),
    ("phoenix-1.0", {"guidance": 1.9}, "guidance", "take 2 to 10"),
    ("stable-diffusion-xl-base-1.0", {"width": 255}, "width", "take 256 to 2048"),
    ("stable-diffusion-xl-lightning", {"steps": 21}, "steps", "take 1 to 20"),
    ("dreamshaper-8-lcm", {"strength": 1.5, "input_image_0": "lamp.png"}, "strength", "take 0 to 1"),
    ("stable-diffusion-xl-base-1.0", {"strength": 0.5}, "strength", "there is none"),
]


@pytest.mark.parametrize(("name", "given", "column", "said"), REFUSED)
def test_what_a_model_does_not_take_is_refused_with_the_reason(
    tmp_path: Path, name: str, given: dict[str, object], column: str, said: str
) -> None:
    model = next(model for model in MODELS if model.name == name)
    ((where, text),) = complaints(one_row(tmp_path, model, **given))
    assert where == column
    assert said in text


TAKEN = [
    ("flux-2-klein-4b", {"steps": 4, "width": 2048, "guidance": 3.5, "seed": 7, "input_image_0": "lamp.png"}),
    ("flux-1-schnell", {"steps": 8, "width": 1024, "height": 1024, "prompt": "x" * 2048}),
    ("lucid-origin", {"width": 2500, "height": 257, "steps": 40, "guidance": 0, "seed": 7}),
    ("phoenix-1.0", {"width": 2048, "steps": 50, "guidance": 10, "seed": 7, "negative_prompt": "fog"}),
    (
        "stable-diffusion-xl-base-1.0",
        {"width": 2048, "steps": 20, "negative_prompt": "fog", "input_image_0": "lamp.png", "strength": 0.5},
    ),
]


@pytest.mark.parametrize(("name", "given"), TAKEN)
def test_what_a_model_takes_is_asked_as_it_is_written(tmp_path: Path, name: str, given: dict[str, object]) -> None:
    model = next(model for model in MODELS if model.name == name)
    (request,) = asked(one_row(tmp_path, model, **given))  # type: ignore[arg-type]
    images = [name for name in given if name.startswith("input_image")]
    assert len(request.references) == len(images)
    assert {name: getattr(request, name) for name in given if name not in images} == {
        name: value for name, value in given.items() if name not in images
    }


def test_all_that_is_wrong_with_a_row_is_said_at_once(tmp_path: Path) -> None:
    given = {"width": 512, "steps": 9, "guidance": 3, "seed": 7, "negative_prompt": "fog", "input_image_0": "gone.png"}
    columns = [column for column, _ in complaints(one_row(tmp_path, FLUX_1_SCHNELL, **given))]
    assert sorted(map(str, columns)) == sorted(given)


def test_an_option_stands_for_the_silent_rows_whose_model_takes_it(tmp_path: Path) -> None:
    text = "prompt,model,steps\na,flux-2-dev,\nb,flux-2-klein-4b,\nc,flux-1-schnell,3\nd,lucid-origin,\n"
    defaults = Defaults(width=512, height=768, steps=6, guidance=3)
    rows = asked(opened(written(tmp_path, "rows.csv", text), defaults=defaults))
    assert [(row.width, row.height, row.steps, row.guidance) for row in rows] == [
        (512, 768, 6, 3),
        (512, 768, 4, 3),
        (1024, 1024, 3, None),
        (512, 768, 6, 3),
    ]


def test_an_option_out_of_a_rows_range_is_a_complaint_that_names_the_option(tmp_path: Path) -> None:
    ((column, text),) = complaints(one_row(tmp_path, FLUX_1_SCHNELL, Defaults(steps=25)))
    assert column == "steps"
    assert "--steps stands for it" in text
    assert "take 1 to 8" in text


@pytest.mark.parametrize(
    ("defaults", "said"),
    [
        (Defaults(FLUX_2_KLEIN_4B, steps=25), "--steps: steps is always 4 with flux-2-klein-4b"),
        (Defaults(FLUX_1_SCHNELL, width=512, guidance=3), "--guidance: flux-1-schnell takes no guidance"),
        (Defaults(FLUX_1_SCHNELL, width=512, guidance=3), "--width: width is always 1024"),
        (Defaults(LUCID_ORIGIN, guidance=11), "--guidance: guidance 11 is out of range"),
        (Defaults(SDXL_BASE_1_0, steps=25), "--steps: 25 steps are out of range"),
    ],
)
def test_an_option_that_no_row_can_take_is_an_error_before_any_row(
    tmp_path: Path, defaults: Defaults, said: str
) -> None:
    path = written(tmp_path, "rows.csv", "prompt\na\n")
    with pytest.raises(UsageError, match=said):
        opened(path, defaults=defaults)


def test_with_a_model_column_the_same_option_may_be_meant_for_other_rows(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.csv", "prompt,model\na,flux-2-dev\n")
    (row,) = asked(opened(path, defaults=Defaults(FLUX_2_KLEIN_4B, steps=30)))
    assert row.steps == 30


def test_a_blank_negative_prompt_is_none(tmp_path: Path) -> None:
    (row,) = asked(one_row(tmp_path, PHOENIX_1_0, negative_prompt="  "))  # type: ignore[arg-type]
    assert row.negative_prompt is None
