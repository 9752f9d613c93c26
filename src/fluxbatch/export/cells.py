"""A row's values as cells of CSV and as JSON. Pure.

CSV is opened in spreadsheets, which run a cell that begins with = + - @ (or a tab or a line's end before them) as a
formula (owasp.org, "CSV Injection"). Such texts get an apostrophe before them, and so do texts that begin with one: who
reads by program takes one apostrophe away from the front, and has the text as it was. A text that is a number stays
one, because no number is a formula; numbers themselves are never touched.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

_FORMULA = re.compile(
    r"[\s\x00-\x20\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n\x00]|'"
)
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
_QUOTED = re.compile('[",\r\n]|^\\s|\\s$')
LINE_END = "\r\n"


def defused(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def restored(cell: str) -> str:
    """The text that `defused` was given."""
    return cell.removeprefix("'")


def csv_line(values: Iterable[Any]) -> str:
    """One line of RFC 4180. What is missing is an empty cell, an empty text is `""`."""
    return ",".join(map(_cell, values)) + LINE_END


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    simple = _plain(value)
    text = defused(simple) if isinstance(simple, str) else json.dumps(simple, ensure_ascii=False)
    return '"{}"'.format(text.replace('"', '""')) if not text or _QUOTED.search(text) else text


def json_line(row: Mapping[str, Any]) -> str:
    """One JSON object on one line. A decimal keeps its digits; what JSON has no number for (NaN, infinity) is null."""
    pairs = (f"{json.dumps(name, ensure_ascii=False)}: {_json(value)}" for name, value in row.items())
    return f"{{{', '.join(pairs)}}}\n"


def _json(value: Any) -> str:
    if isinstance(value, Decimal) and value.is_finite():
        return format(value, "f")
    return json.dumps(_plain(value), ensure_ascii=False)


def _plain(value: Any) -> Any:
    """With nothing in it that JSON does not know."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return _scalar(value)


def _scalar(value: Any) -> Any:
    """Moments as ISO 8601, durations in seconds, bytes in base64, decimals as numbers; all else as it is."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Decimal):
        return float(value) if value.is_finite() else None
    return value
