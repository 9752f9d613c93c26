"""The ledger's sums per quarter of an hour: over all datasets that the account paid for, by when it was sent."""

from __future__ import annotations

from fluxbatch.budget import ledger
from fluxbatch.budget.entries import AttemptId, Decision, End, Resolution, State
from fluxbatch.budget.quarters import account_of, quarters, sent_between
from fluxbatch.budget.reconcile import QUARTER_US, Booked
from fluxbatch.budget.store import Store
from fluxbatch.models.catalogue import DEFAULT_MODEL
from fluxbatch.models.money import charge

NOON = 1_795_348_800_000_000
BOUND, PRICE = charge(15_000), charge(3_750)
MODEL = DEFAULT_MODEL.id


def test_each_state_is_summed_where_it_was_sent(ledger_url: str) -> None:
    store = Store(ledger_url)
    with store.transaction() as tx:
        for dataset, account in (("one", "ours"), ("two", "ours"), ("theirs", "another")):
            ledger.open_budget(tx, dataset, account, f"/{dataset}", 10**12)
        sent = [
            ("one", 0),
            ("one", 899_999_999),
            ("one", QUARTER_US),
            ("two", 0),
            ("two", 1),
            ("two", 2),
            ("theirs", 0),
        ]
        attempts = [AttemptId(dataset, f"{number:064d}", 1) for number, (dataset, _) in enumerate(sent)]
        for attempt, (dataset, later) in zip(attempts, sent, strict=True):
            ledger.reserve(tx, attempt, f"run-{dataset}", MODEL, BOUND, NOON + later)
        late = NOON + 90 * QUARTER_US
        posted, unknown, later, void, billed, on_its_way, _ = attempts
        for attempt in (posted, later):
            ledger.resolve(tx, attempt, Resolution(State.POSTED, End.MADE, PRICE), late)
        for attempt in (unknown, billed):
            ledger.resolve(tx, attempt, Resolution(State.UNKNOWN, End.LOST), late)
        ledger.resolve(tx, void, Resolution(State.VOID, End.THROTTLED), late)
        ledger.settle(tx, billed, Decision(State.POSTED), "the invoice", late)
        ledger.adopt(tx, AttemptId("one", "f" * 64, 1), PRICE, "run-one", late, NOON + QUARTER_US)

        found = quarters(tx, "ours", NOON, NOON + 2 * QUARTER_US)
        assert found == {
            (MODEL, NOON): Booked(PRICE, 1, BOUND + BOUND, 2, BOUND.centineurons, BOUND, 1),
            (MODEL, NOON + QUARTER_US): Booked(posted=PRICE + PRICE, posted_count=2),
        }, f"{on_its_way} may be billed as well"
        assert quarters(tx, "ours", NOON + QUARTER_US, NOON + 2 * QUARTER_US).keys() == {(MODEL, NOON + QUARTER_US)}
        assert sent_between(tx, "one", 0) == (NOON, NOON + QUARTER_US)
        assert sent_between(tx, "nobody", 0) is None
        assert (account_of(tx, "one"), account_of(tx, "nobody")) == ("ours", None)

        ledger.open_budget(tx, "one", "another", "/one", None)
        assert quarters(tx, "ours", NOON, NOON + 2 * QUARTER_US) == found, "what was paid stays with who paid"
    store.close()
