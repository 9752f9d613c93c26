"""Where a canary must not be found: in any byte of a run, and in what its Parquet files hold when they are read."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

PROMPT = "canary heron in plum velvet before a wall of brass clocks"
TOKENS = (
    "cfut_Canary7cA0pQz19",
    "canary.of/no=known+shape-42",
    "CanaryOfFortyBareCharacters0123456789AbC",
    "canary-in-lower-case-of-forty-characters",
)


def everything_in(folder: Path) -> dict[str, str]:
    """The files of a run as text: raw, and Parquet decoded as well."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            found[name] = path.read_bytes().decode("latin-1")
            if path.suffix == ".parquet":
                found[f"{name} (read)"] = repr(pq.read_table(path).to_pylist()) + str(pq.read_schema(path))
    return found
