"""What a sweep file comes to: its rows by axis, its price, a few of its rows; and the table that is written of it."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from fluxbatch import tell
from fluxbatch.budget.plan import Shape
from fluxbatch.dataset import files
from fluxbatch.dataset.kept import KeptReferences
from fluxbatch.dataset.pictures import Earlier
from fluxbatch.dataset.record import RESERVED
from fluxbatch.errors import ManifestError, UsageError
from fluxbatch.job import defaults_of, places_of
from fluxbatch.manifest.places import Places
from fluxbatch.manifest.reader import Defaults, open_manifest
from fluxbatch.manifest.request import Complaint
from fluxbatch.manifest.sweep.kinds import Kind, kinds
from fluxbatch.manifest.sweep.segment import Segment
from fluxbatch.manifest.sweep.source import Sweep
from fluxbatch.manifest.sweep.write import write, writer_for
from fluxbatch.many import many
from fluxbatch.models.money import ZERO, Money, exact
from fluxbatch.models.price import quote
from fluxbatch.settings import Settings

ROWS_SHOWN = 5
CELL_SHOWN = 60
BLOCKS_SHOWN = 20
SHAPES_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Look:
    """Which rows are wanted: the first `limit`, a random `sample` (with its `seed`), or `preview` corners; or all."""

    limit: int | None = None
    sample: int | None = None
    seed: int = 0
    preview: int | None = None

    def rows(self, sweep: Sweep) -> Sequence[int] | None:
        """Row numbers from 1, ascending; None for all. UsageError if more than one is wanted, or fewer than one row."""
        wanted = {"limit": self.limit, "sample": self.sample, "preview": self.preview}
        given = {name: count for name, count in wanted.items() if count is not None}
        if len(given) > 1:
            raise UsageError(f"{' and '.join(f'--{name}' for name in given)} cannot go together; take one")
        for name, count in given.items():
            if count < 1:
                raise UsageError(f"--{name} {count}: take 1 or more")
        if not given or (self.preview is None and min(given.values()) >= sweep.rows):
            return None
        if self.limit is not None:
            return range(1, self.limit + 1)
        if self.preview is not None:
            return sweep.corners(self.preview)
        assert self.sample is not None
        return sorted(random.Random(self.seed).sample(range(1, sweep.rows + 1), self.sample))


@dataclass(slots=True)
class Swept:
    """A sweep, counted and priced. `rows` are those selected; `pictures` counts their samples."""

    sweep: Sweep
    selected: Sequence[int] | None
    rows: int = 0
    pictures: int = 0
    shapes: Counter[Shape] = field(default_factory=Counter)
    complaints: list[Complaint] = field(default_factory=list)
    rejected_rows: int = 0

    @property
    def expected(self) -> Money:
        return sum((quote(*shape).expected * count for shape, count in self.shapes.items()), ZERO)

    @property
    def bound(self) -> Money:
        """What they can cost at most, each bought once."""
        return sum((quote(*shape).bound * count for shape, count in self.shapes.items()), ZERO)

    def add(self, kind: Kind) -> None:
        self.rows += kind.rows
        if kind.asked is None:
            self.rejected_rows += kind.rows
            self.complaints.extend(complaint for complaint in kind.complaints if complaint not in self.complaints)
            return
        content = kind.asked.content
        self.pictures += kind.rows * kind.asked.samples
        shape = Shape(content.model, content.width, content.height, content.steps, len(content.references))
        self.shapes[shape] += kind.rows * kind.asked.samples


def show_sweep(
    path: Path,
    look: Look,
    settings: Settings,
    own: Sequence[str],
    output: Path | None,
    console: Console,
    *,
    as_json: bool,
) -> int:
    """Count, price and show a sweep, write it if `output` says so; the exit code: 2 if rows of it cannot be sent."""
    with TemporaryDirectory(prefix="fluxbatch-") as folder:  # only a plan or a run keeps what is fetched
        places = places_of(settings, KeptReferences(Path(folder)), Earlier())
        swept = sweep_of(path, defaults_of(settings), own, look, places)
        written = None if output is None else write_table(swept, output)
        if as_json:
            print(to_json(swept, written))  # noqa: T201
        else:
            show(console, swept)
    if written is not None and not as_json:
        console.print(f"{many(written, 'row is', 'rows are')} in {tell.shown(output)}", highlight=False, soft_wrap=True)
    return 2 if swept.complaints else 0


def sweep_of(path: Path, defaults: Defaults, own: Sequence[str], look: Look, places: Places | None = None) -> Swept:
    """Count and price the sweep file, or the selected rows of it. ManifestError with every complaint about the file."""
    manifest = open_manifest(path, defaults, own=own, reserved=RESERVED, places=places)
    if manifest.sweep is None:
        raise UsageError(f"{path}: this is a table, not a sweep; `fluxbatch plan` counts and prices it")
    if manifest.complaints:
        raise ManifestError("; ".join(map(str, manifest.complaints)), manifest.complaints)
    swept = Swept(manifest.sweep, look.rows(manifest.sweep))
    for kind in kinds(swept.sweep, manifest.reader, swept.selected):
        swept.add(kind)
    return swept


def write_table(swept: Swept, path: Path) -> int:
    """Write the rows to `path` (.parquet, .csv or .jsonl), whole or not at all; returns how many they are."""
    writer_for(path)
    if path.resolve() == swept.sweep.path.resolve():
        raise UsageError(f"-o {path}: this is the sweep itself; give another name")
    written: list[int] = []
    files.make_folders(path.parent)
    files.put_atomic(path, lambda sink: written.append(write(swept.sweep, path, sink, swept.selected)))
    return written[0]


def counted(sweep: Sweep) -> list[str]:
    """How the number of rows comes about, a line a block and one for all."""
    survey, blocks = sweep.survey, [segment for segment in sweep.segments if not segment.is_included]
    included = sum(segment.cells for segment in sweep.segments if segment.is_included)
    excluded = sum(survey.excluded(number) for number in range(len(sweep.segments)))
    again = sum(survey.duplicates(number) for number in range(len(sweep.segments)))
    lines = []
    if len(blocks) == 1:
        total = _product(blocks[0])
    else:
        lines = [f"{_title(block)}: {_product(block)}" for block in blocks[:BLOCKS_SHOWN]]
        if len(blocks) > BLOCKS_SHOWN:
            lines.append(f"… and {many(len(blocks) - BLOCKS_SHOWN, 'more block')}")
        shown = " + ".join(f"{block.cells:,}" for block in blocks[:BLOCKS_SHOWN])
        total = f"{shown}{' + …' if len(blocks) > BLOCKS_SHOWN else ''} = {sum(b.cells for b in blocks):,}"
    total += f", minus {excluded:,} excluded, plus {included:,} included, minus {many(again, 'duplicate')}"
    lines.append(f"{total} = {many(survey.rows, 'row')}")
    if sweep.rows < survey.rows and sweep.spec.sample is not None:
        lines.append(f"of these a random sample of {sweep.rows:,} (seed {sweep.spec.sample.seed})")
    repeated = {axis.name: axis.repeated for block in blocks for axis in block.axes if axis.repeated}
    lines += [f"{name}: {count:,} repeated values count once" for name, count in repeated.items()]
    return lines


def _title(segment: Segment) -> str:
    return f"{segment.name} (line {segment.line})" if segment.name else f"block of line {segment.line}"


def _product(segment: Segment) -> str:
    if not segment.axes:
        return f"{segment.cells:,}"
    return f"{' x '.join(f'{axis.name} {axis.size:,}' for axis in segment.axes)} = {segment.cells:,}"


def shown_rows(swept: Swept, count: int = ROWS_SHOWN) -> pa.Table:
    """A few rows as they would be written: corners, or the first of those selected."""
    sweep = swept.sweep
    rows = sweep.corners(count) if swept.selected is None else list(swept.selected[:count])
    schema = pa.schema([pa.field(name, sweep.type_of(name)) for name in sweep.headers])
    found = []
    for segment, cells in sweep.cells(rows):
        columns, _ = sweep.columns(segment, cells, sweep.headers)
        found.append(pa.RecordBatch.from_arrays(columns, schema=schema))
    return pa.Table.from_batches(found, schema).add_column(0, "row", pa.array(rows, pa.int64()))


def to_json(swept: Swept, written: int | None) -> str:
    """All of it as one JSON object."""
    sweep, survey = swept.sweep, swept.sweep.survey
    return json.dumps(
        {
            "blocks": [
                {
                    "name": segment.name,
                    "line": segment.line,
                    "included": segment.is_included,
                    "axes": {axis.name: axis.size for axis in segment.axes},
                    "cells": segment.cells,
                    "excluded": survey.excluded(number),
                    "duplicates": survey.duplicates(number),
                    "rows": survey.rows_of(number),
                }
                for number, segment in enumerate(sweep.segments)
            ],
            "rows": swept.rows,
            "pictures": swept.pictures,
            "rejected_rows": swept.rejected_rows,
            "complaints": [str(complaint) for complaint in swept.complaints],
            "expected_usd": exact(swept.expected.usd),
            "bound_usd": exact(swept.bound.usd),
            "expected_neurons": exact(swept.expected.neurons),
            "bound_neurons": exact(swept.bound.neurons),
            "written": written,
        }
    )


def show(console: Console, swept: Swept) -> None:
    """The count by axis, the price by model and size, and a few rows."""
    for line in counted(swept.sweep):
        console.print(tell.shown(line, 2000), highlight=False, soft_wrap=True)
    if swept.selected is not None:
        console.print(f"selected: {many(swept.rows, 'row')}", highlight=False)
    if swept.complaints:
        count = len(swept.complaints)
        console.print(f"[bold red]{many(swept.rejected_rows, 'row')} cannot be sent[/]")
        tell.show_complaints(console, swept.complaints, count)
    if swept.shapes:
        console.print(_price_table(swept))
    console.print(_rows_table(swept))
    console.print(f"{'pictures':>14}  {swept.pictures:,}", highlight=False)
    console.print(f"{'expected':>14}  {tell.usd(swept.expected)}  ({tell.neurons(swept.expected)})", highlight=False)
    console.print(f"{'bound':>14}  {tell.usd(swept.bound)}  ({tell.neurons(swept.bound)})", highlight=False)


def _price_table(swept: Swept) -> Table:
    table = Table(title="What it costs", box=SIMPLE, padding=0)
    for header in ("pictures", "model", "size", "steps", "refs", "expected", "bound"):
        table.add_column(header, no_wrap=header != "model", overflow="fold")
    for shape, count in swept.shapes.most_common(SHAPES_SHOWN):
        price = quote(*shape)
        table.add_row(
            f"{count:,}", tell.shown(shape.model.name), f"{shape.width}x{shape.height}", str(shape.steps),
            str(shape.references), tell.usd(price.expected * count), tell.usd(price.bound * count),
        )  # fmt: skip
    if len(swept.shapes) > SHAPES_SHOWN:
        table.add_row("…", f"{len(swept.shapes) - SHAPES_SHOWN:,} more", "", "", "", "", "")
    return table


def _rows_table(swept: Swept) -> Table:
    rows = shown_rows(swept)
    constant = [
        name for name in rows.column_names if name != "prompt" and len(rows[name].unique()) == 1 and len(rows) > 1
    ]
    names = [name for name in rows.column_names if name not in ("row", "prompt", *constant)]
    table = Table("row", "prompt", "with", title="Some of the rows", show_lines=True)
    for row in rows.to_pylist():
        given = [f"{name}={tell.shown(row[name], CELL_SHOWN)}" for name in names if row[name] is not None]
        table.add_row(str(row["row"]), tell.shown(row["prompt"], CELL_SHOWN), ", ".join(given))
    return table
