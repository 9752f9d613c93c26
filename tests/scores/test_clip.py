"""The scorers of ours on tiny models, against the same sums made by hand."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fluxbatch.errors import UsageError
from fluxbatch.scores.clip import Aesthetic, Clip
from tests.scores.scores_kit import HEAD, HEAD_BIAS, cosine, export, said, sheet, shown

PICTURES = [
    sheet(250, 10, 10, "red"),
    sheet(10, 250, 10, "blue green"),
    sheet(10, 10, 250, "red red cat"),
    sheet(200, 200, 30, "red green blue cat dog house tree"),  # more than the model reads
]


@pytest.mark.parametrize("together", [False, True])
def test_the_score_is_a_hundred_times_the_cosine_and_never_below_zero(tmp_path: Path, together: bool) -> None:
    clip = Clip(export(tmp_path / "clip", together=together))
    found = clip.score(PICTURES)["clip_score"]
    cosines = [cosine(shown(picture), said(picture.prompt)) for picture in PICTURES]
    assert found == pytest.approx([100 * max(one, 0) for one in cosines], abs=1e-3)
    assert min(cosines) < 0 < max(found)
    assert min(found) == 0


def test_a_text_model_without_a_mask_is_fed_what_it_asks_for(tmp_path: Path) -> None:
    clip = Clip(export(tmp_path / "clip", masked=False))
    [found] = clip.score(PICTURES[:1])["clip_score"]
    assert found == pytest.approx(100 * cosine(shown(PICTURES[0]), said("red")), abs=1e-3)


@pytest.mark.parametrize("together", [False, True])
def test_the_aesthetic_score_is_the_head_over_the_normed_embedding(tmp_path: Path, together: bool) -> None:
    aesthetic = Aesthetic(export(tmp_path / "laion", together=together, head=True))
    found = aesthetic.score(PICTURES)["aesthetic_score"]
    by_hand = [(HEAD @ (shown(one) / np.linalg.norm(shown(one)))).item() + HEAD_BIAS for one in PICTURES]
    assert found == pytest.approx(by_hand, abs=1e-3)


def test_the_identity_is_that_of_the_files_wherever_they_lie(tmp_path: Path) -> None:
    here = export(tmp_path / "here")
    there = shutil.copytree(here, tmp_path / "there")
    assert Clip(here).identity == Clip(there).identity
    config = json.loads((there / "preprocessor_config.json").read_text())
    (there / "preprocessor_config.json").write_text(json.dumps({**config, "resample": 2}))
    assert Clip(here).identity != Clip(there).identity


def test_every_missing_file_is_named(tmp_path: Path) -> None:
    folder = export(tmp_path / "clip")
    for name in ("text_model.onnx", "tokenizer.json"):
        (folder / name).unlink()
    with pytest.raises(UsageError, match=r"has no text_model\.onnx, no tokenizer\.json; .*optimum-cli export onnx"):
        Clip(folder)
    with pytest.raises(UsageError, match=r"has no aesthetic\.onnx \(.*LAION"):
        Aesthetic(folder)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("vision_model.onnx", b"no model", "vision_model.onnx"),
        ("tokenizer.json", b"{}", "is no tokenizer"),
        ("preprocessor_config.json", b"[", "is no preprocessor file"),
        ("preprocessor_config.json", b'{"size": 8, "crop_size": 8}', "KeyError: 'image_mean'"),
    ],
)
def test_a_file_that_is_none_is_named(tmp_path: Path, file: str, content: bytes, said: str) -> None:
    folder = export(tmp_path / "clip")
    (folder / file).write_bytes(content)
    with pytest.raises(UsageError, match=file) as caught:
        Clip(folder)
    assert said in str(caught.value)


def test_a_model_without_the_output_is_said_with_those_it_has(tmp_path: Path) -> None:
    folder = export(tmp_path / "clip")
    shutil.copy(folder / "text_model.onnx", folder / "vision_model.onnx")
    with pytest.raises(UsageError, match=r"has no output image_embeds.* it has the outputs text_embeds"):
        Clip(folder).score(PICTURES)


def test_a_tokenizer_with_more_words_than_the_model_is_a_complaint_and_no_traceback(tmp_path: Path) -> None:
    folder = export(tmp_path / "clip")
    text = (folder / "tokenizer.json").read_text().replace('"red": 2', '"red": 99').replace('"red":2', '"red":99')
    (folder / "tokenizer.json").write_text(text)
    with pytest.raises(UsageError, match=r"text_model\.onnx cannot be run on what it is given"):
        Clip(folder).score(PICTURES[:1])


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from fluxbatch.scores.load import scorer_of\n"
        "from fluxbatch.errors import UsageError\n"
        "try: scorer_of(sys.argv[1])\n"
        "except UsageError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, f"clip={tmp_path}"], capture_output=True, text=True, check=True)
    assert "needs onnxruntime, which is not installed: pip install 'fluxbatch[score]'" in done.stdout
