"""`failures.parquet`: the rows that ended without a picture, as a manifest, so that they can be sent again."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fluxbatch.dataset import files, place
from fluxbatch.dataset.objects import Upload
from fluxbatch.dataset.own import FAILURE_COLUMNS, fit_row
from fluxbatch.dataset.place import Place
from fluxbatch.dataset.record import IMAGE, USD
from fluxbatch.dataset.rewritten import check_rewritten
from fluxbatch.errors import StorageError
from fluxbatch.manifest.request import ImageRequest, Reference
from fluxbatch.models.money import Money

FAILURES = "failures.parquet"
TOO_DEAR = "too_dear"
"""The failure of a row that was never sent, because one picture of it may cost more than was allowed."""
_SETTINGS = {"compression": "zstd", "write_page_checksum": True}
REFERENCES_MAX = 4
_ROWS_MAX = 1_000
_BYTES_MAX = 16 * 1024 * 1024
"""So much is held in memory before it goes to the file as one row group."""

_ASKED = (
    pa.field("prompt", pa.string()),
    pa.field("id", pa.string()),
    pa.field("model", pa.string()),
    pa.field("width", pa.int32()),
    pa.field("height", pa.int32()),
    pa.field("steps", pa.int32()),
    pa.field("guidance", pa.float64()),
    pa.field("seed", pa.int64()),
    pa.field("sample", pa.int32()),
    pa.field("negative_prompt", pa.string()),
    pa.field("strength", pa.float64()),
)
_ENDING = (pa.string(), pa.string(), pa.string(), pa.int32(), USD)
_FAILURE = tuple(map(pa.field, FAILURE_COLUMNS, _ENDING))


def check_failures(path: Place) -> None:
    """Damaged when the file is not as it was written."""
    check_rewritten(path, _SETTINGS)


def join_failures(path: Place, sources: Iterable[Place]) -> None:
    """Put the failures of several chunks one after the other into one file, durably. Without any there is no file, and
    an earlier run's is removed."""
    draft: files.Draft | Upload | None = None
    with ExitStack() as stack:
        writer: pq.ParquetWriter | None = None
        for source in sources:
            if not source.exists():
                continue
            file = stack.enter_context(pq.ParquetFile(place.source(source)))
            if writer is None:
                draft = place.draft(path)
                stack.callback(draft.drop)
                writer = pq.ParquetWriter(draft.file, file.schema_arrow, **_SETTINGS)
            with place.told(path):
                for group in range(file.num_row_groups):
                    writer.write_table(file.read_row_group(group))
        if draft is None or writer is None:
            place.remove(path)
            return
        with place.told(path):
            writer.close()
        draft.keep()


class FailureWriter:
    """Writes rows to a temp file as they come; `close` puts it in place of the last run's file.

    `own_schema` is the dataset's; an own column that has the name of a failure column is left out. `references` is
    how many input images a row can have: the manifest's number of `input_image_…` columns, so that there are none
    where there never were any. Not for several threads at once.
    """

    def __init__(self, path: Place, own_schema: pa.Schema, references: int = REFERENCES_MAX) -> None:
        self._path = path
        self._own = pa.schema([field for field in own_schema if field.name not in FAILURE_COLUMNS])
        self._references = references
        images = [pa.field(f"input_image_{number}", IMAGE) for number in range(references)]
        self._asked = [field for field in _ASKED if field.name not in self._own.names]  # as in datasets of version 1
        self.schema: pa.Schema = pa.schema([*self._asked, *images, *self._own, *_FAILURE])
        self._draft: files.Draft | Upload | None = None
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[tuple[tuple[object, ...], list[pa.Array]]] = []
        self._waiting_bytes = 0
        self._failed: StorageError | None = None
        self.rows = 0

    def add(
        self, request: ImageRequest, failure: str, code: str | None, message: str | None, attempts: int, unknown: Money
    ) -> None:
        """One row that ended as `failure` (refused, invalid, failed, lost, too_dear); `unknown` may have been billed.

        StorageError when the disk would not take what has gathered. It is told once; from then on nothing is kept.
        """
        if self._failed is not None:
            return
        images = self._images(request)
        asked = _asked(request)
        values = (*(asked[field.name] for field in self._asked), *images, failure, code, message, attempts, unknown.usd)
        own = fit_row(None if request.own is None else request.own.row(), self._own)
        self._waiting.append((values, own))
        self._waiting_bytes += len(request.prompt) + sum(len(image["bytes"] or b"") for image in images if image)
        self._waiting_bytes += sum(array.nbytes for array in own)
        self.rows += 1
        if len(self._waiting) >= _ROWS_MAX or self._waiting_bytes >= _BYTES_MAX:
            self._flush()

    def close(self) -> None:
        """Put the file in place, durably. Without a row there is no file, and an earlier run's is removed."""
        if self._failed is not None:
            raise self._failed
        if not self.rows:
            place.remove(self._path)
            return
        if self._waiting:
            self._flush()
        assert self._draft is not None and self._writer is not None  # noqa: PT018 - there is a row
        try:
            self._writer.close()
        except OSError as error:
            raise self._fail(place.storage_error(self._path, error)) from error
        self._draft.keep()
        self._draft = None

    def discard(self) -> None:
        """Forget all rows; the last run's file stays."""
        self._waiting = []
        if self._writer is not None:
            with suppress(OSError):  # the disk may be full; what it writes is dropped in any case
                self._writer.close()
        if self._draft is not None:
            self._draft.drop()

    def __enter__(self) -> FailureWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _images(self, request: ImageRequest) -> list[dict[str, Any] | None]:
        if len(request.references) > self._references:
            raise ValueError(f"{len(request.references)} references where at most {self._references} were announced")
        images: list[dict[str, Any] | None] = [_image(reference) for reference in request.references]
        return images + [None] * (self._references - len(images))

    def _flush(self) -> None:
        try:
            if self._draft is None:
                self._draft = place.draft(self._path)
                self._writer = pq.ParquetWriter(self._draft.file, self.schema, **_SETTINGS)
            assert self._writer is not None
            self._writer.write_table(self._table())
        except OSError as error:
            raise self._fail(place.storage_error(self._path, error)) from error
        except StorageError as error:
            raise self._fail(error) from error.__cause__
        self._waiting, self._waiting_bytes = [], 0

    def _fail(self, error: StorageError) -> StorageError:
        """A writer whose disk has failed is of no more use: pyarrow's is closed, and a second one would be a retry."""
        self.discard()
        self._failed = error
        return error

    def _table(self) -> pa.Table:
        """The waiting rows, column by column: a row at a time would cost ten times as much."""
        values = zip(*(values for values, _ in self._waiting), strict=True)
        plain = [field for field in self.schema if field.name not in self._own.names]
        columns = {field.name: pa.array(column, field.type) for field, column in zip(plain, values, strict=True)}
        for number, field in enumerate(self._own):
            columns[field.name] = pa.chunked_array([own[number] for _, own in self._waiting], field.type)
        table = pa.Table.from_arrays([columns[field.name] for field in self.schema], schema=self.schema)
        return table.unify_dictionaries().combine_chunks()


def _asked(request: ImageRequest) -> dict[str, object]:
    return {
        "prompt": request.prompt,
        "id": request.id,
        "model": request.model.id,
        "width": request.width,
        "height": request.height,
        "steps": request.steps,
        "guidance": request.guidance,
        "seed": request.seed,
        "sample": request.sample,
        "negative_prompt": request.negative_prompt,
        "strength": request.strength,
    }


def _image(reference: Reference) -> dict[str, Any]:
    """The original bytes, or only the path when they cannot be read any more."""
    content = reference.content
    if content is None and reference.path is not None:
        try:
            content = Path(reference.path).read_bytes()
        except OSError:
            return {"bytes": None, "path": str(Path(reference.path).absolute())}
    return {"bytes": content, "path": None if reference.path is None else Path(reference.path).name}
