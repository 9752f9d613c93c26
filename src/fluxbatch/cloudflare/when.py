"""When may it be sent again? Pure; the clock is an argument."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

RETRY_AFTER_MAX_S = 3600.0


def next_reset(now: datetime) -> datetime:
    """When the free allocation comes back: the next 00:00 UTC after `now` (aware)."""
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today + timedelta(days=1)


def retry_after_s(text: str | None, now: datetime) -> float | None:
    """Seconds to wait from a Retry-After header (seconds, or an HTTP date), at most an hour; None for nonsense."""
    text = (text or "").strip()
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", text):
        return min(float(text), RETRY_AFTER_MAX_S)
    if not 16 <= len(text) <= 64:
        return None
    when = date_of(text)
    try:
        seconds = timedelta() if when is None else when - now
    except OverflowError:  # the first and the last day of the calendar, in another zone
        return None
    return min(seconds.total_seconds(), RETRY_AFTER_MAX_S) if seconds > timedelta() else None


def date_of(text: str) -> datetime | None:
    """An HTTP date, aware (one without a zone is UTC); None for nonsense."""
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # the latter for a zone of twenty digits
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)
