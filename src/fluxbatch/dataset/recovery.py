"""What a run that died has left, put in order: the ordinary start of every run. Idempotent.

a name that was not synced yet       synced, before anything is built on it: a power cut may follow the kill
a temp file                          removed: its writer is dead, the lock says so
a claim, in a store                  removed: the dataset is made
what a chunk has left (chunks.py)    moved in
a part in place, not listed          verified, then listed; set aside when it is damaged or a copy
a spool file that stands in a part   removed
any other spool file                 verified; the ledger books or adopts it
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from fluxbatch.dataset import kept, place
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.chunks import take_in
from fluxbatch.dataset.claim import claims_left
from fluxbatch.dataset.header import Part
from fluxbatch.dataset.parts import check_belongs, file_sha256, picture_rows
from fluxbatch.dataset.place import Place
from fluxbatch.dataset.quarantine import Damaged, SetAside, set_aside
from fluxbatch.dataset.rewritten import check_rewritten
from fluxbatch.dataset.shards import part_settings, sealed_schema
from fluxbatch.dataset.spool import Spool, Spooled
from fluxbatch.models.money import ZERO

Name = tuple[str, int]
"""Key and attempt: the name of a ledger entry, of a spool file and of a row."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was found: pictures for the ledger to book or adopt, parts that were listed, files that were set aside."""

    adoptable: list[Spooled]
    listed: list[Part]
    quarantined: list[SetAside]


def recover(dataset: Dataset, spool: Spool) -> Recovered:
    """Put the dataset in order. Only while `dataset.hold()` is held."""
    for folder in (
        dataset.folder,
        dataset.data_folder,
        dataset.quarantine,
        spool.folder,
        *kept.folders(kept.home(dataset.folder)),
    ):
        for leftover in place.leftovers(folder):
            place.remove(leftover)
    for claim in claims_left(dataset.folder):
        place.remove(claim)
    for folder in (dataset.folder, dataset.data_folder, spool.folder):
        place.sync_folder(folder)
    listed, quarantined = _list_parts(dataset)
    if take_in(dataset):
        more = _list_parts(dataset)
        listed, quarantined = listed + more[0], quarantined + more[1]
    before = len(spool.quarantined)
    entries = list(spool.entries())
    sealed = _standing(dataset, {(entry.key, entry.attempt) for entry in entries})
    spool.remove([entry for entry in entries if (entry.key, entry.attempt) in sealed])
    adoptable = [entry for entry in entries if (entry.key, entry.attempt) not in sealed]
    return Recovered(adoptable, listed, [*quarantined, *spool.quarantined[before:]])


def _list_parts(dataset: Dataset) -> tuple[list[Part], list[SetAside]]:
    listed, quarantined = [], []
    for path in dataset.unlisted():
        try:
            part = _examine(dataset, path)
        except Damaged as error:
            quarantined.append(set_aside(path, dataset.quarantine, str(error)))
        else:
            dataset.add_part(part)
            listed.append(part)
    return listed, quarantined


def _examine(dataset: Dataset, path: Place) -> Part:
    """The catalogue line of a part that has none. Damaged when it is not whole, not ours, or a copy of a listed one."""
    check_belongs(path, dataset.schema, dataset.id)
    check_rewritten(path, part_settings(sealed_schema(dataset)))
    names: set[Name] = set()
    actual, run_id, rows = ZERO, "", 0
    for row in picture_rows(path):
        if not row.sound:
            raise Damaged(f"{path}: the picture of key {row.key} does not have the SHA-256 that stands beside it")
        names.add((row.key, row.attempt))
        actual, run_id, rows = actual + row.actual, row.run_id, rows + 1
    doubled = _standing(dataset, names)
    if doubled:
        raise Damaged(f"{path}: {len(doubled)} of its {rows} rows stand in a listed part already")
    found = path.stat()
    sealed_at = datetime.fromtimestamp(found.st_mtime, UTC).isoformat(timespec="seconds")
    file = place.below(dataset.folder, path)
    return Part(file, rows, found.st_size, file_sha256(path), actual.nano_usd, actual.centineurons, sealed_at, run_id)


def _standing(dataset: Dataset, names: set[Name]) -> set[Name]:
    """Those of `names` that stand in a listed part. The parts are read only when something is asked for."""
    if not names:
        return set()
    rows = (row for part in dataset.parts for row in dataset.keys(part))
    return {(key, attempt) for key, attempt, _ in rows if (key, attempt) in names}
