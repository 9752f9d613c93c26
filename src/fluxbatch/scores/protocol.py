"""What a scorer is, what it is given, and what it gives back."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from fluxbatch.dataset.measures import Pixels
from fluxbatch.errors import UsageError
from fluxbatch.plain import plain

BATCH = 32
"""A scorer is given at most so many pictures at a time: 100 MB at 1024x1024."""
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
OURS = ("checks", "duplicates")
"""Names of files of columns that `fluxbatch check` writes itself."""

_ARROW = {float: pa.float64(), int: pa.int64(), str: pa.string(), bool: pa.bool_()}


@dataclass(frozen=True, slots=True)
class Scored:
    """A picture that is to be scored: its pixels (height x width x 3, RGB, 0 to 255), the prompt it was made of, and
    its key. An undecodable picture is never given to a scorer; its scores are null."""

    key: str
    prompt: str
    pixels: Pixels = field(repr=False)


@runtime_checkable
class Scorer(Protocol):
    """Says something about pictures. It is called by one thread, batch after batch.

    `name` is that of the file that the columns are kept in, `columns` their names and types (float, int, str or bool).
    `identity` says what exactly scores: with another one, all pictures are scored anew.
    """

    @property
    def name(self) -> str: ...

    @property
    def columns(self) -> Mapping[str, type]: ...

    @property
    def identity(self) -> str: ...

    def score(self, pictures: Sequence[Scored]) -> Mapping[str, Sequence[Any]]:
        """For each column one value a picture, in their order; None (and for floats NaN) where there is none."""


def check_scorer(scorer: Scorer, written: str) -> None:
    """UsageError names all that is wrong with a scorer, `written` as the user did."""
    wrong = []
    if not isinstance(scorer.name, str) or not NAME.fullmatch(scorer.name):
        wrong.append(f"its name is {plain(repr(scorer.name), 80)}: take small letters, digits and _ (at most 40)")
    elif scorer.name in OURS:
        wrong.append(f"the name {scorer.name} is taken: fluxbatch writes columns of that name itself")
    if not isinstance(scorer.identity, str):
        wrong.append("its identity is no text: say there what exactly scores, as in 'my model, version 2'")
    columns = scorer.columns
    if not isinstance(columns, Mapping) or not columns:
        wrong.append("its columns are no mapping of names to float, int, str or bool")
    else:
        wrong += [
            f"column {plain(str(name), 80)!r}: {why}" for name, kind in columns.items() if (why := _odd(name, kind))
        ]
    if wrong:
        raise UsageError(f"the scorer {plain(written, 200)} cannot be used: {'; '.join(wrong)}")


def _odd(name: object, kind: object) -> str | None:
    if not isinstance(name, str) or not NAME.fullmatch(name) or name == "key":
        return "is no name for a column: take small letters, digits and _, and not key"
    return None if kind in _ARROW else f"{kind!r} is none of float, int, str and bool"


def fields_of(scorer: Scorer) -> tuple[pa.Field, ...]:
    return tuple(pa.field(name, _ARROW[kind]) for name, kind in scorer.columns.items())


def scores(scorer: Scorer, pictures: Sequence[Scored]) -> list[pa.Array]:
    """What a scorer says about these pictures, one array a column. UsageError when it does not keep to what it is."""
    found = scorer.score(pictures) if pictures else dict.fromkeys(scorer.columns, ())
    if set(found) != set(scorer.columns):
        raise UsageError(f"the scorer {scorer.name} gave the columns {_listed(found)}, not {_listed(scorer.columns)}")
    arrays = []
    for wanted in fields_of(scorer):
        values = list(found[wanted.name])
        if len(values) != len(pictures):
            raise UsageError(
                f"the scorer {scorer.name} gave {len(values)} values of {wanted.name} for {len(pictures)} pictures"
            )
        try:
            arrays.append(pa.array(map(_finite, values), wanted.type))
        except (pa.ArrowException, TypeError, ValueError) as error:
            told = plain(str(error), 200)
            raise UsageError(
                f"the scorer {scorer.name} gave values of {wanted.name} that are no {wanted.type}: {told}"
            ) from error
    return arrays


def _finite(value: Any) -> Any:
    """A condition like `score > 5` would be true for NaN: DuckDB holds it for the largest number."""
    value = value.item() if hasattr(value, "item") else value  # numpy's
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _listed(names: Mapping[str, object]) -> str:
    return plain(", ".join(sorted(map(str, names))) or "none", 200)
