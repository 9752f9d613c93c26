"""Bugs planted on purpose: the world sees each. A world that sees none proves nothing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fluxbatch.budget import ledger
from fluxbatch.budget.entries import End, State
from fluxbatch.budget.lessons import Taken
from fluxbatch.cloudflare.outcome import Failed, Lost, Refused
from fluxbatch.dataset import files
from fluxbatch.dispatch import engine, keep, news, retry
from fluxbatch.dispatch.place import Exposure
from fluxbatch.dispatch.retry import Again
from tests.simulation.lives import play

SEEDS_MAX = 40
Patch = pytest.MonkeyPatch


def no_folder_sync(patch: Patch) -> None:
    patch.setattr(files, "sync_folder", lambda path: None)


def no_file_sync(patch: Patch) -> None:
    patch.setattr(files, "_sync", lambda descriptor: None)


def void_on_failure(patch: Patch) -> None:
    patch.setitem(keep._RESOLUTIONS, Failed, (State.VOID, End.FAILED))


def void_on_loss(patch: Patch) -> None:
    patch.setitem(keep._RESOLUTIONS, Lost, (State.VOID, End.LOST))


def refused_is_free(patch: Patch) -> None:
    real = keep.read_outcome

    def read(*args: Any) -> Any:
        outcome = real(*args)
        return replace(outcome, billed="no") if isinstance(outcome, Refused) else outcome

    patch.setattr(keep, "read_outcome", read)


def guard_looks_away(patch: Patch) -> None:
    real = ledger.reserve

    def reserve(tx: Any, *args: Any) -> Any:
        tx.exec_driver_sql("UPDATE datasets SET cap_nano_usd = cap_nano_usd + 1000000000000")
        try:
            return real(tx, *args)
        finally:
            tx.exec_driver_sql("UPDATE datasets SET cap_nano_usd = cap_nano_usd - 1000000000000")

    patch.setattr(ledger, "reserve", reserve)


def pace_begins_anew(patch: Patch) -> None:
    patch.setattr(
        news, "take_lease", lambda tx, a, learner, wanted, told, known: Taken(wanted.earliest_us, told, 0, None)
    )


def losses_are_sent_again(patch: Patch) -> None:
    def step(outcome: Any, *rest: Any) -> Any:
        return Again(0.1) if isinstance(outcome, Failed | Lost) else retry.next_step(outcome, *rest)

    patch.setattr(engine, "next_step", step)


def nothing_is_adopted(patch: Patch) -> None:
    patch.setattr(ledger, "adopt", lambda *args: False)


def exposure_is_not_bounded(patch: Patch) -> None:
    async def begin(self: Exposure) -> None:
        await asyncio.sleep(0)

    patch.setattr(Exposure, "begin", begin)
    patch.setattr(engine.Place, "__aenter__", _leave_at_once)


def exposure_is_each_models_own(patch: Patch) -> None:
    """The gates bound each lane by itself, so with one model nothing shows."""

    async def begin(self: Exposure) -> None:
        await asyncio.sleep(0)

    patch.setattr(Exposure, "begin", begin)


async def _leave_at_once(self: Any) -> Any:
    self._lane.gate.in_use -= 1
    self._lane.gate._admit()
    self._lane.gate.in_use += 1
    return self


def header_is_not_read(patch: Patch) -> None:
    real = keep.read_outcome

    def read(*args: Any) -> Any:
        outcome = real(*args)
        return replace(outcome, charge=None) if hasattr(outcome, "charge") else outcome

    patch.setattr(keep, "read_outcome", read)


# The bug, the promise that it breaks, and a seed that shows it; where the world has changed since, a later one does.
PLANTED: tuple[tuple[Callable[[Patch], None], str, int], ...] = (
    (no_folder_sync, "is booked and not kept|cannot be read|could not start", 9),
    (no_file_sync, "is booked and not kept|damaged in the spool|cannot be read|could not start", 9),
    (void_on_failure, "billed", 7),
    (void_on_loss, "billed", 24),
    (refused_is_free, "billed", 71),
    (guard_looks_away, "over the budget", 4),
    (pace_begins_anew, "requests in", 6),
    (losses_are_sent_again, "was sent after", 6),
    (nothing_is_adopted, "is not booked", 7),
    (exposure_is_not_bounded, "answers were lost|are out at once", 1),
    (exposure_is_each_models_own, "are out at once", 2),
    (header_is_not_read, "nothing is unknown", 1),
)


@pytest.mark.parametrize(("plant", "seen", "first"), PLANTED, ids=[plant.__name__ for plant, _, _ in PLANTED])
def test_a_planted_bug_is_seen(plant: Callable[[Patch], None], seen: str, first: int, monkeypatch: Patch):
    plant(monkeypatch)
    told: list[str] = []
    for seed in range(first, first + SEEDS_MAX):
        told += play(seed).broken
        if any(re.search(seen, one) for one in told):
            return
    pytest.fail(f"not seen in {SEEDS_MAX} seeds; what was seen: {told[:5]}")
