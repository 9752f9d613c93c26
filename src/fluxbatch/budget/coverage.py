"""What a plan that cannot buy everything covers: by kind of picture, and by value of each axis. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from fluxbatch.budget.axes import Axis
from fluxbatch.budget.plan import Histories, IsDue, Plan, Shape, with_histories
from fluxbatch.budget.selection import Picked
from fluxbatch.manifest.reader import Rejected
from fluxbatch.manifest.request import ImageRequest


@dataclass(frozen=True, slots=True)
class AxisCover:
    """How evenly an axis is covered: the least and the most covered of its values, as shares of what is asked."""

    name: str
    values: int
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Coverage:
    """`shapes` counts what will be bought by kind; `axes` tells of what is made or will be, where it is spread."""

    shapes: Counter[Shape] = field(default_factory=Counter)
    axes: list[AxisCover] = field(default_factory=list)


class _Counted:
    """One axis: by value, how many pictures are asked for, and how many of them are made or will be."""

    def __init__(self, axis: Axis) -> None:
        self._axis = axis
        self._asked: Counter[object] = Counter()
        self._there: Counter[object] = Counter()

    def add(self, request: ImageRequest, is_there: bool) -> None:
        value = self._axis.value(request)
        self._asked[value] += 1
        self._there[value] += is_there

    def cover(self) -> AxisCover:
        shares = [self._there[value] / count for value, count in self._asked.items()]
        return AxisCover(self._axis.name, len(shares), min(shares, default=0.0), max(shares, default=0.0))


def cover(rows: Iterable[ImageRequest | Rejected], plan: Plan, histories: Histories, is_due: IsDue) -> Coverage:
    """Read the manifest once more, and count what the plan's rounds take."""
    rounds, selection = plan.fit_in_rounds(), plan.selection
    if rounds is None:
        return Coverage()
    taking, shapes = rounds.together(), Counter[Shape]()
    counted = [_Counted(axis) for axis in selection.axes.axes] if selection.axes is not None else []
    for row in with_histories(Picked(rows, selection), histories):
        if isinstance(row, Rejected):
            continue
        request, history = row
        taken = taking.takes(request, is_due(history) and not selection.is_too_dear(request))
        shapes[Shape.of(request)] += taken
        for axis in counted:
            axis.add(request, taken or history.made)
    return Coverage(shapes, [axis.cover() for axis in counted])
