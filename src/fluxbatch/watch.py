"""`fluxbatch status --watch`: the runs that are under way, from what they tell the ledger, until they have ended."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from fluxbatch.budget import store as side
from fluxbatch.budget.entries import Balance
from fluxbatch.budget.lease import Lease
from fluxbatch.budget.outages import Outages
from fluxbatch.budget.store import Store
from fluxbatch.dataset.place import place_of
from fluxbatch.drawn import Pen, facts, moves, notes, pen_of, run_line, view
from fluxbatch.models.money import ZERO, decimal_usd, exact
from fluxbatch.plain import plain
from fluxbatch.progress import Progress, sum_of
from fluxbatch.settings import Settings
from fluxbatch.whereabouts import UnderWay, dataset_of, ended_in_short, under_way

DRAWN_EVERY_S = 1.0
TOLD_EVERY_S = 10.0
SILENT_S = 5.0
"""A run tells every second; one that was not heard of for longer waits for the ledger, or stands still."""
NOTHING_YET = Balance(0, ZERO, ZERO, ZERO)


@dataclass(frozen=True, slots=True)
class Look:
    """The runs at one moment, each with what it says of itself (None: it is still starting)."""

    now: UnderWay
    runs: tuple[tuple[Lease, Progress | None], ...]
    whole: Progress | None
    """All of them as one."""

    @property
    def balance(self) -> Balance:
        return self.now.balance or NOTHING_YET

    def notes(self, pen: Pen) -> list[str]:
        """Which runs are starting, and which have fallen silent."""
        found = []
        for run, progress in self.runs:
            silent_s = self.silent_s(run)
            if progress is None:
                found.append(pen.fit(f"{run} is starting: it reads the manifest and looks at what is there", 300))
            elif silent_s is not None and silent_s > SILENT_S:
                expires_s = (run.expires_at_us - self.now.now_us) / 1e6
                told = f"nothing was heard of {run} for {silent_s:.0f} s; it is taken for dead in {expires_s:.0f} s"
                found.append(pen.fit(told, 300))
        return found

    def silent_s(self, run: Lease) -> float | None:
        told = self.now.told.get(run.run)
        return None if told is None else max(0.0, (self.now.now_us - told.at_us) / 1e6)


def look_at(now: UnderWay) -> Look:
    """What the ledger says, put together. The run that holds a batch in chunks knows all of it, if it tells."""
    runs = tuple((run, now.progress_of(run.run)) for run in now.runs)
    telling = [progress for _, progress in runs if progress is not None]
    batch = next((found for one in now.leases if one not in now.runs and (found := now.progress_of(one.run))), None)
    whole = sum_of(telling) if telling else None
    return Look(now, runs, whole if batch is None else batch.with_speed_of(whole))


@dataclass(frozen=True, slots=True)
class Manner:
    """How it is shown: `every_s` seconds between two looks. Sleep is a seam for tests."""

    as_json: bool = False
    every_s: float | None = None
    sleep: Callable[[float], None] = time.sleep


def watch_runs(settings: Settings, given: str, console: Console, manner: Manner) -> None:
    """Show the runs until all that are under way have ended. UsageError when there is no such dataset."""
    outages = Outages(settings.patience * 60.0)
    with contextlib.closing(Store(settings.ledger, outages=outages)) as store:
        dataset = dataset_of(store, given, place_of(given))
        holders: list[str] = []
        with _shown(console, manner) as show:
            while True:
                now = store.read(lambda tx: under_way(tx, dataset))
                holders = holders or now.holders
                if not set(holders) & set(now.holders):
                    break
                show(look_at(now))
                moves_now = moves(console) and not manner.as_json
                manner.sleep(manner.every_s or (DRAWN_EVERY_S if moves_now else TOLD_EVERY_S))
        _say_how_they_ended(store, dataset, holders, console, manner)


@contextmanager
def _shown(console: Console, manner: Manner) -> Iterator[Callable[[Look], None]]:
    """How one look is shown: drawn anew where that can be, else as lines."""
    if manner.as_json:
        yield lambda look: print(json.dumps(as_json(look)), flush=True)  # noqa: T201
    elif moves(console):
        with Live(console=console, auto_refresh=False, transient=True) as live:
            yield lambda look: live.update(drawn(look, pen_of(console)), refresh=True)
    else:
        yield lambda look: _lines(look, console)


def drawn(look: Look, pen: Pen) -> Group:
    """One run as its own terminal shows it; of several a line each, and all of them as one below."""
    told: list[Group | Text] = []
    if len(look.runs) > 1:
        wide = max(len(run.seat or run.run) for run, _ in look.runs)
        for run, progress in look.runs:
            if progress is not None:
                told.append(run_line(pen.fit(run.seat or run.run, 40).ljust(min(wide, 40)), progress, pen))
    if look.whole is not None:
        told.append(view(look.whole, look.balance, pen))
    told += [Text(line, "yellow", overflow="fold") for line in look.notes(pen)]
    return Group(*told)


def _lines(look: Look, console: Console) -> None:
    pen = pen_of(console)
    at = f"{datetime.fromtimestamp(look.now.now_us / 1e6, UTC):%H:%M:%S}"
    lines = []
    if len(look.runs) > 1:
        lines = [
            f"{pen.fit(run.seat or run.run, 40)}: {facts(progress, None, pen)}"
            for run, progress in look.runs
            if progress is not None
        ]
    if look.whole is not None:
        lines += [facts(look.whole, look.balance, pen), *notes(look.whole, pen)]
    for line in [*lines, *look.notes(pen)]:
        console.print(f"{at} {line}", highlight=False, soft_wrap=True, markup=False)


def as_json(look: Look) -> dict[str, Any]:
    """The same for programs: one object a look."""
    balance = look.balance
    return {
        "at": datetime.fromtimestamp(look.now.now_us / 1e6, UTC).isoformat(timespec="milliseconds"),
        "budget_usd": exact(decimal_usd(balance.cap_nano_usd)),
        "spent_usd": exact(balance.spent.usd),
        "reserved_usd": exact(balance.reserved.usd),
        "unknown_usd": exact(balance.unknown.usd),
        "runs": [_run_json(look, run, progress) for run, progress in look.runs],
        "whole": None if look.whole is None else look.whole.to_dict(),
    }


def _run_json(look: Look, run: Lease, progress: Progress | None) -> dict[str, Any]:
    who = {"run": run.run, "chunk": run.seat, "host": run.where.host, "pid": run.where.pid}
    silent_s = look.silent_s(run)
    heard = {"silent_s": None if silent_s is None else round(silent_s, 1)}
    return who | heard | {"progress": None if progress is None else progress.to_dict()}


def _say_how_they_ended(store: Store, dataset: str, holders: list[str], console: Console, manner: Manner) -> None:
    """Of those that were watched; of the last run when none was under way."""
    if not holders:
        last = store.read(lambda tx: side.last_runs(tx, dataset, 1))
        holders = [str(last[0].run)] if last else []
        if not manner.as_json:
            console.print("No run is going on.", highlight=False)
    ended: dict[str, Mapping[str, Any] | None] = {}
    for holder in holders:
        found = store.read(lambda tx, name=holder: side.run_of(tx, name))  # type: ignore[misc]
        ended[holder] = None if found is None else found.summary
    if manner.as_json:
        print(json.dumps({"ended": ended}))  # noqa: T201
        return
    for holder, summary in ended.items():
        line = f"run {plain(holder, 100)} has ended: {ended_in_short(summary)}"
        console.print(line, highlight=False, soft_wrap=True, markup=False)
