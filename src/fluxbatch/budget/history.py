"""How each key has fared: an attempt that cost money has made a picture only when it ended with one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from fluxbatch.budget.entries import End, History, State
from fluxbatch.budget.tables import attempts
from fluxbatch.models.money import ZERO, Money

KEYS_PER_QUERY = 1000


def histories(tx: Connection, dataset: str, keys: Sequence[str]) -> dict[str, History]:
    """How each of the keys has fared; keys that were never sent are left out."""
    found: dict[str, History] = {}
    for start in range(0, len(keys), KEYS_PER_QUERY):
        rows = tx.execute(
            sa.select(attempts)
            .where(attempts.c.dataset == dataset, attempts.c.key.in_(keys[start : start + KEYS_PER_QUERY]))
            .order_by(attempts.c.key, attempts.c.number)
        )
        for row in rows:
            found[row.key] = _fold(found.get(row.key), row)
    return found


def has_attempts(tx: Connection, dataset: str) -> bool:
    """Whether anything was ever sent for the dataset."""
    return tx.execute(sa.select(attempts.c.key).where(attempts.c.dataset == dataset).limit(1)).first() is not None


def made_keys(tx: Connection, dataset: str) -> Iterable[tuple[str, int, Money]]:
    """Key, number and charge of each picture that was made and booked, as a stream ordered by key.

    An attempt without a picture that was settled as billed is none of them.
    """
    where = (attempts.c.dataset == dataset) & (attempts.c.state == State.POSTED) & (attempts.c.end == End.MADE)
    columns = (attempts.c.key, attempts.c.number, attempts.c.actual_nano_usd, attempts.c.actual_centineurons)
    for row in tx.execute(sa.select(*columns).where(where).order_by(attempts.c.key)):
        yield row.key, row.number, Money(row.actual_nano_usd, row.actual_centineurons)


def first_above_bound(tx: Connection, dataset: str, resolved_at_us: int) -> tuple[str, Money, Money] | None:
    """A picture that was booked at that moment and was charged more than was reserved: model id, charge and bound."""
    at = (attempts.c.dataset == dataset) & (attempts.c.resolved_at_us == resolved_at_us)
    above = (attempts.c.state == State.POSTED) & (attempts.c.actual_nano_usd > attempts.c.bound_nano_usd)
    row = tx.execute(sa.select(attempts).where(at, above).order_by(attempts.c.sent_at_us).limit(1)).first()
    if row is None:
        return None
    actual = Money(row.actual_nano_usd, row.actual_centineurons)
    return row.model, actual, Money(row.bound_nano_usd, row.bound_centineurons)


def _fold(so_far: History | None, row: Any) -> History:
    known = so_far or History()
    unknown = Money(row.bound_nano_usd, row.bound_centineurons) if row.state == State.UNKNOWN else ZERO
    end = End.LOST if row.state == State.SENT else End(row.end)
    is_billable = row.state != State.VOID
    is_no_end = end in (End.THROTTLED, End.NOT_SENT)
    return History(
        attempts=row.number,
        made=known.made or (row.state == State.POSTED and end == End.MADE),
        end=known.end if is_no_end else end,
        failed=known.failed + (end == End.FAILED and is_billable),
        lost=known.lost + (end == End.LOST and is_billable),
        unknown=known.unknown + unknown,
        code=known.code if is_no_end else row.code,
        message=known.message if is_no_end else row.message,
    )
