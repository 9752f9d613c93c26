"""Tiny ONNX models with known weights, in folders as an export of CLIP writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from fluxbatch.scores import Scored

Floats = npt.NDArray[np.float32]

SIDE = 8
WORDS = ("<|startoftext|>", "<|endoftext|>", "red", "green", "blue", "cat")
VISION: Floats = np.array([[1, 0, 0, 0.5], [0, 1, 0, -0.25], [0, 0, 1, 0]], np.float32)
"""From the mean of each colour to the embedding of a picture."""
TEXT: Floats = np.array(
    [[0, 0, 0, 0.1], [0, 0, 0, 0.1], [2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0], [0.5, -3, 0.5, 1]], np.float32
)
"""The embedding of each word; a text's is their sum."""
HEAD: Floats = np.array([[4, 1, -2, 0.5]], np.float32)
HEAD_BIAS = 5.0
PREPROCESSOR: dict[str, object] = {
    "do_resize": True, "size": {"shortest_edge": SIDE}, "resample": 3, "do_center_crop": True,
    "crop_size": {"height": SIDE, "width": SIDE}, "do_rescale": True, "rescale_factor": 1 / 255,
    "do_normalize": True, "image_mean": [0.5, 0.25, 0.0], "image_std": [0.5, 0.5, 1.0],
}  # fmt: skip


def export(folder: Path, *, together: bool = False, masked: bool = True, head: bool = False) -> Path:
    """A folder with all files; `together`: both encoders in one, as optimum has it."""
    folder.mkdir(parents=True, exist_ok=True)
    vision, text = _vision_nodes(), _text_nodes(masked)
    if together:
        _save(folder / "model.onnx", [*vision, *text], [_PIXELS, _IDS, _MASK], [_SHOWN, _SAID])
    else:
        _save(folder / "vision_model.onnx", vision, [_PIXELS], [_SHOWN])
        _save(folder / "text_model.onnx", text, [_IDS, _MASK] if masked else [_IDS], [_SAID])
    if head:
        node = helper.make_node("Gemm", ["x", "head", "bias"], ["score"], transB=1)
        _save(folder / "aesthetic.onnx", [node], [_floats("x", "n", 4)], [_floats("score", "n", 1)])
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    (folder / "config.json").write_text(json.dumps({"text_config": {"max_position_embeddings": 6}}))
    _tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def _floats(name: str, *shape: str | int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


_PIXELS = _floats("pixel_values", "n", 3, "h", "w")
_IDS = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["n", "t"])
_MASK = helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["n", "t"])
_SHOWN, _SAID = _floats("image_embeds", "n", 4), _floats("text_embeds", "n", 4)
_CONSTANTS = {
    "vision": VISION, "words": TEXT, "head": HEAD, "bias": np.array([HEAD_BIAS], np.float32),
    "last": np.array([2], np.int64), "tokens": np.array([1], np.int64),
}  # fmt: skip


def _vision_nodes() -> list[onnx.NodeProto]:
    return [
        helper.make_node("GlobalAveragePool", ["pixel_values"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "vision"], ["image_embeds"]),
    ]


def _text_nodes(masked: bool) -> list[onnx.NodeProto]:
    mask = [
        helper.make_node("Cast", ["attention_mask"], ["there"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["there", "last"], ["wide"]),
        helper.make_node("Mul", ["each", "wide"], ["counted"]),
    ]
    return [
        helper.make_node("Gather", ["words", "input_ids"], ["each"]),
        *(mask if masked else [helper.make_node("Identity", ["each"], ["counted"])]),
        helper.make_node("ReduceSum", ["counted", "tokens"], ["text_embeds"], keepdims=0),
    ]


def _save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
) -> None:
    used = {name for node in nodes for name in node.input}
    constants = [numpy_helper.from_array(value, name) for name, value in _CONSTANTS.items() if name in used]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="cat"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    start, end = WORDS[:2]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(start, 0), (end, 1)]
    )
    return tokenizer


def sheet(red: int, green: int, blue: int, prompt: str = "red", width: int = 16, height: int = 12) -> Scored:
    """A picture of one colour."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:] = (red, green, blue)
    return Scored(f"key of {red} {green} {blue}", prompt, pixels)


def shown(picture: Scored) -> Floats:
    """By hand: what the vision model makes of a sheet."""
    color = picture.pixels[0, 0].astype(np.float64) / 255
    normal = (color - np.array([0.5, 0.25, 0.0])) / np.array([0.5, 0.5, 1.0])
    return (normal @ VISION).astype(np.float32)


def said(prompt: str, tokens_max: int = 6) -> Floats:
    """By hand: what the text model makes of a prompt."""
    words = [WORDS[0], *prompt.split()[: tokens_max - 2], WORDS[1]]
    return TEXT[[WORDS.index(word) if word in WORDS else WORDS.index("cat") for word in words]].sum(axis=0)


def cosine(a: Floats, b: Floats) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
