"""What `fluxbatch publish` does and shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from fluxbatch.dataset.card_words import shown_size
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.place import Place
from fluxbatch.errors import UsageError
from fluxbatch.export.exporter import Wish as ExportWish
from fluxbatch.export.exporter import export
from fluxbatch.export.targets import HF
from fluxbatch.export.told import watched
from fluxbatch.many import many
from fluxbatch.plain import plain
from fluxbatch.publish.hub import Hub
from fluxbatch.publish.publication import Publication, publication_of, publication_of_export
from fluxbatch.publish.send import Published, look_ahead, publish
from fluxbatch.publish.target import Target, check_license

if TYPE_CHECKING:
    from rich.console import Console

NAMES_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked: `where` is an SQL condition over the columns (None: all pictures, as their parts lie there)."""

    target: Target
    where: str | None = None
    license: str | None = None
    private: bool = False
    dry_run: bool = False


def publish_at(folder: Place, wish: Wish, console: Console, *, as_json: bool) -> None:
    """Publish, or say what would be; progress goes to `console`, and with `as_json` the result to standard output."""
    check_license(wish.license)
    hub = Hub(wish.target, shows_progress=console.is_terminal and not wish.dry_run)
    with _publication(Dataset.open(folder), wish, console) as publication:
        if wish.dry_run:
            done = look_ahead(publication, hub, private=wish.private)
        else:
            done = publish(publication, hub, private=wish.private, tell=lambda line: _say(console, line))
    if as_json:
        print(to_json(publication, done, dry_run=wish.dry_run))  # noqa: T201
    else:
        for line in _told(publication, done, wish):
            _say(console, line)


@contextmanager
def _publication(dataset: Dataset, wish: Wish, console: Console) -> Iterator[Publication]:
    """What is to be there; for some of the dataset an export, which lies on this disk for the block.

    It need not be kept for another try: the same dataset makes the same bytes, and the Hub knows them again.
    """
    if wish.where is None:
        yield publication_of(dataset, wish.target, wish.license)
        return
    with TemporaryDirectory(prefix="fluxbatch-") as folder, watched(console) as watch:
        target = Path(folder) / "export"
        done = export(dataset, target, ExportWish(HF, wish.where), watch=watch)
        if done is None:
            raise UsageError(f"--where {wish.where!r}: no picture of {dataset.folder} fits; nothing was published")
        marked = None if done.unmarked else True
        yield publication_of_export(dataset, target, wish.target, wish.license, marked=marked)


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def to_json(publication: Publication, done: Published, *, dry_run: bool) -> str:
    """The result as one JSON object on one line."""
    steps = done.steps
    return json.dumps(
        {
            "target": str(publication.target),
            "is_new": done.is_new,
            "dry_run": dry_run,
            "pictures": publication.card.pictures,
            "sent": [file.name for file in steps.send],
            "sent_bytes": sum(file.size_bytes for file in steps.send),
            "already": [file.name for file in steps.already],
            "removed": list(steps.remove),
            "card": steps.card is not None,
            "commit": done.commit,
        }
    )


def _told(publication: Publication, done: Published, wish: Wish) -> list[str]:
    steps, target = done.steps, publication.target
    if steps.is_nothing:
        return [f"{target} has all of it already: {many(publication.card.pictures, 'picture')}"]
    if not wish.dry_run:
        count = many(publication.card.pictures, "picture is", "pictures are")
        return [f"{target}: {count} published", plain(str(done.commit), 500)]
    lines = [f"{target} would be made{', private' if wish.private else ''}"] if done.is_new else []
    lines += [f"would send {file.name}, {shown_size(file.size_bytes)}" for file in steps.send[:NAMES_SHOWN]]
    lines += [f"would send {len(steps.send) - NAMES_SHOWN:,} more"] if len(steps.send) > NAMES_SHOWN else []
    lines += [f"would remove {plain(name, 200)}" for name in steps.remove[:NAMES_SHOWN]]
    lines += [f"would remove {len(steps.remove) - NAMES_SHOWN:,} more"] if len(steps.remove) > NAMES_SHOWN else []
    lines += ["would write the card"] if steps.card is not None else []
    total = shown_size(sum(file.size_bytes for file in steps.send))
    return [*lines, f"in all {total} of {many(len(steps.send), 'part')}; there already: {len(steps.already):,}"]
