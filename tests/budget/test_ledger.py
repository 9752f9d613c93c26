from __future__ import annotations

import pytest
import sqlalchemy as sa

from fluxbatch.budget import ledger
from fluxbatch.budget.entries import AttemptId, Balance, Denied, End, History, Reserved, Resolution, State
from fluxbatch.budget.history import KEYS_PER_QUERY
from fluxbatch.budget.tables import attempts
from fluxbatch.errors import AlreadyResolved, LedgerError
from fluxbatch.models.money import ZERO, Money, charge
from tests.budget.budget_kit import ACTUAL, BOUND, DATASET, FAILED, LOST, NOW_US, POSTED, VOID, Books


def row_of(books: Books, key: str, number: int = 1) -> sa.Row[tuple[object, ...]]:
    with books.store.reading() as tx:
        return tx.execute(sa.select(attempts).where(attempts.c.key == key, attempts.c.number == number)).one()


def history_of(books: Books, key: str) -> History | None:
    with books.store.reading() as tx:
        return ledger.histories(tx, DATASET, [key]).get(key)


def test_reserving_takes_the_bound_and_marks_the_attempt_as_sent(ledger_books: Books):
    assert ledger_books.reserve("k") == Reserved(AttemptId(DATASET, "k", 1))
    assert ledger_books.balance == Balance(10 * BOUND.nano_usd, spent=ZERO, reserved=BOUND, unknown=ZERO)
    row = row_of(ledger_books, "k")
    assert (row.state, row.end, row.run, row.model, row.sent_at_us) == ("sent", None, "run-1", "model-1", NOW_US)
    assert (row.bound_nano_usd, row.bound_centineurons) == (BOUND.nano_usd, BOUND.centineurons)


@pytest.mark.parametrize(
    ("resolution", "expected"),
    [
        (POSTED, {"spent": ACTUAL, "reserved": ZERO, "unknown": ZERO}),
        (VOID, {"spent": ZERO, "reserved": ZERO, "unknown": ZERO}),
        (FAILED, {"spent": ZERO, "reserved": ZERO, "unknown": BOUND}),
        (LOST, {"spent": ZERO, "reserved": ZERO, "unknown": BOUND}),
    ],
    ids=["posted", "void", "failed", "lost"],
)
def test_resolving_moves_the_money_once(ledger_books: Books, resolution: Resolution, expected: dict[str, Money]):
    ledger_books.reserve("k")
    ledger_books.resolve("k", resolution)
    assert ledger_books.balance == Balance(10 * BOUND.nano_usd, **expected)
    row = row_of(ledger_books, "k")
    assert (row.state, row.end) == (resolution.state, resolution.end)
    assert (row.code, row.message, row.request_id) == (resolution.code, resolution.message, resolution.request_id)
    assert row.resolved_at_us == NOW_US + 1
    assert row.actual_nano_usd == (ACTUAL.nano_usd if resolution is POSTED else None)


@pytest.mark.parametrize("first", [POSTED, VOID, FAILED, LOST], ids=["posted", "void", "failed", "lost"])
@pytest.mark.parametrize("second", [POSTED, VOID, LOST], ids=["posted", "void", "lost"])
def test_a_second_resolution_is_refused_naming_the_first(ledger_books: Books, first: Resolution, second: Resolution):
    ledger_books.reserve("k")
    ledger_books.resolve("k", first)
    before = ledger_books.balance
    with pytest.raises(AlreadyResolved, match=rf"attempt 1 of k became {first.state} \({first.end}\) before"):
        ledger_books.resolve("k", second)
    assert ledger_books.balance == before
    assert row_of(ledger_books, "k").end == first.end


def test_resolving_what_was_never_reserved_is_refused(ledger_books: Books):
    with pytest.raises(LedgerError, match="not in the ledger"):
        ledger_books.resolve("k", POSTED)
    assert ledger_books.balance.gone == ZERO


def test_an_attempt_cannot_be_resolved_to_sent(ledger_books: Books):
    ledger_books.reserve("k")
    with pytest.raises(AssertionError):
        ledger_books.resolve("k", Resolution(State.SENT, End.LOST))
    assert ledger_books.balance.reserved == BOUND


def test_an_attempt_cannot_be_reserved_twice(ledger_books: Books):
    ledger_books.reserve("k")
    with pytest.raises(sa.exc.IntegrityError):
        ledger_books.reserve("k")
    assert ledger_books.balance.reserved == BOUND


def test_the_last_nano_dollar_can_be_reserved_and_none_beyond_it(ledger_books: Books):
    ledger_books.open(BOUND.nano_usd)
    assert isinstance(ledger_books.reserve("dearer", bound=Money(BOUND.nano_usd + 1, 1)), Denied)
    assert isinstance(ledger_books.reserve("k"), Reserved)
    denied = ledger_books.reserve("next", bound=Money(1, 1))
    assert denied == Denied(Balance(BOUND.nano_usd, spent=ZERO, reserved=BOUND, unknown=ZERO))
    assert ledger_books.balance.free_nano_usd == 0
    assert history_of(ledger_books, "next") is None


@pytest.mark.parametrize("resolution", [POSTED, FAILED], ids=["posted", "unknown"])
def test_what_is_spent_or_unknown_leaves_no_room_again(ledger_books: Books, resolution: Resolution):
    ledger_books.open(BOUND.nano_usd + ACTUAL.nano_usd - 1)
    ledger_books.reserve("k")
    ledger_books.resolve("k", resolution)
    assert isinstance(ledger_books.reserve("next"), Denied)


def test_what_is_void_leaves_room_again(ledger_books: Books):
    ledger_books.open(BOUND.nano_usd)
    ledger_books.reserve("k")
    ledger_books.resolve("k", VOID)
    assert isinstance(ledger_books.reserve("k", 2), Reserved)


def test_a_lowered_cap_denies_and_keeps_what_was_spent(ledger_books: Books):
    ledger_books.reserve("k")
    ledger_books.resolve("k", POSTED)
    assert ledger_books.open(1).free_nano_usd == 1 - ACTUAL.nano_usd
    assert isinstance(ledger_books.reserve("next", bound=Money(0, 0)), Denied)
    assert ledger_books.open(None).cap_nano_usd == 1
    assert ledger_books.balance.spent == ACTUAL


def test_datasets_have_budgets_of_their_own(ledger_books: Books):
    ledger_books.open(BOUND.nano_usd, dataset="d2")
    assert isinstance(ledger_books.reserve("k", dataset="d2"), Reserved)
    assert isinstance(ledger_books.reserve("k2", dataset="d2"), Denied)
    assert ledger_books.balance.reserved == ZERO
    assert isinstance(ledger_books.reserve("k"), Reserved)


def test_reserving_for_a_dataset_without_a_budget_is_an_error(ledger_books: Books):
    with pytest.raises(LedgerError, match="d9 is not in the ledger"):
        ledger_books.reserve("k", dataset="d9")


def test_a_new_dataset_without_a_cap_may_spend_nothing(ledger_books: Books):
    assert ledger_books.open(None, dataset="d2").cap_nano_usd == 0
    assert isinstance(ledger_books.reserve("k", dataset="d2"), Denied)


class TestAdopt:
    def test_a_sent_attempt_is_posted_and_its_bound_set_free(self, ledger_books: Books):
        ledger_books.reserve("k")
        assert ledger_books.adopt("k") is True
        assert ledger_books.balance == Balance(10 * BOUND.nano_usd, spent=ACTUAL, reserved=ZERO, unknown=ZERO)

    @pytest.mark.parametrize("resolution", [FAILED, LOST, VOID], ids=["failed", "lost", "void"])
    def test_evidence_beats_what_was_guessed_before(self, ledger_books: Books, resolution: Resolution):
        ledger_books.reserve("k")
        ledger_books.resolve("k", resolution)
        assert ledger_books.adopt("k") is True
        assert ledger_books.balance == Balance(10 * BOUND.nano_usd, spent=ACTUAL, reserved=ZERO, unknown=ZERO)
        history = history_of(ledger_books, "k")
        assert history is not None
        assert (history.made, history.failed, history.lost, history.unknown) == (True, 0, 0, ZERO)

    def test_a_posted_attempt_is_not_booked_again(self, ledger_books: Books):
        ledger_books.reserve("k")
        ledger_books.resolve("k", POSTED)
        assert ledger_books.adopt("k", actual=charge(1)) is False
        assert ledger_books.balance.spent == ACTUAL

    def test_an_attempt_the_ledger_never_saw_is_entered_once(self, ledger_books: Books):
        assert ledger_books.adopt("k", 3) is True
        assert ledger_books.adopt("k", 3) is False
        assert ledger_books.balance.spent == ACTUAL
        assert history_of(ledger_books, "k") == History(attempts=3, made=True, end=End.MADE)

    def test_nothing_is_entered_for_a_dataset_without_a_budget(self, ledger_books: Books):
        with pytest.raises(LedgerError, match="d9 is not in the ledger"):
            ledger_books.adopt("k", dataset="d9")
        with ledger_books.store.reading() as tx:
            assert not ledger.has_attempts(tx, "d9")

    def test_the_cap_does_not_keep_out_what_was_paid(self, ledger_books: Books):
        ledger_books.open(1)
        assert ledger_books.adopt("k") is True
        assert ledger_books.balance.free_nano_usd == 1 - ACTUAL.nano_usd


def test_stranding_makes_sent_attempts_unknown_and_leaves_the_others(ledger_books: Books):
    for key in "abcd":
        ledger_books.reserve(key)
    ledger_books.resolve("b", POSTED)
    ledger_books.resolve("c", VOID)
    assert ledger_books.strand() == [AttemptId(DATASET, "a", 1), AttemptId(DATASET, "d", 1)]
    assert ledger_books.balance == Balance(10 * BOUND.nano_usd, spent=ACTUAL, reserved=ZERO, unknown=BOUND * 2)
    row = row_of(ledger_books, "a")
    assert (row.state, row.end, row.message) == ("unknown", "lost", "the run ended before the answer was in")
    assert ledger_books.strand() == []


def test_stranding_leaves_other_datasets_alone(ledger_books: Books):
    ledger_books.open(dataset="d2")
    ledger_books.reserve("k", dataset="d2")
    assert ledger_books.strand() == []


class TestHistories:
    def test_what_was_never_sent_has_none(self, ledger_books: Books):
        assert history_of(ledger_books, "k") is None

    def test_a_sent_attempt_counts_as_lost_so_far(self, ledger_books: Books):
        ledger_books.reserve("k")
        history = history_of(ledger_books, "k")
        assert history == History(attempts=1, end=End.LOST, lost=1)

    def test_all_attempts_are_folded_in_their_order(self, ledger_books: Books):
        ledger_books.reserve("k", 1)
        ledger_books.resolve("k", FAILED, 1)
        ledger_books.reserve("k", 2)
        ledger_books.resolve("k", LOST, 2)
        ledger_books.reserve("k", 10)
        ledger_books.resolve("k", VOID, 10)
        assert history_of(ledger_books, "k") == History(
            attempts=10, end=End.LOST, failed=1, lost=1, unknown=BOUND * 2, code=None, message="gone"
        )

    def test_a_throttled_attempt_is_no_end(self, ledger_books: Books):
        ledger_books.reserve("k")
        ledger_books.resolve("k", VOID)
        assert history_of(ledger_books, "k") == History(attempts=1)

    def test_made_stays_made_whatever_comes_after(self, ledger_books: Books):
        ledger_books.reserve("k", 1)
        ledger_books.resolve("k", POSTED, 1)
        ledger_books.reserve("k", 2)
        ledger_books.resolve("k", FAILED, 2)
        history = history_of(ledger_books, "k")
        assert history is not None
        assert history.made
        assert history.unknown == BOUND

    def test_a_refusal_that_may_have_been_billed_is_an_end_with_its_money(self, ledger_books: Books):
        ledger_books.reserve("k")
        ledger_books.resolve("k", Resolution(State.UNKNOWN, End.REFUSED, code="3030", message="flagged"))
        history = history_of(ledger_books, "k")
        assert history == History(
            attempts=1, end=End.REFUSED, unknown=BOUND, code="3030", message="flagged", failed=0, lost=0
        )

    def test_many_keys_are_looked_up_over_several_queries(self, ledger_books: Books):
        ledger_books.open(10**15)
        keys = [f"{number:064x}" for number in range(2 * KEYS_PER_QUERY + 1)]
        sent = keys[::500]  # the first and the last among them
        attempts_ = [AttemptId(DATASET, key, 1) for key in sent]
        ledger_books.do(lambda tx: [ledger.reserve(tx, one, "r", "m", BOUND, NOW_US) for one in attempts_])
        with ledger_books.store.reading() as tx:
            assert sorted(ledger.histories(tx, DATASET, keys)) == sent

    def test_another_datasets_attempts_are_not_seen(self, ledger_books: Books):
        ledger_books.open(dataset="d2")
        ledger_books.reserve("k", dataset="d2")
        assert history_of(ledger_books, "k") is None
        with ledger_books.store.reading() as tx:
            assert ledger.has_attempts(tx, "d2")
            assert not ledger.has_attempts(tx, DATASET)


def test_open_attempts_are_those_whose_charge_is_not_known(ledger_books: Books):
    for key, resolution in {"p": POSTED, "v": VOID, "f": FAILED, "l": LOST, "s": None}.items():
        ledger_books.reserve(key)
        if resolution is not None:
            ledger_books.resolve(key, resolution)
    with ledger_books.store.reading() as tx:
        found = ledger.open_attempts(tx, DATASET)
    assert [(one.key, one.end, one.code, one.request_id) for one in found] == [
        ("f", End.FAILED, "3043", "r-failed"),
        ("l", End.LOST, None, None),
        ("s", End.LOST, None, None),
    ]
    assert sum((one.bound for one in found), ZERO) == ledger_books.balance.unknown + ledger_books.balance.reserved
    assert {(one.number, one.run, one.model, one.sent_at_us) for one in found} == {(1, "run-1", "model-1", NOW_US)}


def test_made_keys_are_the_posted_attempts_with_their_charges(ledger_books: Books):
    ledger_books.reserve("b", 2)
    ledger_books.resolve("b", POSTED, 2)
    ledger_books.reserve("a")
    ledger_books.resolve("a", VOID)
    ledger_books.adopt("c", 4, actual=charge(7))
    with ledger_books.store.reading() as tx:
        assert list(ledger.made_keys(tx, DATASET)) == [("b", 2, ACTUAL), ("c", 4, charge(7))]


def test_marking_a_part_as_booked_is_idempotent_and_per_dataset(ledger_books: Books):
    for _ in range(2):
        ledger_books.do(lambda tx: ledger.mark_part_booked(tx, DATASET, "ab"))
    with ledger_books.store.reading() as tx:
        assert ledger.part_is_booked(tx, DATASET, "ab")
        assert not ledger.part_is_booked(tx, DATASET, "cd")
        assert not ledger.part_is_booked(tx, "d2", "ab")


def test_audit_sees_a_balance_that_was_tampered_with(ledger_books: Books):
    ledger_books.reserve("k")
    ledger_books.do(lambda tx: tx.execute(sa.text("UPDATE datasets SET reserved_nano_usd = 0")))
    with ledger_books.store.reading() as tx:
        assert ledger.audit(tx, DATASET) != ledger.balance(tx, DATASET)


def test_a_dataset_that_was_never_opened_has_no_balance_and_no_audit(ledger_books: Books):
    with ledger_books.store.reading() as tx:
        assert ledger.balance(tx, "d9") is None
        assert ledger.audit(tx, "d9") is None


def test_a_refused_operation_leaves_the_others_of_its_transaction_standing(ledger_books: Books):
    ledger_books.reserve("k")
    ledger_books.resolve("k", POSTED)
    with ledger_books.store.transaction() as tx:
        ledger.reserve(tx, AttemptId(DATASET, "before", 1), "r", "m", BOUND, NOW_US)
        with pytest.raises(AlreadyResolved):
            ledger.resolve(tx, AttemptId(DATASET, "k", 1), VOID, NOW_US)
        ledger.reserve(tx, AttemptId(DATASET, "after", 1), "r", "m", BOUND, NOW_US)
    assert ledger_books.balance == Balance(10 * BOUND.nano_usd, spent=ACTUAL, reserved=BOUND * 2, unknown=ZERO)
