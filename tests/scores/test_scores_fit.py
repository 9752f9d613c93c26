"""Pictures made fit for a model, as Hugging Face's CLIPImageProcessor does it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image  # noqa: TID251 - tests paint their own pictures

from fluxbatch.errors import UsageError
from fluxbatch.scores.fit import Fit
from tests.dataset.dataset_kit import pixels
from tests.scores.scores_kit import PREPROCESSOR


def fit(tmp_path: Path, **changed: object) -> Fit:
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps({**PREPROCESSOR, **changed}))
    return Fit.read(path)


@pytest.mark.parametrize("size", [(64, 48), (48, 64), (33, 33)])
def test_scaled_to_the_shorter_side_cut_in_the_middle_and_normalised(tmp_path: Path, size: tuple[int, int]) -> None:
    image = pixels(*size)
    found = fit(tmp_path).one(np.asarray(image))
    scale = 8 / min(size)
    small = image.resize((int(size[0] * scale), int(size[1] * scale)), Image.Resampling.BICUBIC)
    left, top = (small.width - 8) // 2, (small.height - 8) // 2
    cut = np.asarray(small.crop((left, top, left + 8, top + 8)), np.float64) / 255
    wanted = ((cut - [0.5, 0.25, 0.0]) / [0.5, 0.5, 1.0]).transpose(2, 0, 1)
    assert found.shape == (3, 8, 8)
    assert found == pytest.approx(wanted, abs=1e-5)


def test_older_files_say_the_size_as_one_number(tmp_path: Path) -> None:
    picture = np.asarray(pixels(64, 48))
    assert (fit(tmp_path, size=8, crop_size=8).one(picture) == fit(tmp_path).one(picture)).all()


def test_a_height_and_a_width_are_taken_whatever_the_shape(tmp_path: Path) -> None:
    found = fit(tmp_path, size={"height": 6, "width": 10}, do_center_crop=False).one(np.asarray(pixels(64, 48)))
    assert found.shape == (3, 6, 10)


def test_what_is_smaller_than_the_cut_has_black_around_it(tmp_path: Path) -> None:
    found = fit(tmp_path, do_resize=False, do_normalize=False).one(np.full((4, 6, 3), 255, np.uint8))
    assert found.shape == (3, 8, 8)
    assert found.sum() == pytest.approx(3 * 4 * 6)
    assert found[:, 2:6, 1:7] == pytest.approx(np.ones((3, 4, 6)))


def test_a_very_long_picture_does_not_grow_without_a_bound(tmp_path: Path) -> None:
    assert fit(tmp_path, size={"shortest_edge": 224}).one(np.zeros((1, 2000, 3), np.uint8)).shape == (3, 8, 8)


@pytest.mark.parametrize(
    "changed",
    [
        {"size": {"shortest_edge": 0}},
        {"size": {"shortest_edge": 10**9}},
        {"size": "large"},
        {"crop_size": {"height": "8", "width": 8}},
        {"image_mean": [1, 2]},
        {"resample": 77},
        {"do_center_crop": False},
        {"image_std": None},
    ],
)
def test_what_cannot_be_understood_is_one_complaint(tmp_path: Path, changed: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="is no preprocessor file that is understood"):
        fit(tmp_path, **changed)
