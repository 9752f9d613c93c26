"""Text from outside, made fit for a terminal: one line, and no character that acts on it or does not show."""

from __future__ import annotations

import re

# C0, C1, zero-width and direction marks, line and paragraph separators, the byte-order mark, lone surrogates, and the
# invisible tag characters: none of them shows, and each can make a line read as something else.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def plain(text: str, limit: int) -> str:
    """At most `limit` characters on one line: what does not print is escaped, what is cut ends in an ellipsis."""
    # Cut first as well: escaping only makes longer, so nothing beyond the limit can come into view.
    shown = _escaped(text[: limit + 1])
    return shown if len(shown) <= limit else shown[: max(limit - 1, 0)] + "…"[:limit]


def with_its_end(text: str, limit: int) -> str:
    """The same, but what is cut is cut in the middle: a message says at its beginning what it is about, and at its end
    what is wrong or what to do. A long path between them is what can be spared. The limit is 3 or more."""
    shown = _escaped(text) if len(text) <= limit else ""
    if len(text) <= limit and len(shown) <= limit:
        return shown
    behind = (limit - 1) // 2
    before = limit - 1 - behind
    return _escaped(text[:before])[:before] + "…" + _escaped(text[-behind:])[-behind:]


def _escaped(text: str) -> str:
    return _UNPRINTABLE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
