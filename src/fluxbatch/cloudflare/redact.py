"""Text from outside, made fit to be shown and kept: without secrets here, without what acts on a terminal in `plain`.

Redact first, then `plain`: an escaped control character beside a token would hide where the token begins.
"""

from __future__ import annotations

import re

from fluxbatch.plain import plain

__all__ = ["REDACTED", "plain", "redact"]

REDACTED = "[redacted]"

_NAMED_TOKEN = re.compile(r"cf(?:ut|at|k)_[A-Za-z0-9_-]+")
_BEARER = re.compile(r"\b(bearer)[\s:=]+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
_USER_INFO = re.compile(r"(?<=://)[^\s/@]{1,256}@")
_BARE_TOKEN = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{40}(?![A-Za-z0-9_-])")


def redact(text: str) -> str:
    """The text without Cloudflare tokens (`cfut_…`, `cfat_…`, `cfk_…`, 40 bare characters), Bearer values, and users
    and passwords in addresses. Keys of 64 hex digits, account ids, UUIDs and ray ids stay."""
    text = _NAMED_TOKEN.sub(REDACTED, text)
    text = _BEARER.sub(rf"\1 {REDACTED}", text)
    text = _USER_INFO.sub(f"{REDACTED}@", text)
    return _BARE_TOKEN.sub(_bare_token, text)


def _bare_token(match: re.Match[str]) -> str:
    # A random token of 40 has both cases (all but one in 10^8); a SHA-1 in hex, a slug or a ruler of dashes has not.
    word = match.group()
    mixed = any("a" <= c <= "z" for c in word) and any("A" <= c <= "Z" for c in word)
    return REDACTED if mixed else word
