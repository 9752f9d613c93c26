"""Pictures laid out along two of their columns. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fluxbatch.query import Numbers
from fluxbatch.report.gallery import Axis
from fluxbatch.view.seen import Codes, Seen

CELLS_MAX = 240
"""On a page: what has more lines than fit goes on on the next one."""
PICTURES_MAX = 240
IN_CELL_MAX = 4


@dataclass(frozen=True, slots=True)
class Cell:
    """Of so many pictures, which are shown: by their rows' numbers."""

    across: str
    down: str
    count: int
    shown: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """The values across, and the lines of this page: each a value and its cells. `count`: of all its pictures."""

    across: Axis
    down: Axis
    values: tuple[str, ...]
    lines: tuple[tuple[str, tuple[Cell, ...]], ...]
    count: int
    pages: int


def grid_of(seen: Seen, across: Axis, down: Axis, numbers: Numbers, page: int) -> Grid:
    """The pictures of these rows as a grid; values that none of them has are left out."""
    x, y = seen.codes[across.name][numbers], seen.codes[down.name][numbers]
    placed = (x >= 0) & (y >= 0)
    numbers, x, y = numbers[placed], x[placed], y[placed]
    xs, ys = np.unique(x), np.unique(y)
    lines_max = max(1, CELLS_MAX // max(1, len(xs)))
    pages = max(1, -(-len(ys) // lines_max))
    here = ys[(page - 1) * lines_max : page * lines_max]
    in_cell = min(IN_CELL_MAX, max(1, PICTURES_MAX // max(1, len(xs) * len(here))))
    cells = _cells(numbers, x, y)
    lines = tuple(
        (down.values[line], tuple(_cell(across, down, cells, int(column), int(line), in_cell) for column in xs))
        for line in here
    )
    return Grid(across, down, tuple(across.values[column] for column in xs), lines, len(numbers), pages)


def _cells(numbers: Numbers, x: Codes, y: Codes) -> dict[tuple[int, int], Numbers]:
    """The rows of each cell that has any, in their order."""
    at = np.lexsort((x, y))  # stable: what is in one cell stays in its order
    edges = np.flatnonzero(np.diff(x[at]) | np.diff(y[at])) + 1
    groups = np.split(at, edges) if len(at) else []
    return {(int(x[group[0]]), int(y[group[0]])): numbers[group] for group in groups}


def _cell(
    across: Axis, down: Axis, cells: dict[tuple[int, int], Numbers], column: int, line: int, in_cell: int
) -> Cell:
    found = cells.get((column, line), np.empty(0, np.int64))
    shown = tuple(int(number) for number in found[:in_cell])
    return Cell(across.values[column], down.values[line], len(found), shown)
