"""What `fluxbatch publish` does and shows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fluxbatch.dataset.card_words import shown_size
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.place import Place
from fluxbatch.plain import plain
from fluxbatch.publish.hub import Hub
from fluxbatch.publish.publication import Publication, publication_of
from fluxbatch.publish.send import Published, look_ahead, publish
from fluxbatch.publish.target import Target, check_license

if TYPE_CHECKING:
    from rich.console import Console

NAMES_SHOWN = 20


def publish_at(
    folder: Place,
    address: str,
    console: Console,
    *,
    private: bool,
    license_name: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Publish, or say what would be; progress goes to `console`, and with `as_json` the result to standard output."""
    target = Target.read(address)
    check_license(license_name)
    hub = Hub(target, shows_progress=console.is_terminal and not dry_run)
    publication = publication_of(Dataset.open(folder), target, license_name)
    if dry_run:
        done = look_ahead(publication, hub, private=private)
    else:
        done = publish(publication, hub, private=private, tell=lambda line: _say(console, line))
    if as_json:
        print(to_json(publication, done, dry_run=dry_run))  # noqa: T201
    else:
        for line in _told(publication, done, dry_run=dry_run, private=private):
            _say(console, line)


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


def _told(publication: Publication, done: Published, *, dry_run: bool, private: bool) -> list[str]:
    steps, target = done.steps, publication.target
    if steps.is_nothing:
        return [f"{target} has all of it already: {publication.card.pictures:,} pictures"]
    if not dry_run:
        return [f"{target}: {publication.card.pictures:,} pictures are published", plain(str(done.commit), 500)]
    lines = [f"{target} would be made{', private' if private else ''}"] if done.is_new else []
    lines += [f"would send {file.name}, {shown_size(file.size_bytes)}" for file in steps.send[:NAMES_SHOWN]]
    lines += [f"would send {len(steps.send) - NAMES_SHOWN:,} more"] if len(steps.send) > NAMES_SHOWN else []
    lines += [f"would remove {plain(name, 200)}" for name in steps.remove[:NAMES_SHOWN]]
    lines += [f"would remove {len(steps.remove) - NAMES_SHOWN:,} more"] if len(steps.remove) > NAMES_SHOWN else []
    lines += ["would write the card"] if steps.card is not None else []
    total = shown_size(sum(file.size_bytes for file in steps.send))
    return [*lines, f"in all {total} of {len(steps.send):,} parts; {len(steps.already):,} are there already"]
