"""The ledger against a dictionary: after any sequence of operations, balance, audit and model say the same."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fluxbatch.budget import ledger
from fluxbatch.budget.entries import AttemptId, Denied, End, Resolution, State
from fluxbatch.budget.store import Store
from fluxbatch.errors import AlreadyResolved, LedgerError
from fluxbatch.models.money import ZERO, Money, charge
from tests.budget.budget_kit import DATASET, Books, url_of

keys = st.sampled_from("abcde")
numbers = st.integers(1, 3)
bounds = st.integers(0, 40).map(lambda n: Money(n * 1_000, n))
charges = st.integers(0, 40).map(charge)
resolutions = st.one_of(
    st.builds(Resolution, st.just(State.POSTED), st.just(End.MADE), actual=charges),
    st.builds(Resolution, st.just(State.VOID), st.sampled_from([End.THROTTLED, End.NOT_SENT, End.INVALID])),
    st.builds(Resolution, st.just(State.UNKNOWN), st.sampled_from([End.FAILED, End.LOST, End.REFUSED])),
)


class LedgerMachine(RuleBasedStateMachine):
    """The model: each attempt's state and the money it holds. Issue 3 extends it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.books = Books(Store(url_of(self.folder)))
        self.cap = 0
        self.model: dict[tuple[str, int], tuple[State, Money, Money]] = {}

    def teardown(self) -> None:
        self.books.store.close()
        shutil.rmtree(self.folder)

    def held(self, state: State) -> Money:
        """What the attempts in this state hold: their charge when posted, else their bound."""
        attempts = [entry for entry in self.model.values() if entry[0] == state]
        return sum((actual if state == State.POSTED else bound for _, bound, actual in attempts), ZERO)

    @initialize(cap=st.integers(0, 200_000))
    def open(self, cap: int) -> None:
        self.books.open(cap)
        self.cap = cap

    @rule(cap=st.integers(0, 200_000))
    def change_cap(self, cap: int) -> None:
        self.books.open(cap)
        self.cap = cap

    @rule(key=keys, number=numbers, bound=bounds)
    def reserve(self, key: str, number: int, bound: Money) -> None:
        if (key, number) in self.model:
            return
        gone = sum((self.held(state).nano_usd for state in (State.SENT, State.POSTED, State.UNKNOWN)), 0)
        answer = self.books.reserve(key, number, bound)
        if isinstance(answer, Denied):
            assert gone + bound.nano_usd > self.cap
        else:
            assert gone + bound.nano_usd <= self.cap
            self.model[key, number] = (State.SENT, bound, ZERO)

    @rule(key=keys, number=numbers, resolution=resolutions)
    def resolve(self, key: str, number: int, resolution: Resolution) -> None:
        known = self.model.get((key, number))
        try:
            self.books.resolve(key, resolution, number)
        except AlreadyResolved:
            assert known is not None
            assert known[0] != State.SENT
        except LedgerError:
            assert known is None
        else:
            assert known is not None
            assert known[0] == State.SENT
            self.model[key, number] = (resolution.state, known[1], resolution.actual)

    @rule(key=keys, number=numbers, actual=charges)
    def adopt(self, key: str, number: int, actual: Money) -> None:
        known = self.model.get((key, number))
        was_booked = known is not None and known[0] == State.POSTED
        assert self.books.adopt(key, number, actual) is not was_booked
        if not was_booked:
            self.model[key, number] = (State.POSTED, actual if known is None else known[1], actual)

    @rule()
    def strand(self) -> None:
        sent = sorted(name for name, entry in self.model.items() if entry[0] == State.SENT)
        assert self.books.strand() == [AttemptId(DATASET, *name) for name in sent]
        for name in sent:
            self.model[name] = (State.UNKNOWN, *self.model[name][1:])

    @rule()
    def start_again(self) -> None:
        self.books.store.close()
        self.books = Books(Store(url_of(self.folder)))

    @invariant()
    def balance_is_what_the_model_says(self) -> None:
        with self.books.store.reading() as tx:
            found, audited = ledger.balance(tx, DATASET), ledger.audit(tx, DATASET)
        if found is None:
            return  # before `open`
        assert found == audited
        assert (found.cap_nano_usd, found.reserved) == (self.cap, self.held(State.SENT))
        assert (found.spent, found.unknown) == (self.held(State.POSTED), self.held(State.UNKNOWN))

    @invariant()
    def histories_are_what_the_model_says(self) -> None:
        with self.books.store.reading() as tx:
            found = ledger.histories(tx, DATASET, list("abcde"))
        for key, history in found.items():
            entries = {number: entry for (other, number), entry in self.model.items() if other == key}
            assert history.attempts == max(entries)
            assert history.made == any(state == State.POSTED for state, _, _ in entries.values())
            assert history.unknown == sum((b for s, b, _ in entries.values() if s == State.UNKNOWN), ZERO)
        assert set(found) == {key for key, _ in self.model}


LedgerMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
TestLedgerMachine = LedgerMachine.TestCase
