"""Doing it: what is not there is sent, file by file; then one commit shows all of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fluxbatch.dataset.card_words import shown_size
from fluxbatch.errors import UsageError
from fluxbatch.many import many
from fluxbatch.publish.hub import Hub
from fluxbatch.publish.publication import Publication, Steps, There, steps_for

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Published:
    """What came of it. `commit` is the commit's address; None: nothing was to be done, or only looked at."""

    steps: Steps
    is_new: bool
    commit: str | None = None


def publish(publication: Publication, hub: Hub, *, private: bool, tell: Tell) -> Published:
    """Bring the Hub to what the publication says. `tell` hears of each file when it is there."""
    there = hub.look()
    _refuse_public(publication, there, private)
    steps = steps_for(publication, there)
    if not steps.is_nothing or (there is not None and not there.has_branch):
        hub.make(there, private)
    if steps.is_nothing:
        return Published(steps, is_new=False)
    for file in steps.already:
        tell(f"{file.name} is there already")
    added = []
    for number, file in enumerate(steps.send, start=1):
        added.append(hub.send(file))
        tell(f"{file.name} is sent ({number} of {len(steps.send)}, {shown_size(file.size_bytes)})")
    pictures = f"{many(publication.card.pictures, 'picture')}, by fluxbatch"
    return Published(steps, there is None, hub.commit(added, steps.remove, steps.card, pictures))


def look_ahead(publication: Publication, hub: Hub, *, private: bool) -> Published:
    """What `publish` would do. Changes nothing."""
    there = hub.look()
    _refuse_public(publication, there, private)
    return Published(steps_for(publication, there), there is None)


def _refuse_public(publication: Publication, there: There | None, private: bool) -> None:
    if private and there is not None and not there.is_private:
        raise UsageError(
            f"{publication.target} is there already, and public: --private is for a new one. Make it private in its "
            "settings on the Hub, or take another USER/NAME"
        )
