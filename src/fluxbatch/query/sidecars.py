"""Columns that came later: `.fluxbatch/columns/NAME.parquet` beside the parts, joined to their rows by `key`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from fluxbatch.dataset import place
from fluxbatch.dataset.catalogue import INNER, Dataset
from fluxbatch.dataset.parts import UNREADABLE, opened
from fluxbatch.dataset.place import Place
from fluxbatch.dataset.quarantine import Damaged
from fluxbatch.query.duck import Duck, asked, told_to
from fluxbatch.query.names import free_name

FOLDER = "columns"
KEY = "key"
_REWRITE = "remove it, and run what wrote it again"


def sidecar_file(dataset: Dataset, name: str) -> Place:
    """Where the sidecar NAME of a dataset lies."""
    return dataset.folder / INNER / FOLDER / f"{name}.parquet"


@dataclass(frozen=True, slots=True)
class Sidecar:
    """One file, and what each of its columns is called among the dataset's (which have their names first)."""

    name: str
    path: Place
    columns: dict[str, pa.Field]

    @classmethod
    def of(cls, path: Place, taken: Sequence[str]) -> Sidecar:
        """Damaged when it cannot be read or has no keys."""
        with opened(path) as file:
            schema = file.schema_arrow
        if schema.get_field_index(KEY) < 0 or not pa.types.is_string(schema.field(KEY).type):
            raise Damaged(f"{path}: has no column {KEY} of texts; {_REWRITE}")
        names = list(taken)
        columns = {}
        for field in schema:
            if field.name != KEY:
                names.append(free_name(field.name, names))
                columns[names[-1]] = field
        return cls(path.name.removesuffix(".parquet"), path, columns)


def sidecars(dataset: Dataset, taken: Sequence[str]) -> list[Sidecar]:
    """Those of a dataset, by name."""
    names, found = list(taken), []
    for path in sorted((dataset.folder / INNER / FOLDER).glob("*.parquet"), key=place.name_of):
        found.append(Sidecar.of(path, names))
        names += found[-1].columns
    return found


class Joined:
    """A sidecar in memory, so that batch after batch can be joined to it."""

    def __init__(self, duck: Duck, sidecar: Sidecar, number: int) -> None:
        """`number` is the sidecar's among the dataset's, which names its table."""
        self.sidecar = sidecar
        self._table = _read(sidecar)
        self._name = f'"sidecar {number}"'
        keys = pa.table({KEY: self._table.column(KEY), "at": pa.arange(0, len(self._table))})
        told_to(duck, keys, f'CREATE OR REPLACE TABLE {self._name} AS SELECT * FROM "the rows"')  # noqa: S608
        twice = duck.execute(f"SELECT count(*) - count(DISTINCT {KEY}) FROM {self._name}").fetchall()[0][0]  # noqa: S608
        if twice:
            raise Damaged(f"{sidecar.path}: has keys that stand twice or are missing; {_REWRITE}")

    def columns(self, duck: Duck, keys: pa.Array, names: Sequence[str]) -> list[pa.Array]:
        """The values of these columns for these keys, in their order; null where the sidecar has none."""
        batch = pa.RecordBatch.from_arrays([keys, pa.arange(0, len(keys))], ["key", "n"])
        sql = f'SELECT s.at FROM "the rows" r LEFT JOIN {self._name} s ON r.key = s.key ORDER BY r.n'  # noqa: S608
        at = asked(duck, batch, sql).column("at").combine_chunks()
        return [self._table.column(self.sidecar.columns[name].name).combine_chunks().take(at) for name in names]


def _read(sidecar: Sidecar) -> pa.Table:
    try:
        with opened(sidecar.path) as file:
            table = file.read(use_threads=False)
        table.validate(full=True)
    except UNREADABLE as error:
        raise Damaged(f"{sidecar.path}: {error}; {_REWRITE}") from error
    return table.combine_chunks()
