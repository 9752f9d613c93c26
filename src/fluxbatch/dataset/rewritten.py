"""Is a Parquet file of ours, whose hash is kept nowhere, as it was written? (A part not listed yet, the failures.)

Checksums cover neither dictionaries nor page headers nor the footer: a third of the flipped bits of a small part is
read without an error. But pyarrow writes the same table to the same bytes, so what is read is written and compared.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from functools import lru_cache
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq

from fluxbatch.dataset.hashed import Hashed
from fluxbatch.dataset.parts import UNREADABLE, file_sha256, opened
from fluxbatch.dataset.place import Place
from fluxbatch.dataset.quarantine import Damaged
from fluxbatch.dataset.record import IMAGE

_PLAIN = (
    *(pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal),
    *(pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_date, pa.types.is_timestamp),
)
_OURS = (IMAGE, pa.list_(pa.string()))


def check_rewritten(path: Place, settings: Mapping[str, object]) -> None:
    """Damaged when the file is not the bytes that `settings` and its own rows make.

    It is only read to its end when it was written by another pyarrow, or has columns of which not every value comes
    back as the same bytes (fixed-size lists with nulls, to name one).
    """
    again = Hashed()
    with opened(path) as file:
        try:
            schema = schema_given(file)
            with pq.ParquetWriter(pa.PythonFile(again, mode="w"), schema, **settings) as writer:
                for number in range(file.num_row_groups):
                    group = file.read_row_group(number)
                    if is_plain(schema):
                        writer.write_table(group.cast(schema), row_group_size=len(group))
            comparable = is_plain(schema) and not _by_another(str(file.metadata.created_by))
        except (*UNREADABLE, ValueError, KeyError) as error:
            raise Damaged(f"{path}: {error}") from error
    if comparable and again.sha256 != file_sha256(path):
        raise Damaged(f"{path}: is not as it was written")


def is_plain(schema: pa.Schema) -> bool:
    """Whether all columns come back as the same bytes, whatever is in them."""
    return all(any(test(kind) for test in _PLAIN) or kind in _OURS for kind in schema.types)


def schema_given(file: pq.ParquetFile) -> pa.Schema:
    """The schema that the writer was given. The one that pyarrow reads names a list's elements otherwise."""
    kept = (file.metadata.metadata or {})[b"ARROW:schema"]
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(kept, validate=True)))


def _by_another(name: str) -> bool:
    return name != _created_by() and re.fullmatch(r"parquet-cpp-arrow version [0-9.]+", name) is not None


@lru_cache(maxsize=1)
def _created_by() -> str:
    """How this pyarrow signs its files."""
    file = BytesIO()
    pq.write_table(pa.table({}), file)
    name: str = pq.ParquetFile(BytesIO(file.getvalue())).metadata.created_by
    return name
