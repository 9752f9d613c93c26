"""The rooms of a batch that is made in chunks, and how what they hold moves into the dataset.

    .fluxbatch/chunks/0003/   a dataset's folder like any other: catalogue, data/, spool, lock; the id is the dataset's

A chunk's run recovers, spools and seals there as every run does, and writes nowhere else; readers of the dataset see
none of it. Whoever holds the dataset takes in what lies there: each file is moved, so whatever dies in between, it is
there once (in a store for a moment twice), and the ordinary recovery of the dataset finds it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fluxbatch.dataset import place
from fluxbatch.dataset.catalogue import Dataset, lock_file, quarantine_of
from fluxbatch.dataset.lines import readable_lines
from fluxbatch.dataset.parts import file_sha256
from fluxbatch.dataset.place import Place, name_of
from fluxbatch.dataset.quarantine import REASON, set_aside


def chunks_of(dataset: Dataset) -> list[Dataset]:
    """The chunks of which something lies here, in order."""
    folders = sorted(dataset.chunks_folder.iterdir(), key=name_of) if dataset.chunks_folder.is_dir() else []
    found = []
    for folder in folders:
        if any(_things(folder)):
            _, parts = readable_lines(folder)
            chunk = Dataset(folder, dataset.header, parts)
            chunk.home = dataset.folder
            found.append(chunk)
    return found


def take_in(dataset: Dataset) -> bool:
    """Move all that the chunks hold into the dataset. Whether there was anything; what their catalogues did not list
    is then to be looked at as the dead leave it. Only while the dataset is held, and no chunk's run is alive."""
    chunks = chunks_of(dataset)
    for chunk in chunks:
        for folder in (chunk.folder, chunk.data_folder, chunk.spool_folder):
            for leftover in place.leftovers(folder):
                place.remove(leftover)
        _take_parts(dataset, chunk)
        _take_spool(dataset, chunk)
        _take_quarantine(dataset, chunk)
        _clear(chunk)
    return bool(chunks)


def _take_parts(dataset: Dataset, chunk: Dataset) -> None:
    known = {part.sha256 for part in dataset.parts}
    for part in chunk.parts:
        path = chunk.path(part)
        if part.sha256 in known:
            place.remove(path)  # it was moved before; a power cut, or a store, may leave both names
        elif path.exists():
            target = dataset.next_part()
            place.move(path, target)
            dataset.add_part(replace(part, file=place.below(dataset.folder, target)))
    for path in sorted(chunk.data_folder.glob("train-*.parquet"), key=name_of):
        if file_sha256(path) in known:
            place.remove(path)
        else:
            place.move(path, dataset.next_part())


def _take_spool(dataset: Dataset, chunk: Dataset) -> None:
    place.make_folders(dataset.spool_folder)
    for path in sorted(chunk.spool_folder.glob("[!.]*.row"), key=name_of):
        target = dataset.spool_folder / path.name
        if target.exists() and target.read_bytes() == path.read_bytes():
            place.remove(path)  # the same: it was moved before
            continue
        if target.exists():
            set_aside(target, dataset.quarantine, "another picture came for the same key and attempt")
        place.move(path, target)


def _take_quarantine(dataset: Dataset, chunk: Dataset) -> None:
    aside = quarantine_of(chunk.folder)
    for why in sorted(aside.glob(f"*{REASON}"), key=name_of):
        path = why.with_name(why.name.removesuffix(REASON))
        if path.exists():
            reason = why.read_bytes().decode("utf-8", "replace").partition("\n")[2].strip()
            set_aside(path, dataset.quarantine, reason)


def _clear(chunk: Dataset) -> None:
    """Remove what tells of the chunk; its folders and its lock stay, so that a run that was taken for dead, and puts
    something there yet, is neither in the way nor forgotten."""
    for path in list(_things(chunk.folder)):
        place.remove(path)


def _things(folder: Place) -> Iterator[Place]:
    """Every file in a chunk's folder and below, but for its lock."""
    return (path for path in _files_below(folder) if path != lock_file(folder))


def _files_below(folder: Place) -> Iterator[Place]:
    for path in folder.iterdir():
        if path.is_dir():
            yield from _files_below(path)
        else:
            yield path
