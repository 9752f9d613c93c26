"""Which dataset of the ledger is meant, and who is working on it: also from a machine that has neither its folder nor
the keys of its store."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fluxbatch.budget import ledger, wishes
from fluxbatch.budget.entries import Balance
from fluxbatch.budget.here import here, is_gone
from fluxbatch.budget.lease import Lease, Transaction, clock_us, leases_of, worked_on
from fluxbatch.budget.standings import DatasetStanding, dataset_standings
from fluxbatch.budget.store import Store
from fluxbatch.budget.wishes import Told, Wish
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.place import Place
from fluxbatch.errors import UsageError
from fluxbatch.plain import plain
from fluxbatch.progress import Progress

NAMED_MAX = 10


@dataclass(frozen=True, slots=True)
class UnderWay:
    """What the ledger knows at one moment of those who work on a dataset. `now_us` is its own clock.

    `runs` are those that send: of a batch in chunks its chunks, not the run that holds the dataset for them.
    """

    now_us: int
    leases: tuple[Lease, ...]
    told: dict[str, Told]
    wishes: dict[str, Wish]
    balance: Balance | None

    @property
    def holders(self) -> list[str]:
        return list(dict.fromkeys(one.holder for one in self.leases))

    @property
    def runs(self) -> list[Lease]:
        with_chunks = {one.holder for one in self.leases if one.seat is not None}
        return [one for one in self.leases if one.seat is not None or one.holder not in with_chunks]

    def progress_of(self, run: str) -> Progress | None:
        """What it tells of itself; None when it has not, or in words of a fluxbatch that this one does not know."""
        told = self.told.get(run)
        try:
            return None if told is None else Progress.from_text(told.text)
        except (ValueError, TypeError):
            return None

    def has_taken_up(self, run: Lease) -> bool:
        """Whether this run does what was last wished of its holder."""
        told, wish = self.told.get(run.run), self.wishes[run.holder]
        return told is not None and told.taken >= wish.number


def under_way(tx: Transaction, dataset: str) -> UnderWay:
    """Who works on it now: whose lease has not run out, and who is not certainly dead."""
    now, me = clock_us(tx), here()
    alive = tuple(one for one in leases_of(tx, dataset) if one.expires_at_us > now and not is_gone(one.where, me))
    wished = {one.holder: wishes.wish_of(tx, dataset, one.holder) for one in alive}
    return UnderWay(now, alive, wishes.told(tx, dataset), wished, ledger.balance(tx, dataset))


def ended_in_short(summary: Mapping[str, Any] | None) -> str:
    """How a run has ended, in a line."""
    if summary is None:
        return "it left no summary: it was ended from outside"
    return f"{summary['made']:,} made, {summary['left']:,} left; {plain(summary['reason'] or 'complete', 600)}"


def dataset_of(store: Store, given: str, place: Place) -> str:
    """The id of the dataset that is meant by a folder, an address, or its id. UsageError names what there is.

    A folder of this machine is opened; whatever is not here is found in the ledger, by the name that it had where it
    was made.
    """
    if isinstance(place, Path) and Dataset.exists(place):
        return Dataset.open(place).id
    known, busy = store.read(lambda tx: (dataset_standings(tx), worked_on(tx)))
    meant = {str(place), str(place.resolve()), given}
    found = [one for one in known if one.dataset == given or one.folder in meant]
    if len(found) > 1:  # made anew in the same folder: the one that somebody works on
        found = [one for one in found if one.dataset in busy] or found
    if len(found) == 1:
        return found[0].dataset
    if found:
        ids = ", ".join(one.dataset for one in found)
        raise UsageError(
            f"{given}: the ledger {store.url} knows {len(found)} datasets there; name one by its id: {ids}"
        )
    raise UsageError(
        f"{given}: no such dataset, neither here nor in the ledger {store.url} ({_listed(known, busy)}); give the "
        "folder or address that `run --out` wrote, or the id that `fluxbatch status` shows; and --ledger, if the "
        "run has another ledger than this"
    )


def _listed(known: Sequence[DatasetStanding], busy: Collection[str]) -> str:
    """Those that are worked on first: one of them is meant, most likely."""
    named = [one.folder for one in sorted(known, key=lambda one: one.dataset not in busy)]
    more = f" and {len(named) - NAMED_MAX} more" if len(named) > NAMED_MAX else ""
    return f"which knows {', '.join(named[:NAMED_MAX])}{more}" if named else "which knows none"
