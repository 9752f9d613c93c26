"""What a plan that cannot buy everything covers: by kind of picture, and by value of each axis. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from fluxbatch.budget.axes import values_of
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


@dataclass(slots=True)
class Coverage:
    """`shapes` counts what will be bought by kind; `axes` tells of what is made or will be, where it is spread."""

    shapes: Counter[Shape] = field(default_factory=Counter)
    axes: list[AxisCover] = field(default_factory=list)


def cover(rows: Iterable[ImageRequest | Rejected], plan: Plan, histories: Histories, is_due: IsDue) -> Coverage:
    """Read the manifest once more, and count what the plan's rounds take."""
    found, rounds = Coverage(), plan.fit_in_rounds()
    if rounds is None:
        return found
    taking, selection = rounds.together(), plan.selection
    axes = () if selection.axes is None else selection.axes.axes
    asked: list[Counter[object]] = [Counter() for _ in axes]
    there: list[Counter[object]] = [Counter() for _ in axes]
    for row in with_histories(Picked(rows, selection), histories):
        if isinstance(row, Rejected):
            continue
        request, history = row
        taken = taking.takes(request, is_due(history) and not selection.is_too_dear(request.quote))
        if taken:
            found.shapes[Shape.of(request)] += 1
        if axes:
            values = values_of(request)
            for axis, asked_of, there_of in zip(axes, asked, there, strict=True):
                asked_of[values[axis.column]] += 1
                there_of[values[axis.column]] += taken or history.made
    for axis, asked_of, there_of in zip(axes, asked, there, strict=True):
        shares = [there_of[value] / count for value, count in asked_of.items()]
        found.axes.append(AxisCover(axis.name, len(shares), min(shares), max(shares)))
    return found
