"""The guard and the books: reserve, then exactly one of post, void or unknown; every rule a statement in SQL.

Each operation takes an open transaction and raises before it writes, so that many can share one commit (`journal.py`)
and one that is refused leaves the others standing. The guard is the conditional UPDATE in `reserve`: it cannot pass
unless the bound fits, whoever else is spending.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fluxbatch.budget import payers, windows
from fluxbatch.budget.caps import caps_of as caps_of
from fluxbatch.budget.caps import set_cap as set_cap
from fluxbatch.budget.entries import (
    AttemptId,
    Balance,
    Denied,
    End,
    Fenced,
    OpenAttempt,
    Payer,
    Period,
    Reserved,
    Resolution,
    Scope,
    State,
)
from fluxbatch.budget.history import first_above_bound as first_above_bound
from fluxbatch.budget.history import has_attempts as has_attempts
from fluxbatch.budget.history import histories as histories
from fluxbatch.budget.history import made_keys as made_keys
from fluxbatch.budget.moves import (
    adding,
    deltas_of,
    find_attempt,
    move,
    move_dataset,
    names_of,
    this_attempt,
    this_dataset,
)
from fluxbatch.budget.settle import decisions as decisions
from fluxbatch.budget.settle import settle as settle
from fluxbatch.budget.tables import attempts, booked_parts, datasets, insert_into, leases
from fluxbatch.budget.windows import audit_windows as audit_windows
from fluxbatch.errors import AlreadyResolved, LeaseLost, LedgerError
from fluxbatch.models.money import ZERO, Money

ADOPTED = "adopted"
"""In place of the model, where a picture lies in the spool and the ledger that knew more is lost."""

_gone = datasets.c.spent_nano_usd + datasets.c.reserved_nano_usd + datasets.c.unknown_nano_usd
_RESERVED = ("reserved_nano_usd", "reserved_centineurons")
_GUARD = (
    sa.update(datasets)
    .where(this_dataset, _gone + sa.bindparam("d_reserved_nano_usd") <= datasets.c.cap_nano_usd)
    .values(adding(*_RESERVED))
    .returning(*payers.PAYER)
)
_PAYER = sa.select(*payers.PAYER).where(this_dataset)
_INSERT = sa.insert(attempts)
_RESOLVE = (
    sa.update(attempts)
    .where(this_attempt, attempts.c.state == sa.bindparam("b_from"))
    .values({name: sa.bindparam(f"v_{name}") for name in ("state", "end", "actual_nano_usd", "actual_centineurons")})
    .values({name: sa.bindparam(f"v_{name}") for name in ("resolved_at_us", "code", "message", "request_id")})
    .returning(attempts.c.bound_nano_usd, attempts.c.bound_centineurons, attempts.c.run, attempts.c.sent_at_us)
)


def open_budget(tx: Connection, dataset: str, account: str, folder: str, cap_nano_usd: int | None) -> Balance:
    """Enter the dataset, with its cap, or give the one that stands there a new cap (None: leave it).

    What it has spent is never reset, and stays with the account that paid for it.
    """
    before = tx.execute(sa.select(datasets.c.account).where(datasets.c.dataset == dataset).with_for_update()).scalar()
    if before is not None and before != account:
        payers.leave_with(tx, dataset, before)
    values: dict[str, object] = {"account": account, "folder": folder}
    if cap_nano_usd is not None:
        values["cap_nano_usd"] = cap_nano_usd
    entry = insert_into(tx, datasets).values({"cap_nano_usd": 0, **values, "dataset": dataset})
    tx.execute(entry.on_conflict_do_update(index_elements=["dataset"], set_=values))
    found = balance(tx, dataset)
    assert found is not None
    return found


def begin_run(tx: Connection, dataset: str, payer: Payer, cap_nano_usd: int | None = None) -> None:
    """Note who pays for a run, and what it may cost (None: as much as the others admit), before it sends anything.

    Several runs of one holder share the cap.
    """
    payers.note_payer(tx, dataset, payer)
    if cap_nano_usd is not None:
        set_cap(tx, payer.holder or payer.run, Period.TOTAL, cap_nano_usd, Scope.RUN)


def balance(tx: Connection, dataset: str) -> Balance | None:
    """The dataset's money, or None when this ledger has never seen it."""
    row = tx.execute(sa.select(datasets).where(datasets.c.dataset == dataset)).first()
    if row is None:
        return None
    return Balance(
        cap_nano_usd=row.cap_nano_usd,
        spent=Money(row.spent_nano_usd, row.spent_centineurons),
        reserved=Money(row.reserved_nano_usd, row.reserved_centineurons),
        unknown=Money(row.unknown_nano_usd, row.unknown_centineurons),
    )


def reserve(tx: Connection, attempt: AttemptId, run: str, model: str, bound: Money, now_us: int) -> Reserved | Denied:
    """Take the bound out of every budget that applies and mark the attempt as sent, in one transaction; or Denied by
    one that has no room, and nothing changed. LeaseLost when another run has taken the dataset over from this one."""
    guard = {
        "b_dataset": attempt.dataset,
        "b_run": run,
        "d_reserved_nano_usd": bound.nano_usd,
        "d_reserved_centineurons": bound.centineurons,
    }
    row = tx.execute(_GUARD, guard).first()
    if row is None:
        found = balance(tx, attempt.dataset)
        if found is None:
            raise _no_budget(attempt.dataset)
        return Denied(found)
    denied = windows.reserve(tx, payers.payer_in(row), now_us, bound)
    if denied is not None:
        tx.execute(move_dataset, deltas_of(reserved=ZERO - bound) | {"b_dataset": attempt.dataset, "b_run": run})
        if isinstance(denied, Fenced):
            raise LeaseLost.to(denied.by)
        return denied
    tx.execute(
        _INSERT,
        {
            "dataset": attempt.dataset,
            "key": attempt.key,
            "number": attempt.number,
            "run": run,
            "model": model,
            "bound_nano_usd": bound.nano_usd,
            "bound_centineurons": bound.centineurons,
            "state": State.SENT,
            "sent_at_us": now_us,
        },
    )
    return Reserved(attempt)


def resolve(tx: Connection, attempt: AttemptId, resolution: Resolution, now_us: int) -> None:
    """Post, void or leave as unknown. AlreadyResolved, naming the first resolution, when that was done before."""
    assert resolution.state != State.SENT, "an attempt is sent once, by its reservation"
    _resolve_from(tx, State.SENT, attempt, resolution, now_us)


def adopt(
    tx: Connection,
    attempt: AttemptId,
    actual: Money,
    run: str,
    now_us: int,
    made_at_us: int | None = None,
    model: str = ADOPTED,
) -> bool:
    """Book a picture that the dataset holds, whatever the ledger thought of its attempt: evidence beats a guess.

    True when something was booked, False when the picture stood there as made. An attempt that this ledger has never
    seen (it is new, or older than the dataset) is entered, in the day and month in which it was made (`made_at_us`,
    by default now).
    """
    known = tx.execute(find_attempt, names_of(attempt)).first()
    if known is not None and known.state == State.POSTED and known.end == End.MADE:
        return False
    if balance(tx, attempt.dataset) is None:
        raise _no_budget(attempt.dataset)
    if known is not None:
        settled = known.state == State.POSTED  # as billed; and here is its picture after all
        freed = Money(known.actual_nano_usd, known.actual_centineurons) if settled else ZERO
        resolution = Resolution(State.POSTED, End.MADE, actual=actual)
        _resolve_from(tx, State(known.state), attempt, resolution, now_us, freed)
        return True
    entry = {"dataset": attempt.dataset, "key": attempt.key, "number": attempt.number, "run": run, "model": model}
    amounts = {
        f"{which}_{unit}": getattr(actual, unit)
        for which in ("bound", "actual")
        for unit in ("nano_usd", "centineurons")
    }
    sent_at_us = now_us if made_at_us is None else made_at_us
    times = {"sent_at_us": sent_at_us, "resolved_at_us": now_us}
    payer = payers.payer_in(tx.execute(_PAYER, {"b_dataset": attempt.dataset, "b_run": run}).one())
    windows.enter(tx, payer, sent_at_us)
    tx.execute(_INSERT, {**entry, **amounts, **times, "state": State.POSTED, "end": End.MADE})
    move(tx, attempt.dataset, run, sent_at_us, spent=actual)
    return True


def strand(tx: Connection, dataset: str, now_us: int) -> list[AttemptId]:
    """What a dead run left as sent becomes unknown: it may have been billed, and time never makes that a no.

    Other chunks of the batch are no dead runs: what is still on its way for who has a lease is left alone.
    """
    alive = sa.select(leases.c.run).where(leases.c.dataset == dataset)
    stranded = tx.execute(
        sa.select(attempts.c.key, attempts.c.number)
        .where(attempts.c.dataset == dataset, attempts.c.state == State.SENT, attempts.c.run.not_in(alive))
        .order_by(attempts.c.key, attempts.c.number)
    ).all()
    found = [AttemptId(dataset, row.key, row.number) for row in stranded]
    lost = Resolution(State.UNKNOWN, End.LOST, message="the run ended before the answer was in")
    for attempt in found:
        resolve(tx, attempt, lost, now_us)
    return found


def part_is_booked(tx: Connection, dataset: str, sha256: str) -> bool:
    """Whether this ledger knows that the part's pictures are booked."""
    where = (booked_parts.c.dataset == dataset) & (booked_parts.c.sha256 == sha256)
    return tx.execute(sa.select(booked_parts.c.sha256).where(where)).first() is not None


def mark_part_booked(tx: Connection, dataset: str, sha256: str) -> None:
    """Note that each picture of the part stands in the ledger. Idempotent."""
    tx.execute(insert_into(tx, booked_parts).values(dataset=dataset, sha256=sha256).on_conflict_do_nothing())


def pictures(tx: Connection, dataset: str, run: str | None = None) -> int:
    """How many pictures are booked, by this run or by all."""
    made = (attempts.c.dataset == dataset, attempts.c.state == State.POSTED, attempts.c.end == End.MADE)
    where = made if run is None else (*made, attempts.c.run == run)
    return tx.execute(sa.select(sa.func.count()).where(*where)).scalar_one()


def open_attempts(tx: Connection, dataset: str) -> list[OpenAttempt]:
    """The attempts whose charge is not known, oldest first; one that is still on its way counts as lost so far."""
    where = (attempts.c.dataset == dataset) & attempts.c.state.in_((State.SENT, State.UNKNOWN))
    return [
        OpenAttempt(
            key=row.key,
            number=row.number,
            run=row.run,
            model=row.model,
            bound=Money(row.bound_nano_usd, row.bound_centineurons),
            sent_at_us=row.sent_at_us,
            end=End(row.end or End.LOST),
            code=row.code,
            message=row.message,
            request_id=row.request_id,
        )
        for row in tx.execute(sa.select(attempts).where(where).order_by(attempts.c.sent_at_us, attempts.c.key))
    ]


def audit(tx: Connection, dataset: str) -> Balance | None:
    """The balance folded anew from the attempts; it equals `balance` unless the ledger was damaged."""
    stored = balance(tx, dataset)
    if stored is None:
        return None
    sums = {State.SENT: ZERO, State.POSTED: ZERO, State.UNKNOWN: ZERO}
    posted = attempts.c.state == State.POSTED
    nano = sa.func.sum(sa.case((posted, attempts.c.actual_nano_usd), else_=attempts.c.bound_nano_usd))
    cn = sa.func.sum(sa.case((posted, attempts.c.actual_centineurons), else_=attempts.c.bound_centineurons))
    where = (attempts.c.dataset == dataset) & (attempts.c.state != State.VOID)
    for state, nano_usd, centineurons in tx.execute(
        sa.select(attempts.c.state, nano, cn).where(where).group_by(attempts.c.state)
    ):
        sums[State(state)] = Money(int(nano_usd), int(centineurons))
    return Balance(stored.cap_nano_usd, sums[State.POSTED], sums[State.SENT], sums[State.UNKNOWN])


def _no_budget(dataset: str) -> LedgerError:
    return LedgerError(f"dataset {dataset} is not in the ledger; open its budget first")


def _resolve_from(
    tx: Connection, before: State, attempt: AttemptId, resolution: Resolution, now_us: int, freed: Money = ZERO
) -> None:
    """Leave the state `before`, by one conditional UPDATE: of two who would resolve an attempt, one finds it gone.
    `freed`: the charge that was booked for it so far."""
    posted = resolution.state == State.POSTED
    changed = tx.execute(
        _RESOLVE,
        names_of(attempt)
        | {
            "b_from": before,
            "v_state": resolution.state,
            "v_end": resolution.end,
            "v_actual_nano_usd": resolution.actual.nano_usd if posted else None,
            "v_actual_centineurons": resolution.actual.centineurons if posted else None,
            "v_resolved_at_us": now_us,
            "v_code": resolution.code,
            "v_message": resolution.message,
            "v_request_id": resolution.request_id,
        },
    ).first()
    if changed is None:
        raise _not_resolved(tx, attempt, resolution)
    bound = Money(changed.bound_nano_usd, changed.bound_centineurons)
    move(
        tx,
        attempt.dataset,
        changed.run,
        changed.sent_at_us,
        reserved=ZERO - bound if before == State.SENT else ZERO,
        spent=(resolution.actual if posted else ZERO) - freed,
        unknown=(bound if resolution.state == State.UNKNOWN else ZERO) - (bound if before == State.UNKNOWN else ZERO),
    )


def _not_resolved(tx: Connection, attempt: AttemptId, resolution: Resolution) -> LedgerError:
    row = tx.execute(find_attempt, names_of(attempt)).first()
    if row is None:
        return LedgerError(f"{attempt} is not in the ledger, so it cannot become {resolution.state}")
    return AlreadyResolved(f"{attempt} became {row.state} ({row.end}) before, so it cannot become {resolution.state}")
