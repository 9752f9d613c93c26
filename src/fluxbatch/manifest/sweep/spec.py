"""What a sweep file says, as it stands there: levels, axes and entries with their lines. Frozen, nothing resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from fluxbatch.manifest.sweep.nodes import Value


@dataclass(frozen=True, slots=True)
class InPlace:
    """Values written into the sweep file."""

    values: tuple[Value, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Range:
    """first, first + step, … up to last: `last` is taken if the steps reach it, unless `exclusive`."""

    first: int | Decimal
    last: int | Decimal
    step: int | Decimal
    exclusive: bool
    line: int


@dataclass(frozen=True, slots=True)
class FromFile:
    """A column of a CSV, TSV, JSONL or Parquet file, or the lines of a text file. `file` is relative to the sweep."""

    file: str
    column: str | None
    line: int


Listed = InPlace | Range | FromFile


@dataclass(frozen=True, slots=True)
class Prompt:
    """A template: a text, or a structure that is sent as JSON."""

    template: Any
    line: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of `exclude` or `include`: names with the values meant."""

    names: Mapping[str, Listed]
    line: int


@dataclass(frozen=True, slots=True)
class Draw:
    """A random sample: how many, and the seed that makes it the same again."""

    count: int
    seed: int
    line: int


@dataclass(frozen=True, slots=True)
class Level:
    """The top of the file, or one block. What it does not say it has from the level around it."""

    line: int
    name: str | None = None
    prompts: tuple[Prompt, ...] = ()
    alternatives: Draw | None = None
    """None: all alternatives of the prompt's {a|b}."""
    defaults: Mapping[str, Listed] = field(default_factory=dict)
    axes: Mapping[str, Listed] = field(default_factory=dict)
    zips: tuple[Mapping[str, Listed], ...] = ()
    exclude: tuple[Entry, ...] = ()
    include: tuple[Entry, ...] = ()
    blocks: tuple[Level, ...] = ()


@dataclass(frozen=True, slots=True)
class Spec:
    """A whole sweep file."""

    top: Level
    wildcards: str | None = None
    """Folder of the wildcard files, relative to the sweep file."""
    sample: Draw | None = None
