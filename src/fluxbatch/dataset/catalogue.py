"""The dataset's folder and its catalogue: the list of sealed parts, which readers trust.

catalogue.jsonl           the header, then one line a part; rewritten whole at each change
catalogue/                in a store: an entry for each part that was sealed since (see lines.py)
data/train-00000.parquet  the parts; one that is not listed is not part of the dataset
.fluxbatch/               spool/, quarantine/ and lock; chunks/ while a batch is made in chunks (see chunks.py)
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import platformdirs
import pyarrow as pa
import pyarrow.parquet as pq

from fluxbatch.dataset import files, lock, place
from fluxbatch.dataset.card import Card, card_text
from fluxbatch.dataset.claim import claimed
from fluxbatch.dataset.header import Header, Part, PriceList
from fluxbatch.dataset.lines import CATALOGUE as CATALOGUE  # readers of the dataset know it from here
from fluxbatch.dataset.lines import in_order, read_lines, remove_entry, write_entry, write_lines
from fluxbatch.dataset.objects import ObjectPath
from fluxbatch.dataset.own import kept_schema
from fluxbatch.dataset.parts import key_rows, sent_rows
from fluxbatch.dataset.place import Place, place_of
from fluxbatch.dataset.probe import try_rights
from fluxbatch.dataset.record import RESERVED, part_schema
from fluxbatch.dataset.spool import Spool
from fluxbatch.errors import DatasetError
from fluxbatch.models.money import ZERO, Money

INNER = ".fluxbatch"
"""The folder within a dataset that is nobody else's: spool, quarantine, lock."""
CHUNKS = "chunks"
_PART = re.compile(r"train-([0-9]{5,})(?:-[0-9a-f]{8})?\.parquet")


class Dataset:
    """An opened dataset. Threads of one process may share it; other processes are kept out by `hold`."""

    def __init__(self, folder: Place, header: Header, parts: Sequence[Part]) -> None:
        self.folder = folder
        self.home = folder
        """Where its readers look: another folder only for a chunk's."""
        self.header = header
        self.parts: tuple[Part, ...] = tuple(parts)
        self.schema: pa.Schema = part_schema(header.own_schema, header.version)
        self._changes = threading.Lock()
        self._writer = secrets.token_hex(4)
        self._next_number = 0

    @classmethod
    def create(
        cls,
        folder: Place,
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
        with locked(folder), _alone(folder):  # of two that start at once, one makes it: the other's id would forget it
            _refuse_occupied(folder)
            readme = folder / "README.md"
            if not readme.exists():
                first = Card(folder.resolve().name, part_schema(header.own_schema, header.version), simulated)
                place.put_atomic(readme, card_text(first).encode())
            dataset = cls(folder, header, ())
            dataset._write(())  # last: what has a catalogue is complete
        return dataset

    @classmethod
    def open(cls, folder: Place) -> Dataset:
        """Open what `create` made. DatasetError names the file and the line that cannot be read."""
        folder = place_of(folder)
        return cls(folder, *read_lines(folder))

    @classmethod
    def restore(cls, folder: Place, header: Header, parts: Sequence[Part]) -> Dataset:
        """Write the catalogue of a dataset that has lost it. Only while its lock is held."""
        dataset = cls(folder, header, ())
        dataset._write(tuple(parts))
        return dataset

    def chunk(self, name: str) -> Dataset:
        """Rooms of its own for one chunk of this dataset: what is made there carries this dataset's id, and is listed
        there until it is taken in (`chunks.py`)."""
        folder = self.folder / INNER / CHUNKS / name
        _make_folders(folder)
        with locked(folder):
            if not Dataset.exists(folder):
                write_lines(folder, self.header, ())
        chunk = Dataset.open(folder)
        chunk.home = self.folder
        return chunk

    @property
    def chunks_folder(self) -> Place:
        return self.folder / INNER / CHUNKS

    @classmethod
    def exists(cls, folder: Place) -> bool:
        return (place_of(folder) / CATALOGUE).exists()

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
    def data_folder(self) -> Place:
        return self.folder / "data"

    @property
    def quarantine(self) -> Place:
        return quarantine_of(self.folder)

    @property
    def spool_folder(self) -> Place:
        return self.folder / INNER / "spool"

    def spool(self) -> Spool:
        """The spool of this dataset. Make one for a run and pass it on: it collects what is set aside."""
        return Spool(self.spool_folder, self.quarantine)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep other processes out for the block; what they sealed since this was opened is read first.

        In a store its rights are tried as well: whoever holds a dataset is about to spend, or to tidy up.
        """
        _make_folders(self.folder)  # a copied dataset may have lost its empty and hidden folders
        with locked(self.folder):
            if isinstance(self.folder, ObjectPath):
                try_rights(self.folder)
            self.header, self.parts = read_lines(self.folder)
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
    def held_by(self) -> str | None:
        """The process of this machine that is working on it now; None: there is none."""
        return lock.held_by(lock_file(self.folder))

    def path(self, part: Part) -> Place:
        return self.folder / part.file

    def next_part(self) -> Place:
        """A path that no part has or had: the next number over catalogue, folder and this process's own choices.

        In a store the name says whose choice it was, so that no writer overwrites another's part, whoever wrongly
        believes that the dataset is held by it.
        """
        mine = "" if isinstance(self.folder, Path) else f"-{self._writer}"
        with self._changes, place.told(self.data_folder):
            names = [
                *(PurePosixPath(part.file).name for part in self.parts),
                *(p.name for p in self.data_folder.iterdir()),
            ]
            used = (int(match[1]) for name in names if (match := _PART.fullmatch(name)))
            number = max(self._next_number, max(used, default=-1) + 1)
            self._next_number = number + 1
            return self.data_folder / f"train-{number:05d}{mine}.parquet"

    def add_part(self, part: Part) -> None:
        """List a part, durably, in the order of the numbers. From now on readers see it."""
        with self._changes:
            if any(part.file == listed.file for listed in self.parts):
                raise ValueError(f"{part.file} is listed already")
            parts = in_order((*self.parts, part))
            if isinstance(self.folder, Path):
                self._write(parts)
            else:
                write_entry(self.folder, part)
                self.parts = parts

    def remove_part(self, part: Part) -> None:
        """List a part no longer, durably: its file is damaged or gone."""
        with self._changes:
            self._write(tuple(listed for listed in self.parts if listed.file != part.file))
            remove_entry(self.folder, part)

    def unlisted(self) -> list[Place]:
        """Files that look like parts and are not listed, so not part of the dataset."""
        listed = {PurePosixPath(part.file).name for part in self.parts}
        found = (path for path in self.data_folder.glob("train-*.parquet") if path.name not in listed)
        return sorted(found, key=place.name_of)

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
        tables = [
            pq.read_table(place.source(self.path(part)), columns=wanted, partitioning=None) for part in self.parts
        ]
        return pa.concat_tables([schema.empty_table(), *tables]).to_pandas()

    def _write(self, parts: tuple[Part, ...]) -> None:
        write_lines(self.folder, self.header, parts)
        self.parts = parts


def lock_file(folder: Place) -> Path:
    """Where a run says that it holds the dataset. For one in a store it keeps the runs of this machine and user apart;
    between machines the ledger does, which they share."""
    if isinstance(folder, Path):
        return folder / INNER / "lock"
    name = hashlib.sha256(str(folder).encode()).hexdigest()[:32]
    return Path(platformdirs.user_state_dir("fluxbatch")) / "held" / name


@contextmanager
def locked(folder: Place) -> Iterator[None]:
    """Keep other runs out for the block. DatasetInUse says who is in."""
    path = lock_file(folder)
    if not isinstance(folder, Path):
        files.make_folders(path.parent)
    with lock.hold(path, folder):
        yield


def _alone(folder: Place) -> AbstractContextManager[None]:
    """What a lock is for other machines."""
    return nullcontext() if isinstance(folder, Path) else claimed(folder, lock_file(folder).parent)


def quarantine_of(folder: Place) -> Place:
    return folder / INNER / "quarantine"


def looks_like_one(folder: Place) -> bool:
    """Whether there is a dataset, or what is left of one that has lost its catalogue."""
    return Dataset.exists(folder) or (folder / INNER).is_dir()


def _make_folders(folder: Place) -> None:
    for inner in (folder / "data", folder / INNER / "spool"):
        place.make_folders(inner)


def _refuse_reserved(own_schema: pa.Schema) -> None:
    clashes = sorted(RESERVED & set(own_schema.names))
    if clashes:
        raise DatasetError(
            f"the manifest's own columns {', '.join(clashes)} have names that the dataset writes itself; rename them"
        )


def _refuse_occupied(folder: Place) -> None:
    if Dataset.exists(folder):
        raise DatasetError(f"{folder} is a dataset already; run the same command again, or give another --out")
    if folder.exists() and not folder.is_dir():
        raise DatasetError(f"{folder} is a file; give a folder as --out")
    orphans = [*folder.glob("data/*.parquet"), *folder.glob(f"{INNER}/spool/*.row")]
    if orphans:
        raise DatasetError(
            f"{folder} has pictures ({orphans[0].name}) and no {CATALOGUE}: bring it back, or give another --out"
        )
