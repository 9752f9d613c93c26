"""What was sent in each day and month, by account, project and run, and the caps upon it. In UTC, as Cloudflare counts.

An attempt enters the windows of the moment in which it was sent and of whoever pays for its run, and leaves exactly
these, whatever the clock says by then. The guard is one conditional UPDATE over all of these rows: whoever else is
spending, a row that has no room is not written.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fluxbatch.budget.entries import (
    US_PER_DAY,
    Balance,
    Denied,
    Fenced,
    Held,
    Payer,
    Period,
    Scope,
    State,
    Window,
    windows_of,
)
from fluxbatch.budget.payers import PAID, PAYER_OF_ATTEMPT, payer_in
from fluxbatch.budget.tables import HOLDINGS, attempts, caps, insert_into, windows
from fluxbatch.models.money import ZERO, Money

_KEY = (windows.c.scope, windows.c.name, windows.c.period, windows.c.first_day)


def _one(scope: Scope, period: Period, name: str) -> Any:
    named: Any = sa.bindparam(f"b_{name}")
    first_day: Any = "" if period == Period.TOTAL else sa.bindparam(f"b_{period}")
    w = windows.c
    return (w.scope == scope) & (w.name == named) & (w.period == period) & (w.first_day == first_day)


_THESE = sa.or_(
    _one(Scope.ACCOUNT, Period.MONTH, "account"),
    _one(Scope.ACCOUNT, Period.DAY, "account"),
    _one(Scope.PROJECT, Period.TOTAL, "project"),
    _one(Scope.PROJECT, Period.MONTH, "project"),
    _one(Scope.PROJECT, Period.DAY, "project"),
    _one(Scope.RUN, Period.TOTAL, "holder"),
    _one(Scope.RUN, Period.TOTAL, "run"),
)
_IN_ORDER = sa.tuple_(*_KEY).in_(
    sa.select(*_KEY)
    .where(_THESE)
    # Whoever locks several locks them in this order, the account's month first: all who share an account meet there.
    .order_by(windows.c.scope, windows.c.name, windows.c.period.desc(), windows.c.first_day)
    .with_for_update()
)
_CAP = (
    sa.select(caps.c.cap_nano_usd)
    .where(caps.c.scope == windows.c.scope, caps.c.name == windows.c.name, caps.c.period == windows.c.period)
    .correlate(windows)
    .scalar_subquery()
)
_OF_THIS_RUN: Any = sa.bindparam("c_account_day", type_=sa.BigInteger)
_IS_ACCOUNT_DAY = (windows.c.scope == Scope.ACCOUNT) & (windows.c.period == Period.DAY)
_GONE = windows.c.spent_nano_usd + windows.c.reserved_nano_usd + windows.c.unknown_nano_usd
_D_NANO_USD: Any = sa.bindparam("d_nano_usd")
_D_CENTINEURONS: Any = sa.bindparam("d_centineurons")
_HAS_ROOM = (
    sa.func.coalesce(_GONE + _D_NANO_USD <= _CAP, sa.true())
    & (sa.not_(_IS_ACCOUNT_DAY) | sa.func.coalesce(_GONE + _D_NANO_USD <= _OF_THIS_RUN, sa.true()))
    & windows.c.closed_by.is_(None)
)
_TAKEN = {
    "reserved_nano_usd": windows.c.reserved_nano_usd + _D_NANO_USD,
    "reserved_centineurons": windows.c.reserved_centineurons + _D_CENTINEURONS,
}
_MOVED = {windows.c[name]: windows.c[name] + sa.bindparam(f"d_{name}") for name in HOLDINGS}


def _over_these(values: Any, *conditions: Any) -> tuple[sa.Update, sa.Update]:
    """The UPDATE for SQLite, whose writers take turns, and the one for PostgreSQL, which locks rows one by one."""
    return (
        sa.update(windows).where(_THESE, *conditions).values(values),
        sa.update(windows).where(_IN_ORDER, *conditions).values(values),
    )


_RESERVE = tuple(statement.returning(*_KEY) for statement in _over_these(_TAKEN, _HAS_ROOM))
_MOVE = _over_these(_MOVED)
_FIND = sa.select(windows, _CAP.label("cap_nano_usd")).where(_THESE)


def reserve(tx: Connection, payer: Payer, at_us: int, bound: Money) -> Denied | Fenced | None:
    """Take the bound out of every window of the payer. When one of them refuses, none is changed."""
    names = _names(payer, at_us)
    amount = {"d_nano_usd": bound.nano_usd, "d_centineurons": bound.centineurons}
    these = {"c_account_day": payer.account_day_nano_usd, **names, **amount}
    taken = {_window(row) for row in tx.execute(_for(tx, _RESERVE), these)}
    wanted = windows_of(payer, at_us)
    if len(taken) == len(wanted):
        return None
    for window in taken:  # those that had room give it back, in the same transaction
        _give_back(tx, window, bound)
    there = {_window(row): row for row in tx.execute(_FIND, names)}
    if len(there) < len(wanted):
        enter(tx, payer, at_us)
        return reserve(tx, payer, at_us, bound)
    if fenced := next((row.closed_by for row in there.values() if row.closed_by is not None), None):
        return Fenced(fenced)
    refused = next(one for one in wanted if one not in taken)
    held, cap = _held(there[refused]), there[refused].cap_nano_usd
    if refused.scope == Scope.ACCOUNT and refused.period == Period.DAY and payer.account_day_nano_usd is not None:
        cap = payer.account_day_nano_usd if cap is None else min(cap, payer.account_day_nano_usd)
    return Denied(Balance(cap or 0, held.spent, held.reserved, held.unknown), refused)


def move(tx: Connection, payer: Payer, sent_at_us: int, deltas: Mapping[str, int]) -> None:
    """The same movement of money as in the dataset, in the windows in which the attempt was sent."""
    # A window that is missing was taken away by somebody; the audit of the next start says so.
    tx.execute(_for(tx, _MOVE), {**_names(payer, sent_at_us), **deltas})


def enter(tx: Connection, payer: Payer, at_us: int) -> None:
    """Make the payer's windows, empty, where they are not there yet; in one order, as they are locked."""
    rows = sorted((_key(window) for window in windows_of(payer, at_us)), key=lambda row: (row["scope"], row["name"]))
    tx.execute(insert_into(tx, windows).values(rows).on_conflict_do_nothing())


def close(tx: Connection, run: str, by: str) -> None:
    """Admit nothing more of this run, also when it has sent nothing yet: `by` has taken over from it."""
    key = _key(Window(run, Period.TOTAL, None, Scope.RUN))
    entry = insert_into(tx, windows).values(**key, closed_by=by)
    tx.execute(entry.on_conflict_do_update(index_elements=list(_KEY), set_={"closed_by": by}))


def closed_by(tx: Connection, run: str) -> str | None:
    """The run that has taken over from this one; None as long as it may spend."""
    where = (windows.c.scope == Scope.RUN) & (windows.c.name == run)
    found: str | None = tx.execute(sa.select(windows.c.closed_by).where(where)).scalar()
    return found


def audit_windows(
    tx: Connection, account: str | None = None, project: str | None = None, dataset: str | None = None
) -> list[Window]:
    """The windows that hold something else than their attempts add up to: those of the account, of the project and of
    the dataset's runs, or all when none is given."""
    is_all = account is project is dataset is None
    wanted = {(Scope.ACCOUNT, account), (Scope.PROJECT, project)}
    if dataset is not None:
        runs = tx.execute(sa.select(attempts.c.run).where(attempts.c.dataset == dataset).distinct()).scalars()
        wanted |= {(Scope.RUN, run) for run in runs}
    kept, added = stored(tx), folded(tx, account, project, dataset)
    wrong = [
        window
        for window in kept.keys() | added.keys()
        if kept.get(window) != added.get(window) and (is_all or (window.scope, window.name) in wanted)
    ]
    return sorted(wrong, key=lambda one: (one.scope, one.name, one.period, one.first_day or date.min))


def stored(tx: Connection, account: str | None = None) -> dict[Window, Held]:
    """What the windows hold (those of one account, or all); empty ones are left out."""
    query = sa.select(windows)
    if account is not None:
        query = query.where(windows.c.scope == Scope.ACCOUNT, windows.c.name == account)
    found = {_window(row): _held(row) for row in tx.execute(query)}
    return {window: held for window, held in found.items() if held != Held()}


def held_in(tx: Connection, window: Window) -> Held:
    """What one window holds."""
    row = tx.execute(sa.select(windows).where(*(windows.c[n] == value for n, value in _key(window).items()))).first()
    return Held() if row is None else _held(row)


def folded(
    tx: Connection, account: str | None = None, project: str | None = None, dataset: str | None = None
) -> dict[Window, Held]:
    """The same, added up anew from the attempts: equal unless the ledger was damaged. Of an account, a project and a
    dataset, when they are given, it is their windows that are complete."""
    found: dict[Window, dict[str, Money]] = {}
    for row in tx.execute(_fold_by_day(account, project, dataset)):
        for window in windows_of(payer_in(row), row.day * US_PER_DAY):
            held = found.setdefault(window, {})
            what = _HOLDS[State(row.state)]
            held[what] = held.get(what, ZERO) + Money(int(row.nano_usd), int(row.centineurons))
    return {window: Held(**held) for window, held in found.items() if Held(**held) != Held()}


_HOLDS = {State.SENT: "reserved", State.POSTED: "spent", State.UNKNOWN: "unknown"}


def _fold_by_day(account: str | None, project: str | None, dataset: str | None) -> sa.Select[Any]:
    posted = attempts.c.state == State.POSTED
    sums = [
        sa.func.sum(sa.case((posted, attempts.c[f"actual_{unit}"]), else_=attempts.c[f"bound_{unit}"])).label(unit)
        for unit in ("nano_usd", "centineurons")
    ]
    who = PAYER_OF_ATTEMPT
    names = (*who.values(), (attempts.c.sent_at_us // US_PER_DAY).label("day"), attempts.c.state)
    given = {who["account"]: account, who["project"]: project, attempts.c.dataset: dataset}
    of = [column == value for column, value in given.items() if value is not None]
    query = sa.select(*names, *sums).select_from(PAID).where(attempts.c.state != State.VOID)
    return query.where(sa.or_(sa.false(), *of) if of else sa.true()).group_by(*names)


def _for(tx: Connection, statements: tuple[Any, ...]) -> Any:
    return statements[tx.dialect.name == "postgresql"]


def _names(payer: Payer, at_us: int) -> dict[str, Any]:
    spans = {f"b_{w.period}": _first_day(w) for w in windows_of(payer, at_us) if w.scope == Scope.ACCOUNT}
    who = {"b_account": payer.account, "b_project": payer.project, "b_run": payer.run}
    return {**spans, **who, "b_holder": payer.holder or payer.run}


def _key(window: Window) -> dict[str, str]:
    first_day = _first_day(window)
    return {"scope": window.scope, "name": window.name, "period": window.period, "first_day": first_day}


def _first_day(window: Window) -> str:
    return "" if window.first_day is None else window.first_day.isoformat()


def _window(row: Any) -> Window:
    first_day = date.fromisoformat(row.first_day) if row.first_day else None
    return Window(row.name, Period(row.period), first_day, Scope(row.scope))


def _give_back(tx: Connection, window: Window, bound: Money) -> None:
    where = [windows.c[name] == value for name, value in _key(window).items()]
    reserved = {
        "reserved_nano_usd": windows.c.reserved_nano_usd - bound.nano_usd,
        "reserved_centineurons": windows.c.reserved_centineurons - bound.centineurons,
    }
    tx.execute(sa.update(windows).where(*where).values(**reserved))


def _held(row: Any) -> Held:
    return Held(
        Money(row.spent_nano_usd, row.spent_centineurons),
        Money(row.reserved_nano_usd, row.reserved_centineurons),
        Money(row.unknown_nano_usd, row.unknown_centineurons),
    )
