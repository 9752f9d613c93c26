"""`references.parquet`: where each reference came from, and what was sent of it. The parts name them by hash.

One row for each original, source and fitted size that a manifest of this dataset has asked for. It is written before
the first request, and grows: what an earlier run used stands there still.
"""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq

from fluxbatch.dataset import place
from fluxbatch.dataset.parts import UNREADABLE
from fluxbatch.dataset.place import Place
from fluxbatch.dataset.quarantine import set_aside
from fluxbatch.manifest.request import Cited

CITED = "references.parquet"

SCHEMA = pa.schema(
    [
        pa.field("sha256", pa.string()),
        pa.field("source", pa.string()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("fit", pa.string()),
        pa.field("crop_width", pa.int32()),
        pa.field("crop_height", pa.int32()),
        pa.field("sent_width", pa.int32()),
        pa.field("sent_height", pa.int32()),
        pa.field("changes", pa.list_(pa.string())),
    ]
)
"""The fields of `Cited`, in order."""


def write_cited(folder: Place, cited: Iterable[Cited]) -> None:
    """Add what is new to the dataset's table, durably. Without anything new nothing is written.

    A table that cannot be read is set aside, and begun anew. StorageError when the disk would not.
    """
    path = folder / CITED
    before = _read(path, folder / ".fluxbatch" / "quarantine")
    whole = dict.fromkeys((*before, *cited))
    if len(whole) == len(before):
        return
    columns = [pa.array(column, field.type) for column, field in zip(zip(*whole, strict=True), SCHEMA, strict=True)]
    content = BytesIO()
    pq.write_table(pa.Table.from_arrays(columns, schema=SCHEMA), content, compression="zstd", write_page_checksum=True)
    place.put_atomic(path, content.getvalue())


def _read(path: Place, quarantine: Place) -> list[Cited]:
    if not path.exists():
        return []
    try:
        table = pq.read_table(place.source(path), page_checksum_verification=True, partitioning=None).cast(SCHEMA)
        rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
        return [Cited._make((*row[:-1], tuple(row[-1] or ()))) for row in rows]
    except (*UNREADABLE, ValueError) as error:
        set_aside(path, quarantine, f"cannot be read ({error})")
        return []
