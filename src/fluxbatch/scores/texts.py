"""A prompt, made fit for a model as its tokenizer.json says: as numbers, cut and filled up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from fluxbatch.errors import UsageError
from fluxbatch.plain import plain

TOKENS_MAX = 77
"""CLIP's context (Radford et al. 2021, section 2.4); a model of another length says so in config.json."""
_END = "<|endoftext|>"


class Texts:
    """Makes tokens of prompts. Beside `tokenizer.json`, `config.json` may say how many the model reads."""

    def __init__(self, path: Path) -> None:
        """UsageError when it is no tokenizer."""
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # noqa: BLE001 - tokenizers raises nothing narrower for a file that is none
            raise UsageError(f"{path}: is no tokenizer ({plain(str(error), 200)}); export the model again") from None
        self._tokenizer.enable_truncation(max_length=_tokens_max(path.with_name("config.json")))
        self._tokenizer.no_padding()
        self._fill = self._tokenizer.token_to_id(_END) or 0

    def tokens(self, prompts: Sequence[str]) -> dict[str, npt.NDArray[np.int64]]:
        """`input_ids` and `attention_mask`, prompts x tokens: the shorter ones are filled up with the last token."""
        found = [one.ids for one in self._tokenizer.encode_batch(list(prompts))]
        longest = max(map(len, found))
        ids = np.full((len(found), longest), self._fill, np.int64)
        mask = np.zeros((len(found), longest), np.int64)
        for row, one in enumerate(found):
            ids[row, : len(one)] = one
            mask[row, : len(one)] = 1
        return {"input_ids": ids, "attention_mask": mask}


def _tokens_max(config: Path) -> int:
    try:
        said = json.loads(config.read_text(encoding="utf-8"))
        found = said.get("text_config", said).get("max_position_embeddings", TOKENS_MAX)
    except (OSError, ValueError, AttributeError):
        return TOKENS_MAX
    return found if isinstance(found, int) and found > 0 else TOKENS_MAX
