"""Many processes spend from one budget, each through its own connection."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from fluxbatch.budget.entries import End, Reserved, Resolution, State
from fluxbatch.models.money import ZERO, Money, charge
from tests.budget.budget_kit import BOUND, books

T = TypeVar("T")

PROCESSES = 4
EACH = 100


def _reserve_all(folder: Path, name: str) -> int:
    with books(folder) as own:
        return sum(isinstance(own.reserve(f"{name}-{number}"), Reserved) for number in range(EACH))


def _buy_all(folder: Path, name: str) -> Money:
    """Reserve, then post a smaller charge at once, as long as the guard lets: what was spent."""
    spent = ZERO
    with books(folder) as own:
        for number in range(EACH):
            if isinstance(own.reserve(f"{name}-{number}"), Reserved):
                actual = charge(BOUND.centineurons - number % 7 * 10_000)
                own.resolve(f"{name}-{number}", Resolution(State.POSTED, End.MADE, actual=actual))
                spent += actual
    return spent


def _open_budget(folder: Path, name: str) -> None:
    with books(folder) as own:
        own.open(200 * BOUND.nano_usd)


def _in_processes(folder: Path, *works: Callable[[Path, str], T]) -> list[T]:
    """Each work in four new processes at once, one work after the other; the results of the last."""
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        for work in works:
            results = pool.starmap(work, [(folder, f"p{number}") for number in range(PROCESSES)], chunksize=1)
    return results


def test_processes_together_reserve_exactly_what_fits_and_not_a_nano_dollar_more(tmp_path: Path):
    fits = 150
    with books(tmp_path) as own:
        own.open(fits * BOUND.nano_usd + BOUND.nano_usd - 1)
        reserved = _in_processes(tmp_path, _reserve_all)
        assert sum(reserved) == fits
        assert own.balance.reserved == BOUND * fits
        assert own.balance.free_nano_usd == BOUND.nano_usd - 1


def test_processes_that_open_a_new_ledger_at_once_and_spend_agree_on_the_sum(tmp_path: Path):
    spent = _in_processes(tmp_path, _open_budget, _buy_all)  # type: ignore[arg-type]
    with books(tmp_path) as own:
        balance = own.balance
        assert balance.spent == sum(spent, ZERO)
        assert (balance.reserved, balance.unknown) == (ZERO, ZERO)
        assert 0 <= balance.free_nano_usd < 2 * BOUND.nano_usd  # what others held at the last denial came free
