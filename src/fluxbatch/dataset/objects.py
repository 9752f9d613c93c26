"""A prefix of an object store as a place for a dataset: s3://, gs:// and az:// through pyarrow.fs.

A put is atomic (one object, whole or not at all), there is no rename and no sync, and whoever lists or reads sees every
put and removal that has returned: AWS (userguide "Amazon S3 data consistency model"), R2 (developers.cloudflare.com,
r2/reference/consistency), GCS (cloud.google.com/storage/docs/consistency) and Azure Blob Storage all say so.

pyarrow 26 has no conditional put (apache/arrow#44281), so nothing here leans on one: no two writers ever choose the
same name for different bytes, and who may write at all is the ledger's to say.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from pathlib import PurePosixPath
from typing import BinaryIO, NamedTuple, cast

import pyarrow as pa
from pyarrow import fs

from fluxbatch.dataset.stores import opened_store, store_error
from fluxbatch.errors import StorageError

PIECE_BYTES = 10 * 1024 * 1024
"""pyarrow uploads parts of exactly this size, the last one smaller: R2 takes no others. Up to one is a single put."""

READ_BYTES = 4 * 1024 * 1024
"""Each read is a round trip of tens of milliseconds: so much is read at once where a file is read from end to end."""

SCRATCH_BYTES = 16 * 1024 * 1024
"""What is drafted is held in memory up to this, then in a temporary file on this machine."""

_FILE, _NOTHING = fs.FileType.File, fs.FileType.NotFound


class Stat(NamedTuple):
    """Of an object: bytes, and when it was put (seconds since 1970, by the store's clock)."""

    st_size: int
    st_mtime: float


@dataclass(frozen=True, slots=True)
class ObjectPath:
    """An object, or a prefix that objects lie under, with those of a `Path`'s ways that a dataset needs.

    FileNotFoundError where a Path has it; whatever else the store says no to is a StorageError with what to do, never
    an OSError: a store that does not answer must not be taken for a file that is damaged.
    """

    scheme: str
    key: str
    """Bucket (or container) and prefix: `bucket/prefix/name`."""
    files: fs.FileSystem | None = field(default=None, compare=False, repr=False)
    """The store, where it is not the one that scheme and environment lead to."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.key}"

    def __truediv__(self, name: str) -> ObjectPath:
        return self._at(f"{self.key}/{name}")

    def __lt__(self, other: ObjectPath) -> bool:
        return self.key < other.key

    @property
    def name(self) -> str:
        return self.key.rpartition("/")[2]

    @property
    def parent(self) -> ObjectPath:
        return self._at(self.key.rpartition("/")[0] or self.key)

    def with_name(self, name: str) -> ObjectPath:
        return self.parent / name

    def relative_to(self, other: ObjectPath) -> PurePosixPath:
        return PurePosixPath(self.key).relative_to(other.key)

    def resolve(self) -> ObjectPath:
        """An address is whole already."""
        return self

    def exists(self) -> bool:
        return bool(self._found().type != _NOTHING)

    def is_file(self) -> bool:
        """One request where `exists` has two, because it does not ask whether it is a prefix."""
        try:
            with self.told("could not be looked up", or_missing=True):
                self.store.open_input_file(self.key).close()
        except FileNotFoundError:
            return False
        return True

    def is_dir(self) -> bool:
        """Whether objects lie below."""
        return bool(self._found().type == fs.FileType.Directory)

    def stat(self) -> Stat:
        found = self._found()
        if found.type == _NOTHING:
            raise FileNotFoundError(f"{self} is not there")
        return Stat(found.size or 0, (found.mtime_ns or 0) / 1e9)

    def iterdir(self) -> Iterator[ObjectPath]:
        """What lies directly below, objects and prefixes."""
        yield from (self._at(found.path) for found in self._listed())

    def glob(self, pattern: str) -> Iterator[ObjectPath]:
        """The objects whose name fits; only the last part of a pattern may have wildcards."""
        folder, _, wanted = pattern.rpartition("/")
        where = self / folder if folder else self
        found = (one.path for one in where._listed() if one.type == _FILE)
        yield from (self._at(path) for path in found if fnmatchcase(path.rpartition("/")[2], wanted))

    def read_bytes(self) -> bytes:
        with self.told("could not be read", or_missing=True), self.store.open_input_file(self.key) as file:
            return cast(bytes, file.read())

    def open(self, mode: str = "rb") -> io.BufferedReader:
        """For reading, from end to end or here and there."""
        assert mode == "rb", "an object is put whole"
        return io.BufferedReader(self.source(), READ_BYTES)

    def source(self) -> Source:
        """For whoever chooses what to read, as Parquet does: each read is one request."""
        with self.told("could not be read", or_missing=True):
            return Source(self, self.store.open_input_file(self.key))

    def put(self, content: BinaryIO, size_bytes: int) -> None:
        """Put an object, whole or not at all, over whatever has its name.

        A large one goes up in pieces. Of an upload that dies nothing is to be seen (the store keeps the pieces, and
        bills them, until a lifecycle rule ends incomplete uploads). One that fails is completed and removed here,
        because pyarrow has no other end for it: it completes what it lets go of, without the piece that is missing.
        """
        with self.told("could not be written"):
            stream = self.store.open_output_stream(self.key, compression=None)
            try:
                while piece := content.read(PIECE_BYTES):
                    stream.write(piece)
                stream.close()
                is_whole = size_bytes <= PIECE_BYTES or self._found().size == size_bytes
            except OSError:
                if size_bytes > PIECE_BYTES:
                    for step in (stream.close, partial(self.store.delete_file, self.key)):
                        with suppress(OSError):
                            step()
                raise
        if not is_whole:
            raise StorageError(f"{self}: has not the {size_bytes} bytes that were put; run the same command again")

    def remove(self) -> None:
        """Remove the object, if it is there."""
        with self.told("could not be removed"), suppress(FileNotFoundError):
            self.store.delete_file(self.key)

    def move_to(self, target: ObjectPath) -> None:
        """Copied, then removed: whatever dies in between, it is there."""
        with self.told(f"could not be moved to {target}"):
            self.store.copy_file(self.key, target.key)
        self.remove()

    @property
    def store(self) -> fs.FileSystem:
        return self.files if self.files is not None else opened_store(self.scheme)

    @contextmanager
    def told(self, what: str, *, or_missing: bool = False) -> Iterator[None]:
        """What the store refuses in the block becomes a StorageError about this object (`or_missing`: but a
        FileNotFoundError where there is none)."""
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            if or_missing and isinstance(error, FileNotFoundError):
                raise
            raise store_error(str(self), error, what) from None  # the cause's text may name keys

    def _at(self, key: str) -> ObjectPath:
        return ObjectPath(self.scheme, key, self.files)

    def _found(self) -> fs.FileInfo:
        with self.told("could not be looked up"):
            return self.store.get_file_info(self.key)

    def _listed(self) -> list[fs.FileInfo]:
        with self.told("could not be listed"):
            return list(self.store.get_file_info(fs.FileSelector(self.key, allow_not_found=True)))


class Source(io.RawIOBase):
    """An object that is read; what fails is a StorageError, which pyarrow hands through as it is."""

    def __init__(self, path: ObjectPath, file: pa.NativeFile) -> None:
        self._path = path
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        with self._path.told("could not be read"):
            return cast(int, self._file.readinto(buffer))

    def read(self, size: int = -1) -> bytes:
        """As many bytes as that, in one request; fewer only at the end."""
        with self._path.told("could not be read"):
            return cast(bytes, self._file.read(None if size < 0 else size))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return cast(int, self._file.seek(offset, whence))

    def tell(self) -> int:
        return cast(int, self._file.tell())


class Upload:
    """An object that is not there yet: write to `file`, then `keep` it under its name or `drop` it."""

    def __init__(self, path: ObjectPath) -> None:
        self.path = path
        self.file = cast(BinaryIO, tempfile.SpooledTemporaryFile(SCRATCH_BYTES, prefix="fluxbatch-"))  # noqa: SIM115

    def keep(self) -> None:
        """Put it. StorageError when the store would not."""
        size_bytes = self.file.seek(0, io.SEEK_END)
        self.file.seek(0)
        try:
            self.path.put(self.file, size_bytes)
        finally:
            self.drop()

    def drop(self) -> None:
        """Forget what was written."""
        with suppress(OSError):
            self.file.close()
