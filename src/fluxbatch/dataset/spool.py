"""Each picture on disk before it is booked: one file a picture, its row as it will stand in the part.

    {key}-{attempt:04d}.row = Arrow IPC stream of one row | summary | SHA-256 of all before | magic

The hash covers picture, columns and summary; the summary (key, attempt, charge, place in the manifest) spares the
start of a run the reading of all rows.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from fluxbatch.dataset import place
from fluxbatch.dataset.image import Picture
from fluxbatch.dataset.place import Place, name_of
from fluxbatch.dataset.quarantine import Damaged, SetAside, set_aside
from fluxbatch.dataset.record import integers
from fluxbatch.errors import StorageError
from fluxbatch.models.money import Money

_SUMMARY = struct.Struct("<32sIQIqq")  # key, attempt, row, sample, nano-dollars, centineurons
_DIGEST_BYTES = 32
_MAGIC = b"FLUXROW1"
_TAIL_BYTES = _SUMMARY.size + _DIGEST_BYTES + len(_MAGIC)
_NAME = re.compile(r"([0-9a-f]{64})-([0-9]{4,10})\.row")


@dataclass(frozen=True, slots=True)
class Spooled:
    """A picture in the spool, without its bytes. `size_bytes` is the file's; `row` and `sample` are its place.

    `picture` is what a look at it said, None where nobody has looked: sealing does.
    """

    key: str
    attempt: int
    actual: Money
    path: Place
    size_bytes: int
    row: int
    sample: int
    picture: Picture | None = field(default=None, compare=False)


class Spool:
    """The spool folder. `put` may be called from many threads; all else by the one that holds the dataset.

    What turns out damaged is moved to the quarantine and stands in `quarantined`.
    """

    def __init__(self, folder: Place, quarantine: Place | None = None) -> None:
        self.folder = folder
        self.quarantine = folder.parent / "quarantine" if quarantine is None else quarantine
        self.quarantined: list[SetAside] = []
        place.make_folders(folder)

    def put(self, row: pa.RecordBatch, key: str, attempt: int) -> Spooled:
        """Keep one row durably. StorageError when the disk did not.

        A file that has the name already (the ledger was lost and counts anew) was paid for as well: it is set aside.
        """
        path = self.folder / f"{key}-{attempt:04d}.row"
        with place.told(path):
            is_there = path.is_file()
        if is_there:
            self.set_aside(path, "another picture came for the same key and attempt")
        stream = _stream(row)
        summary = _summary(row, key, attempt)
        digest = hashlib.sha256(stream)
        digest.update(summary)
        tail = summary + digest.digest() + _MAGIC
        place.put_atomic(path, lambda file: file.writelines((stream, tail)))
        return _spooled(path, summary, stream.size + len(tail))

    def load(self, entry: Spooled) -> pa.RecordBatch:
        """The row, verified. Damaged when it is not what was put, StorageError when it cannot be read."""
        content = _read(entry.path)
        if _check(entry.path, content) != entry:
            raise Damaged(f"{entry.path}: is another entry than the one that was put")
        stream = pa.py_buffer(content).slice(0, len(content) - _TAIL_BYTES)
        with pa.ipc.open_stream(stream) as reader:
            return reader.read_next_batch()

    def entries(self) -> Iterator[Spooled]:
        """Every sound entry, verified by its hash; damaged ones are set aside and stand in `quarantined`."""
        for found in scan(self.folder):
            if isinstance(found, Spooled):
                yield found
            else:
                self.set_aside(*found)

    def set_aside(self, path: Place, reason: str) -> None:
        """Move a file of the spool to the quarantine, with the reason beside it."""
        self.quarantined.append(set_aside(path, self.quarantine, reason))

    def remove(self, entries: Iterable[Spooled]) -> None:
        """Remove what stands in a listed part."""
        for _ in place.each(self.folder, lambda entry: place.remove(entry.path), entries):
            pass
        place.sync_folder(self.folder)


def scan(folder: Place) -> Iterator[Spooled | tuple[Place, str]]:
    """Every entry of a spool folder, verified by its hash, or a damaged one's path and the reason. Changes nothing.

    One that is gone by the time it is read was sealed by a run that is alive.
    """
    paths: Iterable[Place] = folder.glob("[!.]*.row")
    for found in place.each(folder, _looked, sorted(paths, key=name_of)):
        if found is not None:
            yield found


def _looked(path: Place) -> Spooled | tuple[Place, str] | None:
    try:
        return _check(path, _read(path))
    except Damaged as error:
        return path, str(error)
    except StorageError:
        if path.exists():
            raise
    return None


def _stream(row: pa.RecordBatch) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, row.schema) as writer:
        writer.write_batch(row)
    return sink.getvalue()


def _summary(row: pa.RecordBatch, key: str, attempt: int) -> bytes:
    where = (row.column("row")[0].as_py(), row.column("sample")[0].as_py())
    charge = (*integers(row.column("usd")), *integers(row.column("neurons")))
    return _SUMMARY.pack(bytes.fromhex(key), attempt, *where, *charge)


def _spooled(path: Place, summary: bytes, size_bytes: int) -> Spooled:
    key, attempt, row, sample, nano_usd, centineurons = _SUMMARY.unpack(summary)
    return Spooled(key.hex(), attempt, Money(nano_usd, centineurons), path, size_bytes, row, sample)


def _read(path: Place) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise place.storage_error(path, error, "could not be read") from error


def _check(path: Place, content: bytes) -> Spooled:
    """The entry that a file's content is. Damaged says what is wrong with it."""
    view = memoryview(content)
    if len(view) < _TAIL_BYTES or view[-len(_MAGIC) :] != _MAGIC:
        raise Damaged(f"{path}: the end is missing ({len(view)} bytes are there)")
    end = len(view) - len(_MAGIC) - _DIGEST_BYTES
    if hashlib.sha256(view[:end]).digest() != view[end : end + _DIGEST_BYTES]:
        raise Damaged(f"{path}: its SHA-256 is not the one that was written")
    entry = _spooled(path, bytes(view[end - _SUMMARY.size : end]), len(view))
    name = _NAME.fullmatch(path.name)
    if name is None or (name[1], int(name[2])) != (entry.key, entry.attempt):
        raise Damaged(f"{path}: holds the picture {entry.key}, attempt {entry.attempt}, and is named otherwise")
    return entry
