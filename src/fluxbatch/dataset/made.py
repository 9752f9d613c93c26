"""What a dataset's card has to say, read from its parts: a few small columns of each, and never a picture."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from fluxbatch.dataset import place
from fluxbatch.dataset.card import Card, Made, card_text, is_kept_up
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.header import Part
from fluxbatch.dataset.parts import UNREADABLE, opened
from fluxbatch.dataset.quarantine import Damaged
from fluxbatch.errors import StorageError

CARD = "README.md"
_COLUMNS = ["model", "width", "height", "steps", "guidance"]
_RANGES = ("steps", "guidance")
_CARD_BYTES_MAX = 10_000_000

log = logging.getLogger(__name__)


def card_of(dataset: Dataset) -> Card:
    """The card of the dataset as it lies there. Damaged when a part cannot be read, StorageError when one is missing.

    An export or a publication changes what is another there: `dataclasses.replace(card_of(dataset), parts=…)`.
    """
    unpacked_bytes, shapes = 0, _Shapes()
    for part_bytes, table in place.each(dataset.folder, lambda part: _looked(dataset, part), dataset.parts):
        unpacked_bytes += part_bytes
        shapes.add(table.to_pylist())
    return Card(
        name=dataset.folder.resolve().name,
        schema=dataset.schema,
        simulated=dataset.simulated,
        pictures=sum(part.rows for part in dataset.parts),
        size_bytes=sum(part.size_bytes for part in dataset.parts),
        unpacked_bytes=unpacked_bytes,
        made=shapes.made(),
        spent=dataset.spent,
        prices=dataset.header.prices,
    )


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


def text_of(path: place.Place) -> str | None:
    """A card's text. None: there is none, or what is there is too large for one."""
    if not path.exists():
        return None
    content = path.read_bytes()
    return content.decode() if len(content) <= _CARD_BYTES_MAX else None


def _looked(dataset: Dataset, part: Part) -> tuple[int, pa.Table]:
    """How large a part is unpacked, and how many pictures it has of each model and size, with the ends of the rest."""
    path = dataset.path(part)
    with opened(path) as file:
        unpacked = sum(file.metadata.row_group(index).total_byte_size for index in range(file.metadata.num_row_groups))
        try:
            rows = file.read(columns=_COLUMNS, use_threads=False)
        except UNREADABLE as error:
            raise Damaged(f"{path}: {error}") from error
    ends = [(name, end) for name in _RANGES for end in ("min", "max")]
    return unpacked, rows.group_by(["model", "width", "height"]).aggregate([("model", "count"), *ends])


@dataclass(slots=True)
class _Shapes:
    """Pictures by model and size, and what steps and guidance lie between, over all parts."""

    counts: Counter[tuple[str, int, int]] = field(default_factory=Counter)
    ends: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        for row in rows:
            self.counts[row["model"], row["width"], row["height"]] += row["model_count"]
            for name in _RANGES:
                found = [end for end in (row[f"{name}_min"], row[f"{name}_max"]) if end is not None]
                found += self.ends.get((row["model"], name), ())
                if found:
                    self.ends[row["model"], name] = (min(found), max(found))

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
