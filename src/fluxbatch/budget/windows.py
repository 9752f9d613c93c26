"""The account's days and months: what was sent in each, and the caps upon it. Counted in UTC, as Cloudflare does.

An attempt enters the day and the month of the moment in which it was sent, and leaves exactly these, whatever the clock
says by then. The guard is one conditional UPDATE over both rows: whoever else is spending, a row that has no room is
not written.
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
    Held,
    Period,
    State,
    Window,
    windows_at,
)
from fluxbatch.budget.tables import HOLDINGS, attempts, caps, datasets, former_accounts, insert_into, windows
from fluxbatch.models.money import ZERO, Money

PERIODS = len(Period)


def _one(period: Period) -> Any:
    account: Any = sa.bindparam("b_account")
    first_day: Any = sa.bindparam(f"b_{period}")
    return (windows.c.account == account) & (windows.c.period == period) & (windows.c.first_day == first_day)


_THESE = sa.or_(_one(Period.DAY), _one(Period.MONTH))
_CAP = (
    sa.select(caps.c.cap_nano_usd)
    .where(caps.c.account == windows.c.account, caps.c.period == windows.c.period)
    .correlate(windows)
    .scalar_subquery()
)
_GONE = windows.c.spent_nano_usd + windows.c.reserved_nano_usd + windows.c.unknown_nano_usd
_D_NANO_USD: Any = sa.bindparam("d_nano_usd")
_D_CENTINEURONS: Any = sa.bindparam("d_centineurons")
_RESERVE = (
    sa.update(windows)
    .where(_THESE, sa.func.coalesce(_GONE + _D_NANO_USD <= _CAP, sa.true()))
    .values(
        reserved_nano_usd=windows.c.reserved_nano_usd + _D_NANO_USD,
        reserved_centineurons=windows.c.reserved_centineurons + _D_CENTINEURONS,
    )
    .returning(windows.c.period)
)
_MOVE = sa.update(windows).where(_THESE).values({windows.c[n]: windows.c[n] + sa.bindparam(f"d_{n}") for n in HOLDINGS})
_FIND = sa.select(windows, _CAP.label("cap_nano_usd")).where(_THESE)

account_of = sa.func.coalesce(
    sa.select(former_accounts.c.account)
    .where(former_accounts.c.dataset == sa.bindparam("b_dataset"), former_accounts.c.run == sa.bindparam("b_run"))
    .scalar_subquery(),
    datasets.c.account,
)
"""Who pays for an attempt of a dataset's run, in a statement over `datasets`."""

PAID = attempts.join(datasets, datasets.c.dataset == attempts.c.dataset).outerjoin(
    former_accounts,
    (former_accounts.c.dataset == attempts.c.dataset) & (former_accounts.c.run == attempts.c.run),
)
"""All attempts, each beside who paid for it."""
PAID_BY: Any = sa.func.coalesce(former_accounts.c.account, datasets.c.account)


def set_cap(tx: Connection, account: str, period: Period | str, cap_nano_usd: int | None) -> None:
    """Cap what the account may spend in each day or month; None takes the cap away. What was spent stays counted."""
    name = Period(period)
    if cap_nano_usd is None:
        tx.execute(sa.delete(caps).where(caps.c.account == account, caps.c.period == name))
        return
    assert cap_nano_usd >= 0, "a cap is an amount of money"
    entry = insert_into(tx, caps).values(account=account, period=name, cap_nano_usd=cap_nano_usd)
    tx.execute(entry.on_conflict_do_update(index_elements=["account", "period"], set_={"cap_nano_usd": cap_nano_usd}))


def caps_of(tx: Connection, account: str) -> dict[Period, int]:
    """The account's caps in nano-dollars; a period without one is left out."""
    rows = tx.execute(sa.select(caps.c.period, caps.c.cap_nano_usd).where(caps.c.account == account))
    return {Period(row.period): row.cap_nano_usd for row in rows}


def reserve(tx: Connection, account: str, at_us: int, bound: Money) -> Denied | None:
    """Take the bound out of the day and the month. When one of them refuses, neither is changed."""
    amount = {"d_nano_usd": bound.nano_usd, "d_centineurons": bound.centineurons}
    names = _names(account, at_us)
    taken = [row.period for row in tx.execute(_RESERVE, names | amount)]
    if len(taken) == PERIODS:
        return None
    for period in taken:  # the one that had room gives it back, in the same transaction
        _give_back(tx, names, Period(period), bound)
    there = {row.period: row for row in tx.execute(_FIND, names)}
    if len(there) < PERIODS:
        enter(tx, account, at_us)
        return reserve(tx, account, at_us, bound)
    # When both said no it is the month that is told, because tomorrow will not help then.
    window = next(one for one in reversed(windows_at(account, at_us)) if one.period not in taken)
    row = there[window.period]
    held = _held(row)
    return Denied(Balance(row.cap_nano_usd or 0, held.spent, held.reserved, held.unknown), window)


def move(tx: Connection, account: str, sent_at_us: int, deltas: Mapping[str, int]) -> None:
    """The same movement of money as in the dataset, in the day and the month in which the attempt was sent."""
    # A window that is missing was taken away by somebody; the audit of the next start says so.
    tx.execute(_MOVE, {**_names(account, sent_at_us), **deltas})


def enter(tx: Connection, account: str, at_us: int) -> None:
    """Make the day and the month, empty, where they are not there yet."""
    rows = [
        {"account": account, "period": window.period, "first_day": window.first_day.isoformat()}
        for window in windows_at(account, at_us)
    ]
    tx.execute(insert_into(tx, windows).values(rows).on_conflict_do_nothing())


def audit_windows(tx: Connection, account: str | None = None) -> list[Window]:
    """The days and months (of one account or of all) that hold something else than their attempts add up to."""
    kept, added = stored(tx, account), folded(tx, account)
    wrong = [window for window in kept.keys() | added.keys() if kept.get(window) != added.get(window)]
    return sorted(wrong, key=lambda window: (window.account, window.period, window.first_day))


def stored(tx: Connection, account: str | None = None) -> dict[Window, Held]:
    """What the days and months hold; empty ones are left out."""
    query = sa.select(windows) if account is None else sa.select(windows).where(windows.c.account == account)
    found = {
        Window(row.account, Period(row.period), date.fromisoformat(row.first_day)): _held(row)
        for row in tx.execute(query)
    }
    return {window: held for window, held in found.items() if held != Held()}


def folded(tx: Connection, account: str | None = None) -> dict[Window, Held]:
    """The same, added up anew from the attempts (of one account or of all): equal unless the ledger was damaged."""
    found: dict[Window, dict[str, Money]] = {}
    for row in tx.execute(_fold_by_day(account)):
        for window in windows_at(row.account, row.day * US_PER_DAY):
            held = found.setdefault(window, {})
            what = _HOLDS[State(row.state)]
            held[what] = held.get(what, ZERO) + Money(int(row.nano_usd), int(row.centineurons))
    return {window: Held(**held) for window, held in found.items() if Held(**held) != Held()}


def leave_with(tx: Connection, dataset: str, account: str) -> None:
    """What the dataset's runs have spent so far stays with this account, now that the dataset goes to another."""
    noted = sa.select(former_accounts.c.run).where(former_accounts.c.dataset == dataset)
    paid = (
        sa.select(attempts.c.dataset, attempts.c.run, sa.literal(account))
        .where(attempts.c.dataset == dataset, attempts.c.run.not_in(noted))
        .distinct()
    )
    tx.execute(sa.insert(former_accounts).from_select(["dataset", "run", "account"], paid))


_HOLDS = {State.SENT: "reserved", State.POSTED: "spent", State.UNKNOWN: "unknown"}


def _fold_by_day(account: str | None) -> sa.Select[Any]:
    posted = attempts.c.state == State.POSTED
    sums = [
        sa.func.sum(sa.case((posted, attempts.c[f"actual_{unit}"]), else_=attempts.c[f"bound_{unit}"])).label(unit)
        for unit in ("nano_usd", "centineurons")
    ]
    day = (attempts.c.sent_at_us // US_PER_DAY).label("day")
    query = sa.select(PAID_BY.label("account"), day, attempts.c.state, *sums).select_from(PAID)
    query = query.where(attempts.c.state != State.VOID).group_by(PAID_BY, day, attempts.c.state)
    return query if account is None else query.where(account == PAID_BY)


def _names(account: str, at_us: int) -> dict[str, Any]:
    day, month = windows_at(account, at_us)
    return {"b_account": account, "b_day": day.first_day.isoformat(), "b_month": month.first_day.isoformat()}


def _give_back(tx: Connection, names: Mapping[str, Any], period: Period, bound: Money) -> None:
    where = (windows.c.account == names["b_account"]) & (windows.c.period == period)
    reserved = {
        "reserved_nano_usd": windows.c.reserved_nano_usd - bound.nano_usd,
        "reserved_centineurons": windows.c.reserved_centineurons - bound.centineurons,
    }
    tx.execute(sa.update(windows).where(where, windows.c.first_day == names[f"b_{period}"]).values(**reserved))


def _held(row: Any) -> Held:
    return Held(
        Money(row.spent_nano_usd, row.spent_centineurons),
        Money(row.reserved_nano_usd, row.reserved_centineurons),
        Money(row.unknown_nano_usd, row.unknown_centineurons),
    )
