"""How much is tried: little in every CI run, much in `make soak`. The code is the same."""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")

IS_SOAK = os.environ.get("FLUXBATCH_SOAK") == "1"


def soak(ci: T, night: T) -> T:
    """The amount for an ordinary run, or the one for `make soak` (FLUXBATCH_SOAK=1)."""
    return night if IS_SOAK else ci
