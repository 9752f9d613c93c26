"""Text from outside, made fit to be shown and kept: without secrets, and without characters that act on a terminal.

Redact first, then `plain`: an escaped control character beside a token would hide where the token begins.
"""

from __future__ import annotations

import re

REDACTED = "[redacted]"

_NAMED_TOKEN = re.compile(r"\bcf(?:ut|at|k)_[A-Za-z0-9_-]+")
_BEARER = re.compile(r"\b(bearer)[\s:=]+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
_USER_INFO = re.compile(r"(?<=://)[^\s/@]{1,256}@")
_BARE_TOKEN = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{40}(?![A-Za-z0-9_-])")

# C0, C1, zero-width and direction marks, line and paragraph separators, the byte-order mark, lone surrogates, and the
# invisible tag characters: none of them shows, and each can make a line read as something else.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def redact(text: str) -> str:
    """The text without Cloudflare tokens (`cfut_…`, `cfat_…`, `cfk_…`, 40 bare characters), Bearer values, and users
    and passwords in addresses. Keys of 64 hex digits, account ids, UUIDs and ray ids stay."""
    text = _NAMED_TOKEN.sub(REDACTED, text)
    text = _BEARER.sub(rf"\1 {REDACTED}", text)
    text = _USER_INFO.sub(f"{REDACTED}@", text)
    return _BARE_TOKEN.sub(_bare_token, text)


def plain(text: str, limit: int) -> str:
    """At most `limit` characters on one line: what does not print is escaped, what is cut ends in an ellipsis."""
    # Cut first as well: escaping only makes longer, so nothing beyond the limit can come into view.
    shown = _UNPRINTABLE.sub(_escape, text[: limit + 1])
    return shown if len(shown) <= limit else shown[: max(limit - 1, 0)] + "…"[:limit]


def _bare_token(match: re.Match[str]) -> str:
    # A random token of 40 has both cases (all but one in 10^8); a SHA-1 in hex, a slug or a ruler of dashes has not.
    word = match.group()
    mixed = any("a" <= c <= "z" for c in word) and any("A" <= c <= "Z" for c in word)
    return REDACTED if mixed else word


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
