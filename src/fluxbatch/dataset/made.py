"""What a dataset's card has to say, read from its parts: a few small columns of each, and never a picture."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from fluxbatch.dataset import place
from fluxbatch.dataset.card import PARTS, Card, Made, card_text, is_kept_up
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.parts import UNREADABLE, opened
from fluxbatch.dataset.place import Place
from fluxbatch.dataset.quarantine import Damaged
from fluxbatch.dataset.record import integers
from fluxbatch.errors import StorageError
from fluxbatch.models.money import ZERO, Money

CARD = "README.md"
_RANGES = ("steps", "guidance")
_SHAPE = ("model", "width", "height", *_RANGES)
_COLUMNS = [*_SHAPE, "usd", "neurons"]
_CARD_BYTES_MAX = 10_000_000

log = logging.getLogger(__name__)


def card_of(dataset: Dataset) -> Card:
    """The card of the dataset as it lies there. Damaged when a part cannot be read, StorageError when one is missing.

    A publication changes what is another there: `dataclasses.replace(card_of(dataset), address=…)`.
    """
    seen = place.each(dataset.folder, lambda part: _seen(dataset.path(part)), dataset.parts)
    size_bytes = sum(part.size_bytes for part in dataset.parts)
    return _card(dataset, dataset.folder.resolve().name, dataset.schema, size_bytes, seen)


def card_of_export(dataset: Dataset, folder: Path, name: str, *, marked: bool | None) -> Card:
    """The card of `data/train-*.parquet` that was made in `folder` from some of the dataset: it counts what is in these
    files."""
    paths = sorted(folder.glob(PARTS))
    with opened(paths[0]) as first:
        schema = first.schema_arrow
    size_bytes = sum(path.stat().st_size for path in paths)
    card = _card(dataset, name, schema, size_bytes, map(_seen, paths))
    return replace(card, is_settled=True, marked=marked)


def refresh_card(dataset: Dataset) -> None:
    """Write anew what of the dataset's card is ours. Only while it is held; a chunk has none.

    A card without our marks is the user's own, and stays. What cannot be read is no reason to end a run: it is told.
    """
    if dataset.home != dataset.folder:
        return
    path = dataset.folder / CARD
    try:
        earlier = text_of(path)
        if earlier is None or not is_kept_up(earlier):
            return
        text = card_text(card_of(dataset), earlier)
    except (Damaged, StorageError, *UNREADABLE) as error:
        log.warning("the dataset card was left as it is: %s", error)
        return
    if text != earlier:
        place.put_atomic(path, text.encode())


def text_of(path: Place) -> str | None:
    """A card's text. None: there is none, or what is there is no text, or too large for a card."""
    try:
        content = path.read_bytes()
        return content.decode() if len(content) <= _CARD_BYTES_MAX else None
    except (FileNotFoundError, UnicodeError):
        return None
    except OSError as error:
        raise place.storage_error(path, error, "could not be read") from error


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the card takes from one file: how many pictures have which `_SHAPE`, and its sums."""

    shapes: Counter[tuple[Any, ...]]
    rows: int
    unpacked_bytes: int
    spent: Money


def _seen(path: Place) -> _Seen:
    with opened(path) as file:
        found = file.metadata
        unpacked = sum(found.row_group(index).total_byte_size for index in range(found.num_row_groups))
        try:
            rows = file.read(columns=_COLUMNS, use_threads=False)
        except UNREADABLE as error:
            raise Damaged(f"{path}: {error}") from error
    if len(rows) != found.num_rows:  # a page whose header is damaged is skipped silently
        raise Damaged(f"{path}: {found.num_rows - len(rows)} of its rows cannot be read")
    shapes = Counter(zip(*(rows[name].to_pylist() for name in _SHAPE), strict=True))  # group_by loads for 0.4 s first
    sums = (sum(integers(rows[name].combine_chunks())) for name in ("usd", "neurons"))
    return _Seen(shapes, len(rows), unpacked, Money(*sums))


def _card(dataset: Dataset, name: str, schema: pa.Schema, size_bytes: int, files: Iterable[_Seen]) -> Card:
    seen, shapes = list(files), _Shapes()
    for one in seen:
        shapes.add(one.shapes)
    return Card(
        name,
        schema,
        dataset.simulated,
        pictures=sum(one.rows for one in seen),
        size_bytes=size_bytes,
        unpacked_bytes=sum(one.unpacked_bytes for one in seen),
        made=shapes.made(),
        spent=sum((one.spent for one in seen), ZERO),
        prices=dataset.header.prices,
    )


@dataclass(slots=True)
class _Shapes:
    """Pictures by model and size, and what steps and guidance lie between, over all parts."""

    counts: Counter[tuple[str, int, int]] = field(default_factory=Counter)
    ends: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)

    def add(self, shapes: Mapping[tuple[Any, ...], int]) -> None:
        for (model, width, height, *values), count in shapes.items():
            self.counts[model, width, height] += count
            for name, value in zip(_RANGES, values, strict=True):
                if value is not None:
                    low, high = self.ends.get((model, name), (value, value))
                    self.ends[model, name] = (min(low, value), max(high, value))

    def made(self) -> tuple[Made, ...]:
        """One a model, those with most pictures first; its sizes likewise."""
        models = Counter[str]()
        for (model, _, _), count in self.counts.items():
            models[model] += count
        return tuple(
            self._made(model, count) for model, count in sorted(models.items(), key=lambda one: (-one[1], one[0]))
        )

    def _made(self, model: str, pictures: int) -> Made:
        sizes = [(*size, count) for (of, *size), count in self.counts.items() if of == model]
        sizes.sort(key=lambda one: (-one[2], one[:2]))
        steps, guidance = (self.ends.get((model, name)) for name in _RANGES)
        return Made(model, pictures, tuple((w, h, n) for w, h, n in sizes), steps, guidance)
