"""An unknown attempt is settled by a decision: once, with its reason, and without making a picture of it."""

from __future__ import annotations

import pytest

from fluxbatch.budget import ledger
from fluxbatch.budget.entries import AttemptId, Balance, Decision, History, Resolution, Settlement, State
from fluxbatch.dispatch.retry import RetryPolicy, is_due
from fluxbatch.errors import AlreadyResolved, LedgerError
from fluxbatch.models.money import ZERO, Money, charge
from tests.budget.budget_kit import ACTUAL, BOUND, DATASET, FAILED, LOST, NOW_US, POSTED, VOID, Books

BILLED, NOT_BILLED = Decision(State.POSTED), Decision(State.VOID)
CAP = 10 * BOUND.nano_usd
K = AttemptId(DATASET, "k", 1)


@pytest.fixture
def lost(ledger_books: Books) -> Books:
    """A ledger with one attempt whose answer was lost."""
    ledger_books.reserve("k")
    ledger_books.resolve("k", LOST)
    return ledger_books


def history_of(books: Books) -> History:
    with books.store.reading() as tx:
        return ledger.histories(tx, DATASET, ["k"])["k"]


def decisions_of(books: Books) -> list[Settlement]:
    with books.store.reading() as tx:
        return ledger.decisions(tx, DATASET)


@pytest.mark.parametrize(
    ("decision", "booked"),
    [
        (BILLED, BOUND),
        (Decision(State.POSTED, ACTUAL), ACTUAL),
        (Decision(State.POSTED, ZERO), ZERO),
        (NOT_BILLED, ZERO),
    ],
    ids=["the bound", "the actual", "billed nothing", "not billed"],
)
def test_a_decision_moves_the_money_and_stands_in_the_ledger(lost: Books, decision: Decision, booked: Money):
    settlement = lost.settle("k", decision, why="seen on the invoice")
    assert settlement == Settlement(K, decision.state, booked, "seen on the invoice", NOW_US + 4)
    assert decisions_of(lost) == [settlement]
    assert lost.balance == Balance(CAP, spent=booked, reserved=ZERO, unknown=ZERO)
    with lost.store.reading() as tx:
        assert ledger.open_attempts(tx, DATASET) == []


def test_a_charge_above_the_bound_is_booked_as_it_was(lost: Books):
    dearer = BOUND + charge(1)
    lost.settle("k", Decision(State.POSTED, dearer))
    assert lost.balance.spent == dearer


@pytest.mark.parametrize("decision", [BILLED, NOT_BILLED], ids=["billed", "not billed"])
@pytest.mark.parametrize("how", [LOST, FAILED], ids=["lost", "failed"])
def test_a_settled_attempt_keeps_how_it_ended_and_makes_no_picture(ledger_books: Books, how: Resolution, decision):
    ledger_books.reserve("k")
    ledger_books.resolve("k", how)
    before = history_of(ledger_books)
    ledger_books.settle("k", decision)
    after = history_of(ledger_books)
    assert not after.made
    assert (after.attempts, after.end, after.code, after.message) == (1, how.end, before.code, before.message)
    assert after.unknown == ZERO
    with ledger_books.store.reading() as tx:
        assert list(ledger.made_keys(tx, DATASET)) == []


def test_what_was_billed_is_not_bought_again_unasked_and_what_was_not_is(lost: Books):
    policy = RetryPolicy()
    assert not is_due(history_of(lost), policy)
    lost.settle("k", BILLED)
    assert not is_due(history_of(lost), policy)
    assert is_due(history_of(lost), RetryPolicy(resend_lost=1))
    lost.reserve("k", 2)
    lost.resolve("k", FAILED, 2)
    lost.settle("k", NOT_BILLED, 2)
    assert (history_of(lost).failed, history_of(lost).lost) == (0, 1)


def test_what_was_not_billed_is_due_again_and_its_money_is_free(ledger_books: Books):
    ledger_books.open(BOUND.nano_usd)
    ledger_books.reserve("k")
    ledger_books.resolve("k", LOST)
    ledger_books.settle("k", NOT_BILLED)
    assert is_due(history_of(ledger_books), RetryPolicy())
    assert ledger_books.balance.free_nano_usd == BOUND.nano_usd


@pytest.mark.parametrize("second", [BILLED, NOT_BILLED], ids=["billed", "not billed"])
@pytest.mark.parametrize("first", [BILLED, NOT_BILLED], ids=["billed", "not billed"])
def test_a_second_decision_is_refused_naming_the_first(lost: Books, first: Decision, second: Decision):
    lost.settle("k", first, why="it was on the invoice")
    before = lost.balance
    with pytest.raises(AlreadyResolved, match=rf"attempt 1 of k was settled as {first.state} .*it was on the invoice"):
        lost.settle("k", second, why="no, it was not")
    assert lost.balance == before
    assert [one.why for one in decisions_of(lost)] == ["it was on the invoice"]


@pytest.mark.parametrize("first", [POSTED, VOID], ids=["posted", "void"])
def test_what_is_known_cannot_be_settled(ledger_books: Books, first: Resolution):
    ledger_books.reserve("k")
    ledger_books.resolve("k", first)
    before = ledger_books.balance
    with pytest.raises(AlreadyResolved, match=rf"became {first.state} \({first.end}\) before, so it cannot be settled"):
        ledger_books.settle("k", BILLED)
    assert ledger_books.balance == before
    assert decisions_of(ledger_books) == []


def test_what_is_on_its_way_cannot_be_settled(ledger_books: Books):
    ledger_books.reserve("k")
    with pytest.raises(LedgerError, match="on its way") as refused:
        ledger_books.settle("k", NOT_BILLED)
    assert not isinstance(refused.value, AlreadyResolved)
    assert ledger_books.balance.reserved == BOUND


def test_what_was_never_sent_cannot_be_settled(ledger_books: Books):
    with pytest.raises(LedgerError, match="not in the ledger"):
        ledger_books.settle("k", BILLED)
    assert decisions_of(ledger_books) == []


@pytest.mark.parametrize("decision", [BILLED, NOT_BILLED], ids=["billed", "not billed"])
def test_a_settled_attempt_cannot_be_resolved_any_more(lost: Books, decision: Decision):
    lost.settle("k", decision)
    with pytest.raises(AlreadyResolved, match=rf"became {decision.state} \(lost\) before"):
        lost.resolve("k", POSTED)


@pytest.mark.parametrize("decision", [BILLED, NOT_BILLED], ids=["billed", "not billed"])
def test_a_picture_that_turns_up_after_the_decision_is_adopted_once_at_its_own_charge(lost: Books, decision: Decision):
    lost.settle("k", decision)
    assert lost.adopt("k") is True
    assert lost.adopt("k") is False
    assert lost.balance == Balance(CAP, spent=ACTUAL, reserved=ZERO, unknown=ZERO)
    assert history_of(lost).made
    assert len(decisions_of(lost)) == 1  # what was decided stands, and so does what it was based on


def test_a_refused_decision_leaves_the_others_of_its_transaction_standing(lost: Books):
    lost.reserve("done")
    lost.resolve("done", POSTED)
    with lost.store.transaction() as tx:
        ledger.settle(tx, K, NOT_BILLED, "asked the support", NOW_US)
        with pytest.raises(AlreadyResolved):
            ledger.settle(tx, AttemptId(DATASET, "done", 1), NOT_BILLED, "a slip", NOW_US)
    assert lost.balance == Balance(CAP, spent=ACTUAL, reserved=ZERO, unknown=ZERO)


def test_an_attempt_cannot_be_settled_as_unknown(lost: Books):
    with pytest.raises(AssertionError):
        lost.settle("k", Decision(State.UNKNOWN))
    assert lost.balance.unknown == BOUND


def test_no_decision_earns_money(lost: Books):
    with pytest.raises(AssertionError):
        lost.settle("k", Decision(State.POSTED, charge(-1)))
    assert lost.balance.unknown == BOUND
