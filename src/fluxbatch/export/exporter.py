"""A dataset, or some of it, into a folder of another form: looked through first, then written unit by unit.

In memory at once: a few pictures, and what the form collects (a row group of at most 64 MiB for Parquet); of the rest
eight bytes a picture. The same dataset and the same wishes make the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa

from fluxbatch.dataset.card import card_text
from fluxbatch.dataset.catalogue import Dataset
from fluxbatch.dataset.made import card_of
from fluxbatch.dataset.parts import file_sha256
from fluxbatch.dataset.record import IMAGE as RECORD_IMAGE
from fluxbatch.errors import UsageError
from fluxbatch.export import targets
from fluxbatch.export.folder import FORMATS, Files
from fluxbatch.export.hugging_face import HuggingFace
from fluxbatch.export.marking import Marker
from fluxbatch.export.staging import Staging, check_folder, check_target, is_finished, record_of, settle
from fluxbatch.export.stream import Chunk, Stream, exported_columns
from fluxbatch.export.survey import Survey, Unit, survey
from fluxbatch.export.targets import Target
from fluxbatch.export.template import NAME_DEFAULT, Template, parsed
from fluxbatch.export.webdataset import WebDataset
from fluxbatch.query import Rows
from fluxbatch.query.rows import IMAGE

SHARD_BYTES = 500_000_000
SHARD_BYTES_MIN = 1_000
_FORMAT = 1
"""Of what is written: counted up when the same dataset makes other bytes."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked: one of `targets.TARGETS`, which rows, how the files are called, and how large the shards may be.

    `metadata` is the form of imagefolder's table; `is_marked`: whether the pictures say what made them.
    """

    to: str
    where: str | None = None
    name: str = NAME_DEFAULT
    shard_bytes: int = SHARD_BYTES
    metadata: str = FORMATS[0]
    is_marked: bool = True


@dataclass(frozen=True, slots=True)
class Exported:
    """What came of it. `was_there`: nothing had to be done; `went_on`: an export that had died was finished."""

    target: Path
    pictures: int
    size_bytes: int
    files: int
    loading: str
    unmarked: int
    was_there: bool = False
    went_on: bool = False


@dataclass(frozen=True, slots=True)
class Watch:
    """Who wants to know how far it is: what is to be done, how much of it was done before, and each chunk since."""

    begun: Callable[[Survey, int], None] = lambda found, done: None
    written: Callable[[int, int], None] = lambda pictures, size_bytes: None


def export(
    dataset: Dataset,
    target: Path,
    wish: Wish,
    *,
    force: bool = False,
    watch: Watch = Watch(),
) -> Exported | None:
    """Write the export, or go on with it; None when no row fits.

    UsageError when something about the wish or the folder is wrong, and then nothing is written; Damaged or
    StorageError when the dataset cannot be read or the disk would not: then run it again, it goes on.
    """
    _check(wish)
    rows = Rows(dataset)
    rows.check(wish.where)
    columns = pa.schema([rows.schema.field(name) for name in exported_columns(rows)])
    template = parsed(wish.name, columns)
    facts = _facts(dataset, rows, wish)
    check_folder(target, dataset.folder)
    settle(target)
    staging = Staging(target, facts)
    form = _form(dataset, wish, staging, columns)
    if is_finished(target, facts):
        return _ended(target, form, was_there=True)
    check_target(target, force=force)
    found = survey(rows, wish.where, template if form.has_pictures else None, form.limits)
    if not found.pictures:
        return None
    with staging.opened():
        went_on = staging.is_whole or staging.units > 0
        if not staging.is_whole:
            marker = Marker(staging.unmarked)
            mark = marker if wish.is_marked else None
            stream = Stream(rows, wish.where, _done(found, staging.units), _named(form, template), mark)
            _write(staging, form, found, stream, marker, watch)
            form.finish(found, columns)
        staging.publish(found.pictures)
    return _ended(target, form, went_on=went_on)


def _write(staging: Staging, form: Target, found: Survey, stream: Stream, marker: Marker, watch: Watch) -> None:
    watch.begun(found, _done(found, staging.units))
    for unit in found.units[staging.units :]:
        form.write(unit, len(found.units), _watched(stream, unit, watch))
        staging.commit(unit.number + 1, marker.unmarked)


def _watched(stream: Stream, unit: Unit, watch: Watch) -> Any:
    for chunk in stream.take(unit.rows):
        yield chunk
        watch.written(len(chunk), _bytes(chunk))


def _bytes(chunk: Chunk) -> int:
    return sum(map(len, chunk.contents)) if chunk.contents else int(chunk.rows.nbytes)


def _done(found: Survey, units: int) -> int:
    """Rows that are exported already."""
    return sum(unit.rows for unit in found.units[:units])


def _named(form: Target, template: Template) -> Template | None:
    return template if form.has_pictures else None


def _check(wish: Wish) -> None:
    """All complaints about a wish at once."""
    complaints = []
    if wish.to not in targets.TARGETS:
        complaints.append(f"--to {wish.to!r} is no form; take one of {', '.join(targets.TARGETS)}")
    if wish.metadata not in FORMATS:
        complaints.append(f"--metadata {wish.metadata!r} is no form; take one of {', '.join(FORMATS)}")
    if wish.shard_bytes < SHARD_BYTES_MIN:
        complaints.append(f"--shard-size: {wish.shard_bytes} bytes are less than {SHARD_BYTES_MIN}")
    if complaints:
        raise UsageError("; ".join(complaints))


def _form(dataset: Dataset, wish: Wish, staging: Staging, columns: pa.Schema) -> Target:
    if wish.to == targets.HF:
        return HuggingFace(
            staging, wish.shard_bytes, lambda folder: _card(dataset, folder, staging.target.name, columns)
        )
    if wish.to == targets.WEBDATASET:
        return WebDataset(staging, wish.shard_bytes)
    if wish.to == targets.IMAGEFOLDER:
        loading = "load_dataset('imagefolder', data_dir={target!r}, split='train')"
        return Files(staging, "train/", f"train/metadata.{wish.metadata}", loading)
    if wish.to == targets.CSV:
        return Files(staging, None, "train.csv", "pandas.read_csv('{target}/train.csv')")
    return Files(staging, "", None, "ls {target}")


def _card(dataset: Dataset, folder: Path, name: str, columns: pa.Schema) -> str:
    schema = pa.schema([pa.field(IMAGE, RECORD_IMAGE), *columns])
    return card_text(replace(card_of(dataset), name=name, schema=schema))


def _facts(dataset: Dataset, rows: Rows, wish: Wish) -> dict[str, Any]:
    """All that the bytes of an export follow from. What is the same makes the same."""
    parts = hashlib.sha256("".join(f"{part.file} {part.sha256}\n" for part in dataset.parts).encode())
    return {
        "fluxbatch": "export",
        "format": _FORMAT,
        "made_by": {name: version(name) for name in ("fluxbatch", "pyarrow")},
        "dataset": {"id": dataset.id, "parts": len(dataset.parts), "sha256": parts.hexdigest()},
        "columns": {one.name: file_sha256(one.path) for one in rows.sidecars},
        "to": wish.to,
        "where": wish.where,
        "name": wish.name,
        "shard_bytes": wish.shard_bytes,
        "metadata": wish.metadata if wish.to == targets.IMAGEFOLDER else None,
        "marked": wish.is_marked,
    }


def _ended(target: Path, form: Target, *, was_there: bool = False, went_on: bool = False) -> Exported:
    record = record_of(target)
    assert record is not None
    loading = form.loading(str(target))
    facts = (record.pictures, record.size_bytes, record.files)
    return Exported(target, *facts, loading, record.unmarked, was_there, went_on)
