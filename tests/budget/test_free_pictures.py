"""A model that is free: what costs nothing is made when nothing is left, and moves no money."""

from __future__ import annotations

import pytest

from fluxbatch.budget import ledger
from fluxbatch.budget.entries import AttemptId, Balance, Denied, End, Period, Reserved, Resolution, State
from fluxbatch.budget.quarters import quarters
from fluxbatch.manifest.request import ImageRequest, content_digest, request_key
from fluxbatch.models.catalogue import SDXL_BASE_1_0
from fluxbatch.models.money import ZERO, charge
from tests.budget.budget_kit import ACCOUNT, BOUND, DATASET, LOST, NOW_US, POSTED, VOID, Books
from tests.budget.test_plan import planned

FREE = SDXL_BASE_1_0
MADE_FREE = Resolution(State.POSTED, End.MADE, actual=ZERO)


def free_request(row: int) -> ImageRequest:
    content = content_digest(FREE, f"picture {row}", 1024, 1024, 20, None, None, ())
    return ImageRequest(row, None, FREE, f"picture {row}", 1024, 1024, 20, None, None, (), 0, request_key(content, 0))


def used_up(books: Books) -> None:
    """The budget is spent to the last nano-dollar."""
    books.open(cap=BOUND.nano_usd)
    books.reserve("paid")
    books.resolve("paid", Resolution(State.POSTED, End.MADE, actual=charge(BOUND.centineurons)))
    assert books.balance.free_nano_usd == 0


def test_the_bound_of_a_free_picture_is_nothing() -> None:
    assert free_request(1).quote.bound == ZERO


def test_a_free_picture_is_admitted_by_a_budget_that_is_used_up(ledger_books: Books) -> None:
    used_up(ledger_books)
    before = ledger_books.balance
    assert isinstance(ledger_books.reserve("paid too"), Denied)
    assert ledger_books.reserve("free", bound=ZERO) == Reserved(AttemptId(DATASET, "free", 1))
    ledger_books.resolve("free", MADE_FREE)
    assert ledger_books.balance == before


def test_a_budget_of_nothing_makes_free_pictures(ledger_books: Books) -> None:
    ledger_books.open(cap=0)
    assert isinstance(ledger_books.reserve("paid"), Denied)
    assert isinstance(ledger_books.reserve("free", bound=ZERO), Reserved)


def test_a_day_that_is_used_up_admits_it_as_well(ledger_books: Books) -> None:
    ledger_books.do(lambda tx: ledger.set_cap(tx, ACCOUNT, Period.DAY, BOUND.nano_usd))
    ledger_books.reserve("paid")
    assert isinstance(ledger_books.reserve("paid too"), Denied)
    assert isinstance(ledger_books.reserve("free", bound=ZERO), Reserved)


def test_a_budget_that_was_cut_below_what_is_spent_stops_all_of_it(ledger_books: Books) -> None:
    ledger_books.reserve("paid")
    ledger_books.resolve("paid", POSTED)
    ledger_books.open(cap=1)
    assert isinstance(ledger_books.reserve("free", bound=ZERO), Denied)


@pytest.mark.parametrize("resolution", [MADE_FREE, VOID, LOST], ids=["made", "void", "lost"])
def test_however_a_free_attempt_ends_no_money_moves(ledger_books: Books, resolution: Resolution) -> None:
    before = ledger_books.balance
    ledger_books.reserve("free", bound=ZERO)
    assert ledger_books.balance == before
    ledger_books.resolve("free", resolution)
    assert ledger_books.balance == before  # which is the sum of its attempts


def test_a_free_picture_that_was_billed_after_all_is_booked_as_it_was(ledger_books: Books) -> None:
    used_up(ledger_books)
    ledger_books.reserve("free", bound=ZERO)
    ledger_books.resolve("free", Resolution(State.POSTED, End.MADE, actual=charge(100)))
    assert ledger_books.balance.spent == charge(BOUND.centineurons + 100)
    assert isinstance(ledger_books.reserve("free again", bound=ZERO), Denied)  # the money is over the cap: nothing goes


def test_the_books_of_free_attempts_can_be_compared_with_the_platforms(ledger_books: Books) -> None:
    ledger_books.reserve("free", bound=ZERO)
    ledger_books.resolve("free", LOST)
    (booked,) = ledger_books.do(lambda tx: quarters(tx, ACCOUNT, 0, 2 * NOW_US)).values()
    assert (booked.unknown, booked.unknown_count, booked.smallest_centineurons) == (ZERO, 1, 0)


def test_a_plan_of_free_pictures_fits_into_nothing() -> None:
    plan = planned([free_request(1), free_request(2)], Balance(0, ZERO, ZERO, ZERO))
    assert (plan.due, plan.fits, plan.expected, plan.bound) == (2, 2, ZERO, ZERO)
