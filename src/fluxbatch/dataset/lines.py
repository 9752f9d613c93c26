"""The catalogue as it lies there: `catalogue.jsonl`, and beside it the entries that runs in a store have added.

catalogue.jsonl           the header, then one line a part; put whole
catalogue/train-….json    the line of one part that was sealed into a store, an object of its own

Together they list the parts. Where there is no lock that the kernel keeps, a line that is added to a file can take
another's away; an object that is put cannot. On a disk the entries of a dataset that was copied there are taken into
the file with its next change.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from fluxbatch.dataset import place
from fluxbatch.dataset.header import Header, Part, catalogue_text, parse_header, parse_part, part_line
from fluxbatch.dataset.place import Place
from fluxbatch.errors import DatasetError

T = TypeVar("T")
CATALOGUE = "catalogue.jsonl"
ENTRIES = "catalogue"
_PART = re.compile(r"data/train-([0-9]{1,18})(?:-[0-9a-f]+)?\.parquet")
REBUILD = "bring it back from a copy, or rebuild it with `fluxbatch verify --repair`"
AND_REBUILD = f"; {REBUILD} (or update fluxbatch)"
"""How an error about a torn catalogue ends."""


def in_order(parts: Iterable[Part]) -> tuple[Part, ...]:
    """By their numbers; of two with one number, which only a store can have, by their names."""
    return tuple(sorted(parts, key=lambda one: (_number(one.file), one.file)))


def _number(file: str) -> int:
    match = _PART.fullmatch(file)
    return 0 if match is None else int(match[1])


def write_lines(folder: Place, header: Header, parts: Iterable[Part]) -> None:
    """Put `catalogue.jsonl`, durably."""
    place.put_atomic(folder / CATALOGUE, catalogue_text(header, parts).encode())
    if isinstance(folder, Path):
        for entry in (folder / ENTRIES).glob("*.json"):
            place.remove(entry)  # it stands in the file now


def write_entry(folder: Place, part: Part) -> None:
    """List one part more, without a look at the others."""
    place.put_atomic(_entry_of(folder, part), f"{part_line(part)}\n".encode())


def remove_entry(folder: Place, part: Part) -> None:
    """Of a part that is listed no longer. On a disk there is none: writing the lines has seen to it."""
    if not isinstance(folder, Path):
        place.remove(_entry_of(folder, part))


def _entry_of(folder: Place, part: Part) -> Place:
    return folder / ENTRIES / f"{_stem(part)}.json"


def _stem(part: Part) -> str:
    return part.file.rpartition("/")[2].removesuffix(".parquet")


def read_lines(folder: Place) -> tuple[Header, tuple[Part, ...]]:
    """Header and parts. DatasetError names the file and the line that cannot be read."""
    path = folder / CATALOGUE
    header, parts = _parse(path, _text(path))
    added = _entries(folder, parts)
    return header, in_order((*parts, *added)) if added else parts


def _entries(folder: Place, known: Iterable[Part]) -> list[Part]:
    """The parts of entries that do not stand in `catalogue.jsonl` as well."""
    stems = {_stem(part) for part in known}
    paths = [path for path in (folder / ENTRIES).glob("*.json") if path.name.removesuffix(".json") not in stems]
    return list(place.each(folder, _entry, sorted(paths, key=place.name_of)))


def _entry(path: Place) -> Part:
    try:
        return parse_part(_text(path).removesuffix("\n"))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: {error}{AND_REBUILD}") from error


def torn_entries(folder: Place) -> list[Place]:
    """The entries that cannot be read: their parts are listed anew by a recovery."""
    return [path for path in (folder / ENTRIES).glob("*.json") if _is_torn(path)]


def _is_torn(path: Place) -> bool:
    try:
        _entry(path)
    except DatasetError:
        return True
    return False


def readable_lines(folder: Place) -> tuple[Header | None, list[Part]]:
    """What can still be read of a damaged catalogue: its header, and the parts whose lines are whole."""
    try:
        lines = (folder / CATALOGUE).read_bytes().decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        lines = []
    except OSError as error:
        raise place.storage_error(folder / CATALOGUE, error, "could not be read") from error
    header = _readable(parse_header, lines[0]) if lines else None
    found = (_readable(parse_part, line) for line in lines[1:])
    return header, list({part.file: part for part in found if part is not None}.values())


def _readable(parse: Callable[[str], T], line: str) -> T | None:
    try:
        return parse(line)
    except (ValueError, RecursionError):
        return None


def was_changed(folder: Place) -> bool:
    """Whether the catalogue can be read, and is yet not the bytes that were written. DatasetError when it cannot."""
    text = _text(folder / CATALOGUE)
    header, parts = _parse(folder / CATALOGUE, text)
    return text not in (catalogue_text(header, parts), catalogue_text(header, parts, checked=False))


def _text(path: Place) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise DatasetError(
            f"{path.parent} is no dataset: it has no {CATALOGUE}; give the folder of a run's --out"
        ) from None
    except OSError as error:
        raise place.storage_error(path, error, "could not be read") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: is not UTF-8 text ({error}){AND_REBUILD}") from error


def _parse(path: Place, text: str) -> tuple[Header, tuple[Part, ...]]:
    lines = text.splitlines()
    number = 1
    try:
        header = parse_header(lines[0] if lines else "")
        parts = []
        for number, line in enumerate(lines[1:], start=2):  # noqa: B007 - the error below says the line
            parts.append(parse_part(line))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}, line {number}: {error}{AND_REBUILD}") from error
    return header, tuple(parts)
