"""CLIP score and LAION's aesthetic score, from ONNX files in a folder. Needs the extra `score`.

The folder is what `optimum-cli export onnx --model openai/clip-vit-base-patch32 FOLDER` writes:

    model.onnx                  both encoders in one; or each by itself: vision_model.onnx and text_model.onnx
    preprocessor_config.json    how a picture is made fit for the model
    tokenizer.json              how a prompt is (not needed for the aesthetic score)

For the aesthetic score there is one file more, `aesthetic.onnx`: LAION's linear head (github.com/LAION-AI/
aesthetic-predictor, a `torch.nn.Linear(512, 1)` for ViT-B/32), exported with `torch.onnx.export`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fluxbatch.errors import UsageError
from fluxbatch.scores.fit import Fit
from fluxbatch.scores.onnx import Network
from fluxbatch.scores.protocol import Scored
from fluxbatch.scores.texts import Texts

Vectors = npt.NDArray[np.float32]

_BOTH, _VISION, _TEXT, _HEAD = "model.onnx", "vision_model.onnx", "text_model.onnx", "aesthetic.onnx"
_PREPROCESSOR, _TOKENIZER = "preprocessor_config.json", "tokenizer.json"


class Clip:
    """How well a picture fits its prompt: 100 * max(cos(picture, prompt), 0), of CLIP's embeddings.

    CLIPScore (Hessel et al., "CLIPScore: A Reference-free Evaluation Metric for Image Captioning", EMNLP 2021) with
    100 in place of its factor 2.5, as torchmetrics has it. Fitting prompts are mostly between 25 and 35 with ViT-B/32.
    Only the first 77 tokens of a prompt count: CLIP reads no more.
    """

    name = "clip"
    columns: Mapping[str, type] = {"clip_score": float}

    def __init__(self, folder: Path) -> None:
        """UsageError names every file that is missing, and what is odd about the others."""
        vision, text = _encoders(folder)
        _require(folder, vision, text, _PREPROCESSOR, _TOKENIZER)
        self._fit = Fit.read(folder / _PREPROCESSOR)
        self._texts = Texts(folder / _TOKENIZER)
        self._vision = Network(folder / vision)
        self._text = self._vision if text == vision else Network(folder / text)
        self.identity = _identity("CLIP score", folder, vision, text, _PREPROCESSOR, _TOKENIZER)

    def score(self, pictures: Sequence[Scored]) -> dict[str, list[float]]:
        pixels = {"pixel_values": self._fit.all(picture.pixels for picture in pictures)}
        tokens = self._texts.tokens([picture.prompt for picture in pictures])
        if self._text is self._vision:
            shown, said = self._vision.run(["image_embeds", "text_embeds"], {**pixels, **tokens})
        else:
            (shown,), (said,) = self._vision.run(["image_embeds"], pixels), self._text.run(["text_embeds"], tokens)
        cosines = (_normed(shown) * _normed(said)).sum(axis=1)
        return {"clip_score": (100.0 * np.maximum(cosines, 0.0)).tolist()}


class Aesthetic:
    """How well people would like a picture, about 1 to 10: LAION's linear head over CLIP's embedding of the picture
    (Schuhmann et al., "LAION-5B", NeurIPS 2022, section on LAION-Aesthetics). Most pictures are between 4 and 7."""

    name = "aesthetic"
    columns: Mapping[str, type] = {"aesthetic_score": float}

    def __init__(self, folder: Path) -> None:
        """UsageError names every file that is missing, and what is odd about the others."""
        vision, _ = _encoders(folder)
        _require(folder, vision, _HEAD, _PREPROCESSOR)
        self._fit = Fit.read(folder / _PREPROCESSOR)
        self._vision = Network(folder / vision)
        self._head = Network(folder / _HEAD)
        self.identity = _identity("aesthetic score", folder, vision, _HEAD, _PREPROCESSOR)

    def score(self, pictures: Sequence[Scored]) -> dict[str, list[float]]:
        pixels = {"pixel_values": self._fit.all(picture.pixels for picture in pictures)}
        (shown,) = self._vision.run(["image_embeds"], pixels | self._vision.blanks(pixels, len(pictures)))
        (found,) = self._head.run_on(_normed(shown))
        return {"aesthetic_score": found.reshape(len(pictures)).tolist()}


def _encoders(folder: Path) -> tuple[str, str]:
    """The files of the two encoders: a folder of one for each is preferred, because each is run by itself."""
    if (folder / _BOTH).is_file() and not (folder / _VISION).is_file():
        return _BOTH, _BOTH
    return _VISION, _TEXT


def _require(folder: Path, *files: str) -> None:
    missing = [name for name in dict.fromkeys(files) if not (folder / name).is_file()]
    if missing:
        export = "optimum-cli export onnx --model openai/clip-vit-base-patch32 FOLDER"
        head = f" ({_HEAD} is LAION's linear head)" if _HEAD in missing else ""
        raise UsageError(f"{folder} has no {', no '.join(missing)}{head}; `{export}` writes a CLIP model's files")


def _identity(what: str, folder: Path, *files: str) -> str:
    """The files by their content: another model scores anew, the same one elsewhere does not."""
    hashed = hashlib.sha256()
    for name in dict.fromkeys(files):
        with (folder / name).open("rb") as file:
            hashed.update(hashlib.file_digest(file, "sha256").digest())
    return f"{what} by {hashed.hexdigest()[:32]}"


def _normed(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    normed: Vectors = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return normed
