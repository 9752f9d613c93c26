"""What the wire's tests share."""

from __future__ import annotations

from fluxbatch.manifest.request import ImageRequest
from fluxbatch.models.catalogue import FLUX_2_DEV


def asked(**more: object) -> ImageRequest:
    """A request as the manifest would make it, but for its key."""
    fields: dict[str, object] = {
        "row": 1, "id": None, "model": FLUX_2_DEV, "prompt": "a fox", "width": 1024, "height": 768, "steps": 25,
        "guidance": None, "seed": None, "references": (), "sample": 0, "key": "0" * 64,
    }  # fmt: skip
    return ImageRequest(**{**fields, **more})  # type: ignore[arg-type]
