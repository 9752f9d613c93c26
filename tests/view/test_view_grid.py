"""Each picture is counted in its cell, once; what does not fit on the page is on the next one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fluxbatch.report.gallery import Axis
from fluxbatch.view.grid import CELLS_MAX, PICTURES_MAX, Grid, grid_of
from fluxbatch.view.seen import Seen

NOTHING = np.zeros((0, 32), np.uint8)


def seen_of(x: list[int], y: list[int], across: Axis, down: Axis) -> Seen:
    codes = {across.name: np.array(x, np.int16), down.name: np.array(y, np.int16)}
    return Seen(len(x), (across, down), codes, 0, NOTHING, np.arange(0))


def axis(name: str, count: int) -> Axis:
    return Axis(name, tuple(f"{name}{number}" for number in range(count)))


def pages(seen: Seen, across: Axis, down: Axis, numbers: list[int]) -> list[Grid]:
    first = grid_of(seen, across, down, np.array(numbers, np.int64), 1)
    return [grid_of(seen, across, down, np.array(numbers, np.int64), page) for page in range(1, first.pages + 1)]


@given(st.data())
def test_a_grid_has_what_was_found_and_nothing_else(data: st.DataObject):
    across, down = axis("a", data.draw(st.integers(2, 60))), axis("d", data.draw(st.integers(2, 60)))
    count = data.draw(st.integers(0, 300))
    x = data.draw(st.lists(st.integers(-1, len(across.values) - 1), min_size=count, max_size=count))
    y = data.draw(st.lists(st.integers(-1, len(down.values) - 1), min_size=count, max_size=count))
    numbers = data.draw(st.permutations(range(count)))[: data.draw(st.integers(0, count))]
    expected: dict[tuple[str, str], list[int]] = {}
    for number in numbers:
        if x[number] >= 0 and y[number] >= 0:
            expected.setdefault((across.values[x[number]], down.values[y[number]]), []).append(number)
    grids = pages(seen_of(x, y, across, down), across, down, numbers)
    cells = [cell for grid in grids for _, line in grid.lines for cell in line]
    assert {(cell.across, cell.down): cell.count for cell in cells if cell.count} == {
        place: len(found) for place, found in expected.items()
    }
    for cell in cells:
        assert list(cell.shown) == expected.get((cell.across, cell.down), [])[: len(cell.shown)]
        assert bool(cell.shown) == bool(cell.count)
    for grid in grids:
        assert grid.values == tuple(value for value in across.values if value in {place[0] for place in expected})
        assert sum(len(cell.shown) for _, line in grid.lines for cell in line) <= PICTURES_MAX
        assert sum(len(line) for _, line in grid.lines) <= max(CELLS_MAX, len(grid.values))
        assert grid.count == sum(map(len, expected.values()))


def test_a_few_cells_show_four_pictures_each_in_their_order():
    across, down = axis("a", 2), axis("d", 2)
    seen = seen_of([0, 1] * 6, [0] * 6 + [1] * 6, across, down)
    [grid] = pages(seen, across, down, [10, 8, 6, 4, 2, 0, 11, 9, 7, 5, 3, 1])
    assert [(line, [cell.shown for cell in cells]) for line, cells in grid.lines] == [
        ("d0", [(4, 2, 0), (5, 3, 1)]),
        ("d1", [(10, 8, 6), (11, 9, 7)]),
    ]


def test_nothing_found_is_an_empty_grid():
    grid = grid_of(seen_of([], [], axis("a", 2), axis("d", 2)), axis("a", 2), axis("d", 2), np.arange(0), 1)
    assert (grid.lines, grid.count, grid.pages) == ((), 0, 1)
