"""Where to: `hf://datasets/USER/NAME[@REVISION]`, and the licence's name. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fluxbatch.errors import UsageError

MAIN = "main"

# huggingface_hub's own rule for names (utils/_validators.py): no dots or dashes at the ends, none of them twice.
_PART = r"(?!.*(?:--|\.\.))[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_ADDRESS = re.compile(r"hf://datasets/([^/@]+)/([^/@]+)(?:@([A-Za-z0-9][A-Za-z0-9._/-]{0,199}))?/?")
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")


@dataclass(frozen=True, slots=True)
class Target:
    """A dataset repository of the Hub, and the branch of it."""

    repo: str
    revision: str = MAIN

    @classmethod
    def read(cls, address: str) -> Target:
        """UsageError when it is not the address of a dataset on the Hub."""
        match = _ADDRESS.fullmatch(address)
        if match is None or not all(re.fullmatch(_PART, name) for name in match.group(1, 2)):
            raise UsageError(
                f"{address} is no dataset of the Hub; write hf://datasets/USER/NAME, or hf://datasets/USER/NAME@BRANCH"
            )
        return cls(f"{match[1]}/{match[2]}", match[3] or MAIN)

    def __str__(self) -> str:
        return f"hf://datasets/{self.repo}" + ("" if self.revision == MAIN else f"@{self.revision}")


def check_license(name: str | None) -> str | None:
    """The Hub's name of a licence, or None. UsageError for what cannot be one; whether there is one, the Hub says."""
    if name is not None and not _LICENSE.fullmatch(name):
        raise UsageError(
            f"--license {name} is no name of a licence on the Hub; write one like cc0-1.0, cc-by-4.0, mit, or other "
            "(https://huggingface.co/docs/hub/repositories-licenses)"
        )
    return name
