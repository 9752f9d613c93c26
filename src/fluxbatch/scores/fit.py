"""A picture, made fit for a model as its preprocessor_config.json says: scaled, cut, normalised."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fluxbatch.dataset.image import scaled
from fluxbatch.dataset.measures import Pixels
from fluxbatch.errors import UsageError
from fluxbatch.plain import plain

SIDE_MAX = 4096


@dataclass(frozen=True, slots=True)
class Fit:
    """What Hugging Face's CLIPImageProcessor does, in its order. Sides in pixels, `resample` as Pillow counts."""

    shortest: int | None
    exact: tuple[int, int] | None
    """Height and width, where a picture is scaled to them whatever its shape."""
    crop: tuple[int, int] | None
    resample: int
    factor: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def read(cls, path: Path) -> Fit:
        """UsageError says what cannot be read of it."""
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            return cls._of(said)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            told = plain(f"{type(error).__name__}: {error}", 200)
            raise UsageError(
                f"{path}: is no preprocessor file that is understood ({told}); export the model again"
            ) from None

    @classmethod
    def _of(cls, said: Mapping[str, Any]) -> Fit:
        size = said["size"] if said.get("do_resize", True) else {}
        size = {"shortest_edge": size} if isinstance(size, int) else dict(size)
        crop = said["crop_size"] if said.get("do_center_crop", True) else None
        crop = {"height": crop, "width": crop} if isinstance(crop, int) else crop
        normal = said.get("do_normalize", True)
        fit = cls(
            shortest=_side(size["shortest_edge"]) if "shortest_edge" in size else None,
            exact=(_side(size["height"]), _side(size["width"])) if "height" in size else None,
            crop=None if crop is None else (_side(crop["height"]), _side(crop["width"])),
            resample=int(said.get("resample", 3)),
            factor=float(said.get("rescale_factor", 1 / 255)) if said.get("do_rescale", True) else 1.0,
            mean=_three(said["image_mean"]) if normal else (0.0, 0.0, 0.0),
            std=_three(said["image_std"]) if normal else (1.0, 1.0, 1.0),
        )
        if fit.crop is None and fit.exact is None:
            raise ValueError("pictures of several shapes would stay so: neither crop_size nor height and width")
        scaled(np.zeros((1, 1, 3), np.uint8), 1, 1, fit.resample)  # ValueError when it is none
        return fit

    def all(self, pictures: Iterable[Pixels]) -> npt.NDArray[np.float32]:
        """Pictures x 3 x height x width."""
        return np.stack([self.one(pixels) for pixels in pictures])

    def one(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """3 x height x width."""
        if self.shortest is not None:
            height, width = _to_shortest(pixels.shape[0], pixels.shape[1], self.shortest)
            pixels = scaled(pixels, width, height, self.resample)
        elif self.exact is not None:
            pixels = scaled(pixels, self.exact[1], self.exact[0], self.resample)
        if self.crop is not None:
            pixels = _cut(pixels, *self.crop)
        values = pixels.astype(np.float32) * np.float32(self.factor)
        normal = (values - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(normal.transpose(2, 0, 1))


def _to_shortest(height: int, width: int, shortest: int) -> tuple[int, int]:
    short, long = sorted((height, width))
    other = min(int(shortest * long / short), SIDE_MAX)
    return (shortest, other) if height <= width else (other, shortest)


def _cut(pixels: Pixels, height: int, width: int) -> Pixels:
    """The middle; black around where a picture is smaller."""
    down, right = max(0, height - pixels.shape[0]), max(0, width - pixels.shape[1])
    if down or right:
        pixels = np.pad(pixels, (_halves(down), _halves(right), (0, 0)))
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]


def _halves(space: int) -> tuple[int, int]:
    return (space + 1) // 2, space // 2


def _side(value: Any) -> int:
    if not isinstance(value, int) or not 1 <= value <= SIDE_MAX:
        raise ValueError(f"{value!r} is no side in pixels")
    return value


def _three(values: Any) -> tuple[float, ...]:
    found = tuple(float(value) for value in values)
    if len(found) != 3:
        raise ValueError(f"{len(found)} values for three colours")
    return found
