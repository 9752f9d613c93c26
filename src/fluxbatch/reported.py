"""`report.html`: read from dataset and ledger, drawn and put in its place, at a run's end or by `fluxbatch report`."""

from __future__ import annotations

import contextlib
import logging
from importlib.metadata import version
from pathlib import Path

from fluxbatch.budget.store import Store
from fluxbatch.dataset import place
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.place import Place, place_of
from fluxbatch.errors import FluxbatchError
from fluxbatch.report import HTML
from fluxbatch.report.facts import facts_of
from fluxbatch.report.gallery import Beside, gallery_of
from fluxbatch.report.html import to_html
from fluxbatch.settings import Settings

log = logging.getLogger(__name__)


def write_report(
    folder: Place,
    settings: Settings,
    *,
    to: Path | None = None,
    beside: Place | None = None,
    match: tuple[str, ...] = (),
) -> Place:
    """Draw the report of a dataset and put it there, whole or not at all (or where `to` says); where it is now.

    Needs no run, changes nothing else and may be done while one goes on: it tells what is sealed. UsageError when there
    is no dataset, or `beside` cannot be matched with it.
    """
    dataset = Dataset.open(place_of(folder))
    other = None if beside is None else Beside(Dataset.open(place_of(beside)), match)
    with contextlib.closing(Store(settings.ledger)) as store:
        facts = facts_of(dataset, store)
    page = to_html(facts, gallery_of(dataset, other), version("fluxbatch"))
    target = dataset.folder / HTML if to is None else to
    place.put_atomic(target, page.encode())
    return target


def report_at_end(folder: Place, settings: Settings) -> Place | None:
    """The same at the end of a run, which has ended as it has: what is wrong with the report is only said."""
    try:
        return write_report(folder, settings)
    except FluxbatchError as error:
        log.warning("the report could not be drawn: %s; draw it with `fluxbatch report %s`", error, folder)
    return None
