"""`fluxbatch ctl`: a wish said to the runs that are under way, and whether they have taken it up."""

from __future__ import annotations

import contextlib
import getpass
import json
import math
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from rich.console import Console
from rich.markup import escape

from fluxbatch.budget import store as side
from fluxbatch.budget import wishes
from fluxbatch.budget.lease import Lease
from fluxbatch.budget.store import Store
from fluxbatch.budget.wishes import Said, Wish
from fluxbatch.dataset.place import place_of
from fluxbatch.errors import UsageError
from fluxbatch.exit_codes import EXIT_COMPLETE, EXIT_WRONG
from fluxbatch.settings import Settings
from fluxbatch.tell import shown
from fluxbatch.whereabouts import UnderWay, dataset_of, ended_in_short, under_way

ACTIONS = ("pause", "resume", "rate", "max-in-flight", "stop")
WITH_NUMBER = ("rate", "max-in-flight")
OFF = "off"
"""In place of a number: as the run was started."""
TAKEN_UP_S = 5.0
"""A run hears every second; one that waits for its ledger, or is still starting, later."""
LOOK_EVERY_S = 0.2
WAIT_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done; `number` is None where there is none, or the order is to take one back."""

    action: str
    number: float | None = None

    @property
    def text(self) -> str:
        match self.action:
            case "pause":
                return "paused: nothing new is sent, what is in flight is finished and kept"
            case "resume":
                return "resumed"
            case "stop":
                return "stopped: nothing new is sent, what is in flight is waited for, then the run ends"
            case "rate":
                return "as fast as it was started" if self.number is None else f"at most {self.number:g} a minute"
        return "as many in flight as it was started" if self.number is None else f"at most {self.number:,.0f} in flight"

    def carried_out(self, wish: Wish, said: Said) -> Wish:
        """The wish as it is after this. Who paused or stopped first is who did."""
        match self.action:
            case "pause":
                return replace(wish, paused=wish.paused or said)
            case "resume":
                return replace(wish, paused=None)
            case "stop":
                return replace(wish, stopped=wish.stopped or said)
            case "rate":
                return replace(wish, rate_per_minute=self.number)
        return replace(wish, in_flight_max=None if self.number is None else int(self.number))


def order_of(action: str, number: str | None) -> Order:
    """What the command line asks for. UsageError says how to write it."""
    if action not in ACTIONS:
        raise UsageError(f"{action!r} is nothing that can be done to a run; there are {', '.join(ACTIONS)}")
    if action not in WITH_NUMBER:
        if number is not None:
            raise UsageError(f"{action} takes no number, and {number!r} was given")
        return Order(action)
    if number is None:
        raise UsageError(f"{action} needs a number, or {OFF!r} for what the run was started with")
    return Order(action) if number == OFF else Order(action, _number(action, number))


def _number(action: str, text: str) -> float:
    try:
        number = float(text) if action == "rate" else int(text)
    except ValueError:
        kind = "requests a minute" if action == "rate" else "requests at once, a whole number"
        raise UsageError(f"{action} {text!r} is no number ({kind}); or write {OFF!r}") from None
    if not math.isfinite(number) or number <= 0:
        raise UsageError(f"{action} {text}: it has to be more than 0 (`pause` sends nothing; {OFF!r} takes it back)")
    return number


@dataclass(frozen=True, slots=True)
class Done:
    """What came of an order: who was told, and which of them have taken it up. `ended`: the summaries of those that
    were waited for."""

    order: Order
    dataset: str
    by: str
    runs: tuple[Lease, ...]
    taken_up: frozenset[str]
    starting: frozenset[str]
    """Those that do not send yet: they take it up before they do."""
    was_waited: bool = True
    ended: Mapping[str, Mapping[str, Any] | None] | None = None

    @property
    def exit_code(self) -> int:
        missing = {one.run for one in self.runs} - self.taken_up
        return EXIT_WRONG if missing and self.was_waited and self.ended is None else EXIT_COMPLETE


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for what is done elsewhere; clock and sleep are a seam for tests."""

    taken_up_s: float = TAKEN_UP_S
    to_the_end: bool = False
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def control(settings: Settings, given: str, order: Order, patience: Patience) -> Done:
    """Say it to who works on the dataset, and wait until they do it. UsageError when nobody does, or it cannot be."""
    with contextlib.closing(Store(settings.ledger)) as store:
        dataset = dataset_of(store, given, place_of(given))
        now = store.read(lambda tx: under_way(tx, dataset))
        _check(order, now, given)
        by = me()
        for holder in now.holders:  # each by itself: it is the row of that holder alone that is locked
            with store.transaction() as tx:
                said = Said(by, now.now_us)
                wishes.say(tx, dataset, holder, lambda wish, said=said: order.carried_out(wish, said))  # type: ignore[misc]
        nobody: frozenset[str] = frozenset()
        done = Done(order, dataset, by, tuple(now.runs), nobody, nobody, patience.taken_up_s > 0)
        done = _heard(store, dataset, done, patience) if done.was_waited else done
        return _ended(store, done, now.holders, patience) if patience.to_the_end else done


def me() -> str:
    """Who says it: for those who look at the run and wonder."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user may have no name
        user = "somebody"
    return f"{user}@{platform.node()}"


def _check(order: Order, now: UnderWay, given: str) -> None:
    if not now.leases:
        raise UsageError(f"{given}: no run is going on, so there is nothing to {order.action}; `status` shows the last")
    if order.number is None:
        return
    told = [progress for run in now.runs if (progress := now.progress_of(run.run)) is not None]
    mosts = [one.rate_most if order.action == "rate" else one.in_flight_most for one in told]
    most = min((one for one in mosts if one), default=None)
    if most is not None and order.number > most:
        what = "requests a minute" if order.action == "rate" else "requests in flight"
        raise UsageError(
            f"{order.action} {order.number:g} is more than the {most:g} {what} that the run was started with, and it "
            f"never goes beyond that; give 1 to {most:g}, or {OFF!r} for all of it"
        )


def _heard(store: Store, dataset: str, done: Done, patience: Patience) -> Done:
    until_s = patience.clock() + patience.taken_up_s
    while True:
        now = store.read(lambda tx: under_way(tx, dataset))
        alive = {one.run: one for one in now.runs}
        taken = {r.run for r in done.runs if r.run not in alive or now.has_taken_up(r)}
        starting = {name for name in alive if name not in now.told}
        done = replace(done, taken_up=frozenset(taken), starting=frozenset(starting))
        if len(taken) == len(done.runs) or patience.clock() >= until_s:
            return done
        patience.sleep(LOOK_EVERY_S)


def _ended(store: Store, done: Done, holders: list[str], patience: Patience) -> Done:
    while store.read(lambda tx: under_way(tx, done.dataset)).leases:
        patience.sleep(WAIT_EVERY_S)
    found = {holder: store.read(lambda tx, name=holder: side.run_of(tx, name)) for holder in holders}  # type: ignore[misc]
    return replace(done, ended={holder: None if one is None else one.summary for holder, one in found.items()})


def show(console: Console, done: Done, *, as_json: bool) -> None:
    """What was done, and whether it is done."""
    if as_json:
        print(json.dumps(_told(done)))  # noqa: T201
        return
    console.print(f"{done.order.text} (by {shown(done.by)})", highlight=False, soft_wrap=True)
    for one in done.runs:
        console.print(f"  {shown(str(one))}: {_answer(done, one)}", highlight=False, soft_wrap=True)
    for holder, summary in (done.ended or {}).items():
        line = f"  run {shown(holder)} has ended: {escape(ended_in_short(summary))}"
        console.print(line, highlight=False, soft_wrap=True)


def _answer(done: Done, run: Lease) -> str:
    if run.run in done.taken_up:
        return "has taken it up"
    if not done.was_waited:
        return "was told"
    if run.run in done.starting:
        return "does not send yet; it takes it up before it does"
    return "has not taken it up yet; it does when it reaches the ledger again (look with `status --watch`)"


def _told(done: Done) -> dict[str, Any]:
    runs = [
        {"run": one.run, "host": one.where.host, "pid": one.where.pid, "taken_up": one.run in done.taken_up}
        for one in done.runs
    ]
    taken_up = all(one["taken_up"] for one in runs)
    return {**asdict(done.order), "dataset": done.dataset, "by": done.by, "taken_up": taken_up, "runs": runs} | (
        {} if done.ended is None else {"ended": done.ended}
    )
