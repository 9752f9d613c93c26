"""Columns that every dataset has and SQL keeps the names of for itself: `check = 'ok'` is what one writes. Pure."""

from __future__ import annotations

import re

OURS = ("check", "references")
"""Both are words of CREATE TABLE alone: where an expression stands, neither can be anything but a column."""

# What is not code is skipped: 'texts', E'te\'xts', "names", $$texts$$, comments. A quote or a comment that does not end
# is left to the parser, which refuses it.
_TOKENS = re.compile(
    r"""
    (?<!\w)E'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*" | \$(\w*)\$.*?\$\1\$ | --[^\n]* | /\*.*?\*/
    | (?<![\w.$])(?P<ours>check|references)(?![\w$(.])
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)


def with_our_names(text: str) -> str:
    """SQL in which these columns stand in double quotes, wherever they were written as bare words."""
    return _TOKENS.sub(lambda match: f'"{match[0]}"' if match["ours"] else match[0], text)
