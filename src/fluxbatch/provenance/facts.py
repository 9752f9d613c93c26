"""The facts of a mark, as a frozen value. Pure."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime

TEXT_MAX = 1_000
"""Characters of a text in a mark: a model's name has some thirty."""

# What is no Char of XML 1.0 (https://www.w3.org/TR/xml/#charsets) cannot be written in any way, not even escaped.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Unmarkable(Exception):
    """Why a file is to stay as it is."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a picture comes from. `prompt_sha256` and `key` are in hex, `created_at` is in UTC.

    Texts are made fit for XML: characters that it forbids become U+FFFD, and what is too long is cut.
    """

    model: str
    prompt_sha256: str
    key: str
    created_at: datetime

    def __post_init__(self) -> None:
        for name in ("model", "prompt_sha256", "key"):
            object.__setattr__(self, name, _NO_XML.sub("\ufffd", getattr(self, name)[:TEXT_MAX]))
        object.__setattr__(self, "created_at", self.created_at.astimezone(UTC))

    @classmethod
    def of(cls, model: str, prompt: str, key: str, created_at: datetime) -> Provenance:
        """The facts of a picture that was made from `prompt`, of which only the hash is told."""
        return cls(model, hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest(), key, created_at)
