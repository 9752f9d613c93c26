"""Is what the catalogue promises on the disk? Read as a stream, changed nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fluxbatch.dataset.catalogue import CATALOGUE, Dataset
from fluxbatch.dataset.failures import FAILURES, check_failures
from fluxbatch.dataset.header import Part
from fluxbatch.dataset.lines import was_changed
from fluxbatch.dataset.parts import check_belongs, file_sha256, picture_rows
from fluxbatch.dataset.place import below
from fluxbatch.dataset.spool import Spooled, scan
from fluxbatch.errors import StorageError
from fluxbatch.models.money import ZERO, Money

_FROM_COPY = (
    "bring the file back from a copy; without one, `fluxbatch verify --repair` saves what can be read and says what "
    "the rest would cost anew"
)
_TWICE = "it was paid for twice; drop one of the two where you read the dataset"
_RUN_AGAIN = "run the same command again, or `fluxbatch verify --repair`: both put this in order"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be: where, what, and what to do."""

    place: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}; {self.remedy}"


def verify_dataset(dataset: Dataset) -> list[Finding]:
    """Each listed part (size, hash, pages, pictures, sums), keys that stand twice, parts not listed, the spool."""
    seen: dict[bytes, str] = {}
    findings = list(_catalogue(dataset))
    findings += [finding for part in dataset.parts for finding in _part(dataset, part, seen)]
    findings += [
        Finding(below(dataset.folder, path), "is not listed in the catalogue", _RUN_AGAIN)
        for path in dataset.unlisted()
    ]
    return [*findings, *_spool(dataset), *_failures(dataset)]


def _catalogue(dataset: Dataset) -> Iterator[Finding]:
    if was_changed(dataset.folder):
        yield Finding(CATALOGUE, "is not as it was written", "`fluxbatch verify --repair` writes it anew")


def _failures(dataset: Dataset) -> Iterator[Finding]:
    path = dataset.folder / FAILURES
    if path.exists():
        try:
            check_failures(path)
        except StorageError as error:  # Damaged is one
            yield Finding(path.name, str(error), "the next run writes it anew; nothing in it was paid for")


def _part(dataset: Dataset, part: Part, seen: dict[bytes, str]) -> Iterator[Finding]:
    path = dataset.path(part)
    try:
        size_bytes = path.stat().st_size if path.exists() else None
        if size_bytes is None:
            yield Finding(part.file, "is listed and missing", _FROM_COPY)
            return
        if size_bytes != part.size_bytes:
            yield Finding(part.file, f"has {size_bytes} bytes, listed are {part.size_bytes}", _FROM_COPY)
        elif file_sha256(path) != part.sha256:
            yield Finding(part.file, "its SHA-256 is not the listed one", _FROM_COPY)
        check_belongs(path, dataset.schema, dataset.id)
        yield from _rows(dataset, part, seen)
    except StorageError as error:  # Damaged is one
        yield Finding(part.file, str(error), _FROM_COPY)


def _rows(dataset: Dataset, part: Part, seen: dict[bytes, str]) -> Iterator[Finding]:
    rows, actual = 0, ZERO
    for row in picture_rows(dataset.path(part)):
        rows, actual = rows + 1, actual + row.actual
        if not row.sound:
            yield Finding(part.file, f"row {rows}: the picture does not have the SHA-256 beside it", _FROM_COPY)
        digest = bytes.fromhex(row.key)  # half the memory of the hex
        if digest in seen:
            yield Finding(part.file, f"row {rows}: key {row.key} stands in {seen[digest]} as well", _TWICE)
        seen[digest] = part.file
    if (rows, actual) != (part.rows, Money(part.nano_usd, part.centineurons)):
        what = f"has {rows} rows for ${actual.usd:f}, listed are {part.rows} for ${Money(part.nano_usd).usd:f}"
        yield Finding(part.file, what, _FROM_COPY)


def _spool(dataset: Dataset) -> Iterator[Finding]:
    for found in scan(dataset.spool_folder):
        if not isinstance(found, Spooled):
            path, reason = found
            yield Finding(
                below(dataset.folder, path),
                reason,
                "the next run sets it aside, as `fluxbatch verify --repair` does, which says what it would cost anew",
            )
