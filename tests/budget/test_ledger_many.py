"""Many processes spend from one budget, each through its own connection."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import TypeVar

import pytest

from fluxbatch.budget import ledger, windows
from fluxbatch.budget.entries import End, Period, Reserved, Resolution, State
from fluxbatch.models.money import ZERO, Money, charge
from tests.budget.budget_kit import ACCOUNT, BOUND, NOW_US, books_at, take_moments
from tests.soak import soak

T = TypeVar("T")

PROCESSES = soak(4, 8)
EACH = soak(100, 1_000)


def _reserve_all(url: str, name: str) -> int:
    with books_at(url) as own:
        return sum(isinstance(own.reserve(f"{name}-{number}"), Reserved) for number in range(EACH))


def _buy_all(url: str, name: str) -> Money:
    """Reserve, then post a smaller charge at once, as long as the guard lets: what was spent."""
    spent = ZERO
    with books_at(url) as own:
        for number in range(EACH):
            if isinstance(own.reserve(f"{name}-{number}"), Reserved):
                actual = charge(BOUND.centineurons - number % 7 * 10_000)
                own.resolve(f"{name}-{number}", Resolution(State.POSTED, End.MADE, actual=actual))
                spent += actual
    return spent


def _open_budget(url: str, name: str) -> None:
    with books_at(url) as own:
        own.open(200 * BOUND.nano_usd)


def _in_processes(url: str, *works: Callable[[str, str], T]) -> list[T]:
    """Each work in four new processes at once, one work after the other; the results of the last."""
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        for work in works:
            results = pool.starmap(work, [(url, f"p{number}") for number in range(PROCESSES)], chunksize=1)
    return results


def test_processes_together_reserve_exactly_what_fits_and_not_a_nano_dollar_more(ledger_url: str):
    fits = 150
    with books_at(ledger_url) as own:
        own.open(fits * BOUND.nano_usd + BOUND.nano_usd - 1)
        reserved = _in_processes(ledger_url, _reserve_all)
        assert sum(reserved) == fits
        assert own.balance.reserved == BOUND * fits
        assert own.balance.free_nano_usd == BOUND.nano_usd - 1


def test_processes_that_open_a_new_ledger_at_once_and_spend_agree_on_the_sum(ledger_url: str):
    spent = _in_processes(ledger_url, _open_budget, _buy_all)  # type: ignore[arg-type]
    with books_at(ledger_url) as own:
        balance = own.balance
        assert balance.spent == sum(spent, ZERO)
        assert (balance.reserved, balance.unknown) == (ZERO, ZERO)
        came_free = (PROCESSES - 1) * charge(
            60_000
        ).nano_usd  # what the others held at the last denial, less its charge
        assert 0 <= balance.free_nano_usd < BOUND.nano_usd + came_free


def _reserve_for_one_account(url: str, name: str) -> tuple[int, list[int]]:
    """Spend from a dataset of its own, under the caps that all share, with a moment of the pace for each."""
    reserved, moments = 0, []
    with books_at(url) as own:
        own.open(10**15, dataset=name)
        for number in range(EACH):
            reserved += isinstance(own.reserve(f"{number}", dataset=name), Reserved)
            moments.append(own.do(lambda tx: take_moments(tx, 2)))
    return reserved, moments


@pytest.mark.parametrize(
    ("ledger_url", "period"),
    [("sqlite", Period.DAY), ("sqlite", Period.MONTH), ("postgresql", Period.DAY)],
    indirect=["ledger_url"],
)
def test_datasets_of_one_account_together_reserve_exactly_what_its_window_holds(ledger_url: str, period: Period):
    fits = PROCESSES * EACH // 2
    with books_at(ledger_url) as own:
        own.do(lambda tx: ledger.set_cap(tx, ACCOUNT, period, fits * BOUND.nano_usd + BOUND.nano_usd - 1))
        results = _in_processes(ledger_url, _reserve_for_one_account)
        assert sum(reserved for reserved, _ in results) == fits
        with own.store.reading() as tx:
            assert ledger.audit_windows(tx) == []
            assert {held.reserved for held in windows.stored(tx, ACCOUNT).values()} == {BOUND * fits}
    moments = sorted(moment for _, taken in results for moment in taken)
    assert moments == [NOW_US + number * 2000 for number in range(PROCESSES * EACH)]  # none twice, none left out
