"""What nobody knows is decided by a person: once, with a reason, as an entry of its own."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fluxbatch.budget.entries import AttemptId, Decision, Settlement, State
from fluxbatch.budget.moves import find_attempt, move, names_of, this_attempt
from fluxbatch.budget.tables import attempts, settlements
from fluxbatch.errors import AlreadyResolved, LedgerError
from fluxbatch.models.money import ZERO, Money

_UNKNOWN_ONE = sa.update(attempts).where(this_attempt, attempts.c.state == State.UNKNOWN).returning(attempts)
_SETTLE = {
    State.POSTED: _UNKNOWN_ONE.values(
        state=State.POSTED,
        actual_nano_usd=sa.func.coalesce(sa.bindparam("v_nano_usd", type_=sa.BigInteger), attempts.c.bound_nano_usd),
        actual_centineurons=sa.func.coalesce(
            sa.bindparam("v_centineurons", type_=sa.BigInteger), attempts.c.bound_centineurons
        ),
    ),
    State.VOID: _UNKNOWN_ONE.values(state=State.VOID),
}
_FIND_SETTLEMENT = sa.select(settlements).where(
    settlements.c.dataset == sa.bindparam("b_dataset"),
    settlements.c.key == sa.bindparam("b_key"),
    settlements.c.number == sa.bindparam("b_number"),
)


def settle(tx: Connection, attempt: AttemptId, decision: Decision, why: str, now_us: int) -> Settlement:
    """Decide about an unknown attempt that it was billed or not; the decision stands beside it, with its reason.

    The attempt keeps how it ended (failed, lost): there is no picture, whatever it cost. AlreadyResolved, naming the
    first decision or resolution, when it is unknown no more; LedgerError when it is on its way or was never sent.
    """
    assert decision.state in (State.POSTED, State.VOID), "a decision leaves nothing unknown"
    posted = decision.state == State.POSTED
    given = decision.actual
    assert given is None or min(given.nano_usd, given.centineurons) >= 0, "nobody is paid for a picture"
    names = names_of(attempt)
    if posted:
        names |= {"v_nano_usd": given and given.nano_usd, "v_centineurons": given and given.centineurons}
    changed = tx.execute(_SETTLE[decision.state], names).first()
    if changed is None:
        raise _not_settled(tx, attempt, decision)
    actual = Money(changed.actual_nano_usd, changed.actual_centineurons) if posted else ZERO
    bound = Money(changed.bound_nano_usd, changed.bound_centineurons)
    move(tx, attempt.dataset, changed.run, changed.sent_at_us, spent=actual, unknown=ZERO - bound)
    entry = {"dataset": attempt.dataset, "key": attempt.key, "number": attempt.number, "state": decision.state}
    booked = {"actual_nano_usd": actual.nano_usd, "actual_centineurons": actual.centineurons}
    tx.execute(sa.insert(settlements).values(**entry, **booked, why=why, at_us=now_us))
    return Settlement(attempt, decision.state, actual, why, now_us)


def decisions(tx: Connection, dataset: str) -> list[Settlement]:
    """Every decision about an attempt of the dataset, oldest first."""
    where = settlements.c.dataset == dataset
    order = (settlements.c.at_us, settlements.c.key, settlements.c.number)
    return [_settlement(row) for row in tx.execute(sa.select(settlements).where(where).order_by(*order))]


def _not_settled(tx: Connection, attempt: AttemptId, decision: Decision) -> LedgerError:
    first = tx.execute(_FIND_SETTLEMENT, names_of(attempt)).first()
    if first is not None:
        return AlreadyResolved(
            f"{attempt} was settled as {first.state} before ({first.why}), so it cannot be settled as {decision.state}"
        )
    row = tx.execute(find_attempt, names_of(attempt)).first()
    if row is not None and row.state == State.SENT:
        return LedgerError(f"{attempt} is on its way, or its run died: start the run again before it is settled")
    if row is None:
        return LedgerError(f"{attempt} is not in the ledger, so it cannot be settled as {decision.state}")
    return AlreadyResolved(
        f"{attempt} became {row.state} ({row.end}) before, so it cannot be settled as {decision.state}"
    )


def _settlement(row: Any) -> Settlement:
    amount = Money(row.actual_nano_usd, row.actual_centineurons)
    return Settlement(AttemptId(row.dataset, row.key, row.number), State(row.state), amount, row.why, row.at_us)
