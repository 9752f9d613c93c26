"""The lanes of one run, one for each model: made when the first row of the model is due, given up one by one.

A model that is given up ends alone: its rows are not reached, the others go on. The run ends with the last of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator

from fluxbatch.cloudflare.outcome import Fatal
from fluxbatch.dispatch.lane import Lane
from fluxbatch.dispatch.stop import Stop, StoppedBy
from fluxbatch.models.catalogue import Model

log = logging.getLogger(__name__)

OpenLane = Callable[[Model, Stop, Callable[[str], None]], Lane]
"""Makes a model's lane: with the stop that ends it, and whom to tell that patience has run out."""


class Lanes:
    """Every lane of a run, by model."""

    def __init__(self, open_lane: OpenLane, stop: Stop, due: Iterable[str] = ()) -> None:
        """`due` are the ids of the models that the plan has pictures for."""
        self._open = open_lane
        self._stop = stop
        self._due = frozenset(due)
        self._lanes: dict[str, Lane] = {}
        self._models: dict[str, Model] = {}
        self._given_up: dict[str, tuple[StoppedBy, str]] = {}
        self.on_end: Callable[[str], None] = lambda model: None
        """Told of each model that is given up."""

    def of(self, model: Model) -> Lane:
        """The model's lane."""
        lane = self._lanes.get(model.id)
        if lane is None:
            stop = Stop()
            lane = self._open(model, stop, lambda reason: self.give_up(model, StoppedBy.PLATFORM, reason))
            self._models[model.id], self._lanes[model.id] = model, lane
            self._stop.tell(lambda: stop.request(self._stop.by or StoppedBy.PLATFORM, self._stop.reason or ""))
        return lane

    def __iter__(self) -> Iterator[tuple[Model, Lane]]:
        return iter([(self._models[name], lane) for name, lane in self._lanes.items()])

    @property
    def in_flight(self) -> int:
        """Requests that are out now, over all models."""
        return sum(lane.in_flight for lane in self._lanes.values())

    @property
    def are_many(self) -> bool:
        """Whether this run has more than one model."""
        return len(self._due | self._lanes.keys()) > 1

    def give_up(self, model: Model, by: StoppedBy, reason: str) -> None:
        """Send nothing more to this model. When it was the last, the run is over."""
        lane = self.of(model)
        if lane.stop.is_set:
            return
        self._given_up[model.id] = (by, reason)
        self.on_end(model.id)
        if self.are_many:
            log.warning("nothing more is sent to %s: %s", model.name, reason)
        if self._due | self._lanes.keys() <= self._given_up.keys():
            self._end_of_the_run()
        lane.stop.request(by, reason)

    def why_given_up(self, model: Model) -> str | None:
        """Why this model ended before the others; None when it did not."""
        return self._given_up[model.id][1] if model.id in self._given_up else None

    def close(self) -> None:
        """All that could be sent was sent: rows that were not reached, because their model was given up, are told."""
        if any(self._lanes[name].unreached for name in self._given_up):
            self._end_of_the_run()

    def _end_of_the_run(self) -> None:
        by = {who for who, _ in self._given_up.values()}
        told = [
            f"{self._models[name].name}: {reason}" if self.are_many else reason
            for name, (_, reason) in self._given_up.items()
        ]
        self._stop.request(by.pop() if len(by) == 1 else StoppedBy.PLATFORM, "; ".join(told))


ABOUT_A_MODEL = frozenset({"model", "method"})
"""Unknown, not allowed, deprecated: another model of the account may work. Whatever else is fatal is so for all."""


def end_by(found: Fatal, model: Model, lanes: Lanes, stop: Stop) -> None:
    """End what a fatal answer for this model ends: the model alone, or the run."""
    reason = f"{found.message}; {found.remedy}"
    if found.kind in ABOUT_A_MODEL:
        lanes.give_up(model, StoppedBy.ACCOUNT, reason)
    else:
        stop.request(StoppedBy.ACCOUNT, reason)
