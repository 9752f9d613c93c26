"""The dataset's folder and its catalogue: the list of sealed parts, which readers trust.

catalogue.jsonl           the header, then one line a part; rewritten whole at each change
data/train-00000.parquet  the parts; one that is not listed is not part of the dataset
.fluxbatch/               spool/, quarantine/ and lock
"""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from fluxbatch.dataset import files, lock
from fluxbatch.dataset.card import card
from fluxbatch.dataset.header import Header, Part, PriceList, catalogue_text, parse_header, parse_part
from fluxbatch.dataset.own import kept_schema
from fluxbatch.dataset.parts import key_rows, sent_rows
from fluxbatch.dataset.record import RESERVED, part_schema
from fluxbatch.dataset.spool import Spool
from fluxbatch.errors import DatasetError
from fluxbatch.models.money import ZERO, Money

T = TypeVar("T")
CATALOGUE = "catalogue.jsonl"
INNER = ".fluxbatch"
"""The folder within a dataset that is nobody else's: spool, quarantine, lock."""
REBUILD = "bring it back from a copy, or rebuild it with `fluxbatch verify --repair`"
AND_REBUILD = f"; {REBUILD} (or update fluxbatch)"
"""How an error about a torn catalogue ends."""
_PART = re.compile(r"train-([0-9]{5,})\.parquet")


class Dataset:
    """An opened dataset. Threads of one process may share it; other processes are kept out by `hold`."""

    def __init__(self, folder: Path, header: Header, parts: Sequence[Part]) -> None:
        self.folder = folder
        self.header = header
        self.parts: tuple[Part, ...] = tuple(parts)
        self.schema: pa.Schema = part_schema(header.own_schema, header.version)
        self._changes = threading.Lock()
        self._next_number = 0

    @classmethod
    def create(
        cls,
        folder: Path,
        own_schema: pa.Schema,
        simulated: bool,
        *,
        created_at: datetime | None = None,
        dataset_id: str | None = None,
        prices: PriceList | None = None,
    ) -> Dataset:
        """Make a new dataset in `folder`, for the user's own columns of a manifest (see `own.kept_schema`).

        DatasetError when there is one already, or parts or pictures of one that has lost its catalogue; DatasetInUse
        when another process is making it.
        """
        header = Header(
            dataset_id or uuid.uuid4().hex, created_at or datetime.now(UTC), simulated, kept_schema(own_schema)
        )
        header = header if prices is None else header.with_prices(prices)
        _refuse_reserved(header.own_schema)
        _refuse_occupied(folder)
        _make_folders(folder)
        with lock.hold(lock_file(folder)):  # of two that start at once, one makes it: the other's id would forget it
            _refuse_occupied(folder)
            readme = folder / "README.md"
            if not readme.exists():
                files.put_atomic(readme, card(folder.resolve().name, simulated).encode())
            dataset = cls(folder, header, ())
            dataset._write(())  # last: what has a catalogue is complete
        return dataset

    @classmethod
    def open(cls, folder: Path) -> Dataset:
        """Open what `create` made. DatasetError names the file and the line that cannot be read."""
        return cls(folder, *_read(folder / CATALOGUE))

    @classmethod
    def restore(cls, folder: Path, header: Header, parts: Sequence[Part]) -> Dataset:
        """Write the catalogue of a dataset that has lost it. Only while its lock is held."""
        dataset = cls(folder, header, ())
        dataset._write(tuple(parts))
        return dataset

    @classmethod
    def exists(cls, folder: Path) -> bool:
        return (folder / CATALOGUE).exists()

    @property
    def id(self) -> str:
        return self.header.id

    @property
    def simulated(self) -> bool:
        return self.header.simulated

    @property
    def own_schema(self) -> pa.Schema:
        return self.header.own_schema

    @property
    def data_folder(self) -> Path:
        return self.folder / "data"

    @property
    def quarantine(self) -> Path:
        return quarantine_of(self.folder)

    @property
    def spool_folder(self) -> Path:
        return self.folder / INNER / "spool"

    def spool(self) -> Spool:
        """The spool of this dataset. Make one for a run and pass it on: it collects what is set aside."""
        return Spool(self.spool_folder, self.quarantine)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep other processes out for the block; what they sealed since this was opened is read first."""
        _make_folders(self.folder)  # a copied dataset may have lost its empty and hidden folders
        with lock.hold(lock_file(self.folder)):
            self.header, self.parts = _read(self.folder / CATALOGUE)
            self.schema = part_schema(self.own_schema, self.header.version)
            yield

    def use_prices(self, prices: PriceList) -> None:
        """Note the price list of a run, durably, when it is another than the last run's. Only while it is held."""
        with self._changes:
            header = self.header.with_prices(prices)
            if header is not self.header:
                self.header = header
                self._write(self.parts)

    @property
    def is_held(self) -> bool:
        """Whether a run is working on it now."""
        return lock.is_held(lock_file(self.folder))

    def path(self, part: Part) -> Path:
        return self.folder / part.file

    def next_part(self) -> Path:
        """A path that no part has or had: the next number over catalogue, folder and this process's own choices."""
        with self._changes, files.told(self.data_folder):
            names = [*(Path(part.file).name for part in self.parts), *(p.name for p in self.data_folder.iterdir())]
            used = (int(match[1]) for name in names if (match := _PART.fullmatch(name)))
            number = max(self._next_number, max(used, default=-1) + 1)
            self._next_number = number + 1
            return self.data_folder / f"train-{number:05d}.parquet"

    def add_part(self, part: Part) -> None:
        """List a part, durably, in the order of the numbers. From now on readers see it."""
        with self._changes:
            if any(part.file == listed.file for listed in self.parts):
                raise ValueError(f"{part.file} is listed already")
            self._write(tuple(sorted((*self.parts, part), key=lambda one: (len(one.file), one.file))))

    def remove_part(self, part: Part) -> None:
        """List a part no longer, durably: its file is damaged or gone."""
        with self._changes:
            self._write(tuple(listed for listed in self.parts if listed.file != part.file))

    def unlisted(self) -> list[Path]:
        """Files that look like parts and are not listed, so not part of the dataset."""
        listed = {Path(part.file).name for part in self.parts}
        return sorted(p for p in self.data_folder.glob("train-*.parquet") if p.name not in listed)

    def keys(self, part: Part) -> Iterator[tuple[str, int, Money]]:
        """Key, attempt and actual charge of each row: what the ledger has to know of a part."""
        return key_rows(self.path(part))

    def sent(self, part: Part) -> Iterator[tuple[str, int, Money, int, str]]:
        """As `keys`, and when each request was sent, in microseconds since 1970 (a charge belongs to that day), and to
        which model (its id)."""
        return sent_rows(self.path(part))

    @property
    def spent(self) -> Money:
        """What the pictures of all listed parts have cost."""
        return sum((Money(part.nano_usd, part.centineurons) for part in self.parts), ZERO)

    def to_pandas(self, columns: Sequence[str] | None = None) -> Any:
        """All listed parts as one pandas DataFrame; name `columns` when the pictures do not fit into memory."""
        wanted = None if columns is None else list(columns)
        schema = self.schema if wanted is None else pa.schema([self.schema.field(name) for name in wanted])
        tables = [pq.read_table(self.path(part), columns=wanted, partitioning=None) for part in self.parts]
        return pa.concat_tables([schema.empty_table(), *tables]).to_pandas()

    def _write(self, parts: tuple[Part, ...]) -> None:
        files.put_atomic(self.folder / CATALOGUE, catalogue_text(self.header, parts).encode())
        self.parts = parts


def lock_file(folder: Path) -> Path:
    return folder / INNER / "lock"


def quarantine_of(folder: Path) -> Path:
    return folder / INNER / "quarantine"


def looks_like_one(folder: Path) -> bool:
    """Whether there is a dataset, or what is left of one that has lost its catalogue."""
    return Dataset.exists(folder) or (folder / INNER).is_dir()


def _make_folders(folder: Path) -> None:
    for inner in (folder / "data", folder / INNER / "spool"):
        files.make_folders(inner)


def _refuse_reserved(own_schema: pa.Schema) -> None:
    clashes = sorted(RESERVED & set(own_schema.names))
    if clashes:
        raise DatasetError(
            f"the manifest's own columns {', '.join(clashes)} have names that the dataset writes itself; rename them"
        )


def _refuse_occupied(folder: Path) -> None:
    if Dataset.exists(folder):
        raise DatasetError(f"{folder} is a dataset already; run the same command again, or give another --out")
    if folder.exists() and not folder.is_dir():
        raise DatasetError(f"{folder} is a file; give a folder as --out")
    orphans = [*folder.glob("data/*.parquet"), *folder.glob(f"{INNER}/spool/*.row")]
    if orphans:
        raise DatasetError(
            f"{folder} has pictures ({orphans[0].name}) and no {CATALOGUE}: bring it back, or give another --out"
        )


def readable_lines(folder: Path) -> tuple[Header | None, list[Part]]:
    """What can still be read of a damaged catalogue: its header, and the parts whose lines are whole."""
    try:
        lines = (folder / CATALOGUE).read_bytes().decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        lines = []
    except OSError as error:
        raise files.storage_error(folder / CATALOGUE, error, "could not be read") from error
    header = _readable(parse_header, lines[0]) if lines else None
    found = (_readable(parse_part, line) for line in lines[1:])
    return header, list({part.file: part for part in found if part is not None}.values())


def _readable(parse: Callable[[str], T], line: str) -> T | None:
    try:
        return parse(line)
    except (ValueError, RecursionError):
        return None


def was_changed(folder: Path) -> bool:
    """Whether the catalogue can be read, and is yet not the bytes that were written. DatasetError when it cannot."""
    text = _text(folder / CATALOGUE)
    header, parts = _parse(folder / CATALOGUE, text)
    return text not in (catalogue_text(header, parts), catalogue_text(header, parts, checked=False))


def _read(path: Path) -> tuple[Header, tuple[Part, ...]]:
    return _parse(path, _text(path))


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise DatasetError(
            f"{path.parent} is no dataset: it has no {CATALOGUE}; give the folder of a run's --out"
        ) from None
    except OSError as error:
        raise files.storage_error(path, error, "could not be read") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: is not UTF-8 text ({error}){AND_REBUILD}") from error


def _parse(path: Path, text: str) -> tuple[Header, tuple[Part, ...]]:
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
