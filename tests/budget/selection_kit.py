"""Sweeps and price lists for the tests of what a budget buys."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from fluxbatch.budget.axes import Axes, Survey
from fluxbatch.budget.entries import Balance, History
from fluxbatch.budget.plan import Plan, make_plan
from fluxbatch.budget.rounds import Price
from fluxbatch.budget.selection import OnBudget, Selection
from fluxbatch.manifest.request import ImageRequest, OwnColumns
from fluxbatch.models.catalogue import FLUX_2_DEV
from fluxbatch.models.money import ZERO

TILE = 512
Cell = tuple[int, ...]


def picture(row: int, width: int = TILE, height: int = TILE, steps: int = 4, prompt: str | None = None) -> ImageRequest:
    """One asked picture; 512x512 with 4 steps is expected to cost 150 neurons, which is also its bound."""
    text = f"picture {row}" if prompt is None else prompt
    return ImageRequest(
        row=row, id=None, model=FLUX_2_DEV, prompt=text, width=width, height=height, steps=steps, guidance=None,
        seed=None, references=(), sample=0, key=f"{row:064x}",
    )  # fmt: skip


def with_own(one: ImageRequest, batch: pa.RecordBatch, index: int) -> ImageRequest:
    """The same picture with a row of these as its own columns."""
    return replace(one, own=OwnColumns(batch, index))


def factorial(shape: Sequence[int], prompt: str | None = None) -> list[ImageRequest]:
    """All cells of a full factorial, the last axis fastest, with the axes as the user's own columns a, b, c, …"""
    cells = list(itertools.product(*(range(length) for length in shape)))
    columns = [pa.array([f"value {cell[axis]}" for cell in cells]) for axis in range(len(shape))]
    batch = pa.record_batch(columns, names=[chr(ord("a") + axis) for axis in range(len(shape))])
    return [with_own(picture(index + 1, prompt=prompt), batch, index) for index in range(len(cells))]


def cell_of(index: int, shape: Sequence[int]) -> Cell:
    """The cell of the row with this index, the last axis fastest."""
    cell: list[int] = []
    for length in reversed(shape):
        index, at = divmod(index, length)
        cell.append(at)
    return tuple(reversed(cell))


def axes_of(rows: Iterable[ImageRequest]) -> Axes:
    survey = Survey()
    for row in rows:
        survey.see(row)
    return survey.axes()


def planned(
    rows: Sequence[ImageRequest],
    free_nano_usd: int,
    on_budget: OnBudget,
    histories: Mapping[str, History] | None = None,
    price_max_nano_usd: int | None = None,
) -> Plan:
    """The plan for a budget; what is made is not due."""
    axes = axes_of(rows) if on_budget is OnBudget.SPREAD else None
    selection = Selection(on_budget, price_max_nano_usd, axes=axes)
    balance = Balance(free_nano_usd, ZERO, ZERO, ZERO)
    known = histories or {}
    return make_plan(iter(rows), (), balance, lambda keys: known, lambda history: not history.made, selection)


def bought(plan: Plan, rows: Sequence[ImageRequest], made: frozenset[str] = frozenset()) -> list[ImageRequest]:
    """What a run buys whose charges are as expected: round by round, each picture admitted by the guard or passed."""
    assert plan.order is not None
    rounds, free, found = plan.order.rounds(), plan.balance.free_nano_usd, []
    while rounds.begin(free) is not None:
        for row in rows:
            if rounds.takes(row, row.key not in made) and row.quote.bound.nano_usd <= free:
                free -= row.quote.expected.nano_usd
                found.append(row)
    return found


def in_order(rows: Sequence[ImageRequest], free_nano_usd: int) -> list[ImageRequest]:
    """What `stop` buys."""
    found: list[ImageRequest] = []
    for row in rows:
        if row.quote.bound.nano_usd > free_nano_usd:
            break
        free_nano_usd -= row.quote.expected.nano_usd
        found.append(row)
    return found


def most_by_trying(prices: Sequence[Price], free_nano_usd: int) -> int:
    """The most pictures that any order buys, found by trying all sets; each in its best order, dear spares first."""
    for count in range(len(prices), 0, -1):
        for some in itertools.combinations(prices, count):
            if _fits(sorted(some, key=lambda price: price[0] - price[1]), free_nano_usd):
                return count
    return 0


def _fits(prices: Iterable[Price], free_nano_usd: int) -> bool:
    for expected, bound in prices:
        if bound > free_nano_usd:
            return False
        free_nano_usd -= expected
    return True


def unevenness(cells: Iterable[Cell], shape: Sequence[int], together: int = 1) -> float:
    """How far any value of any axis (or of any combination of so many axes) is from its even share, in pictures."""
    chosen = list(cells)
    return max(
        max(abs(seen[value] - share) for value in itertools.product(*(range(shape[axis]) for axis in axes)))
        for axes, seen, share in _margins(chosen, shape, together)
    )


def _margins(
    cells: list[Cell], shape: Sequence[int], together: int
) -> Iterator[tuple[tuple[int, ...], Counter[Cell], float]]:
    for axes in itertools.combinations(range(len(shape)), together):
        share = float(len(cells))
        for axis in axes:
            share /= shape[axis]
        yield axes, Counter(tuple(cell[axis] for axis in axes) for cell in cells), share
