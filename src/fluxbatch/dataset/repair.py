"""What is damaged is rebuilt from what is there: the spool, the part itself, the parts' own metadata.

Nothing that was paid for is deleted: a damaged file goes to the quarantine, with the reason. Every step can be the last
one before a crash; the same repair, or the start of any run, goes on from there.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from fluxbatch.dataset import place
from fluxbatch.dataset.catalogue import CATALOGUE, INNER, Dataset, quarantine_of
from fluxbatch.dataset.header import Header, Part
from fluxbatch.dataset.lines import readable_lines, torn_entries, was_changed
from fluxbatch.dataset.parts import METADATA_KEY, check_belongs, file_sha256, key_rows, opened
from fluxbatch.dataset.place import Place, below
from fluxbatch.dataset.quarantine import set_aside
from fluxbatch.dataset.record import columns_of
from fluxbatch.dataset.salvage import Saved, salvage
from fluxbatch.dataset.shards import rewrite
from fluxbatch.dataset.spool import Spool, Spooled
from fluxbatch.errors import DatasetError, StorageError
from fluxbatch.many import many


@dataclass(frozen=True, slots=True)
class Mended:
    """One thing that was put in order: where, and what was done."""

    place: str
    what: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


def is_torn(folder: Place) -> bool:
    """Whether the catalogue is missing, cannot be read, or is not as it was written."""
    try:
        return was_changed(folder) or bool(torn_entries(folder))
    except DatasetError:
        return True


def mend_catalogue(folder: Place, is_simulated: Callable[[str], bool | None]) -> Mended:
    """Write a torn catalogue anew, from its own whole lines and the parts' metadata. Parts whose line is lost are
    listed by the recovery that follows. Only while the dataset's lock is held.

    `is_simulated` says of a dataset's id whose its pictures are. DatasetError when no header can be made.
    """
    header, parts = readable_lines(folder)
    if header is None:
        header = _header_of(folder, is_simulated)
    torn = folder / CATALOGUE
    kept = ""
    if torn.exists():
        copy = folder / INNER / CATALOGUE
        place.put_atomic(copy, torn.read_bytes())  # a copy: without a catalogue it would be no dataset if it died here
        aside = set_aside(copy, quarantine_of(folder), "it was torn")
        kept = f"; as it was it lies in {below(folder, aside.path)}"
    for entry in torn_entries(folder):
        set_aside(entry, quarantine_of(folder), "it was torn")
    Dataset.restore(folder, header, parts)
    return Mended(CATALOGUE, f"written anew with {len(parts)} of its lines{kept}")


def _header_of(folder: Place, is_simulated: Callable[[str], bool | None]) -> Header:
    for path in sorted((folder / "data").glob("train-*.parquet"), key=place.name_of):
        try:
            with opened(path) as part:
                schema = part.schema_arrow
            dataset_id = str(json.loads(schema.metadata[METADATA_KEY])["dataset"])
        except (StorageError, KeyError, TypeError, ValueError):
            continue
        simulated = is_simulated(dataset_id)
        if simulated is not None:
            created_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            return Header(dataset_id, created_at, simulated, *columns_of(schema))
    raise DatasetError(
        f"{folder / CATALOGUE} has no readable header, and no part and no ledger that knows it say what it was: "
        "bring the catalogue back from a copy, or give the ledger that the dataset was made with (--ledger)"
    )


def mend_parts(dataset: Dataset, spool: Spool) -> list[Mended]:
    """Rebuild each damaged part, or save what can be read of it into the spool. Only while the dataset is held."""
    return [_mend(dataset, spool, part, why) for part in dataset.parts if (why := _damage(dataset, part)) is not None]


def take_missing(dataset: Dataset, spool: Spool) -> list[Mended]:
    """A part that was put back beside what was saved of it: the rows that no listed part has go into the spool. The
    recovery that follows sets the file aside, as a copy. Only while the dataset is held."""
    standing: set[tuple[str, int]] = set()
    unlisted = dataset.unlisted()
    for part in dataset.parts if unlisted else ():
        standing |= _names(dataset, part)
    taken = [(path, _take(dataset, spool, path, standing)) for path in unlisted]
    return [
        Mended(below(dataset.folder, path), f"{many(count, 'picture')} taken from it that no part has")
        for path, count in taken
        if count
    ]


def _take(dataset: Dataset, spool: Spool, path: Place, standing: set[tuple[str, int]]) -> int:
    try:
        check_belongs(path, dataset.schema, dataset.id)
        names = {(key, attempt) for key, attempt, _ in key_rows(path)}
    except StorageError:
        return 0
    if not names & standing:
        return 0  # a whole part, which recovery lists
    missing = [row for row in salvage(dataset, path) if (row.key, row.attempt) not in standing]
    for row in missing:
        _keep(spool, row)
    return len(missing)


def _keep(spool: Spool, saved: Saved) -> None:
    if not (spool.folder / f"{saved.key}-{saved.attempt:04d}.row").exists():
        spool.put(saved.row, saved.key, saved.attempt)


def _damage(dataset: Dataset, part: Part) -> str | None:
    path = dataset.path(part)
    if not path.exists():
        return "is missing"
    return None if file_sha256(path) == part.sha256 else "is damaged"


def _mend(dataset: Dataset, spool: Spool, part: Part, why: str) -> Mended:
    path = dataset.path(part)
    saved = 0
    for row in salvage(dataset, path) if path.exists() else ():
        _keep(spool, row)
        saved += 1
    entries = _entries_of(dataset, spool, part)
    dataset.remove_part(part)
    kept = ""
    if path.exists():
        aside = set_aside(path, dataset.quarantine, f"its SHA-256 is not the listed one ({part.sha256})")
        kept = f"; as it was it lies in {below(dataset.folder, aside.path)}"
    if len(entries) == part.rows:
        same = rewrite(dataset, spool, part, entries)
        bytes_are = "with the very same bytes" if same else "with the same rows (its bytes differ: another pyarrow?)"
        return Mended(part.file, f"{why}: rebuilt from the spool {bytes_are}{kept}")
    its = f"its {many(part.rows, 'picture')} could be read"
    told = f"{len(entries)} of {its} and go into a new part" if saved or entries else f"none of {its}"
    return Mended(part.file, f"{why}: {told}{kept}")


def _entries_of(dataset: Dataset, spool: Spool, part: Part) -> list[Spooled]:
    """The spool files of a damaged part: those of its keys, or, when these cannot be read, those of no other part."""
    entries = list(spool.entries())
    try:
        names = {(key, attempt) for key, attempt, _ in key_rows(dataset.path(part))}
        return [entry for entry in entries if (entry.key, entry.attempt) in names]
    except StorageError:
        pass
    others: set[tuple[str, int]] = set()
    for other in dataset.parts:
        if other.file != part.file:
            others |= _names(dataset, other)
    free = [entry for entry in entries if (entry.key, entry.attempt) not in others]
    money = sum(entry.actual.centineurons for entry in free)
    return free if (len(free), money) == (part.rows, part.centineurons) else []


def _names(dataset: Dataset, part: Part) -> set[tuple[str, int]]:
    try:
        return {(key, attempt) for key, attempt, _ in dataset.keys(part)}
    except StorageError:  # its turn comes
        return set()
