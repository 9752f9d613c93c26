"""Names for files, safe by construction: whatever text goes in, what comes out is one name for every system. Pure.

Kept are letters, digits, combining marks and a few signs; all else becomes an underscore. So no name climbs out of its
folder, hides, looks like an option or a formula, holds a control or direction character, is one of Windows' devices
(learn.microsoft.com, "Naming Files, Paths, and Namespaces"), or is too long for a disk (255 bytes) or a temp file's
name beside it.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

NAME_BYTES_MAX = 180
"""Of a name without its extension."""
VALUE_BYTES_MAX = 96
"""Of one column's value in it, so that a long prompt leaves room for what stands behind it."""

SIGNS = "-_.+=,@()[]"
_INVISIBLE = frozenset("\u115f\u1160\u3164\uffa0\u034f\u17b4\u17b5")
"""Letters and marks that show nothing."""
_FIRST_NEVER = "-.+=,@"
"""A hidden file, an option, a formula of a spreadsheet."""
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul", "conin", "conout", *(f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³")}
)
_UNDERSCORES = re.compile("_{2,}")
_HASH_DIGITS = 8


def is_kept(character: str) -> bool:
    """Whether a character may stand in a name."""
    return character in SIGNS or (unicodedata.category(character)[0] in "LMN" and character not in _INVISIBLE)


def cleaned(text: str, bytes_max: int = VALUE_BYTES_MAX) -> str:
    """The text as a piece of a name: at most so many bytes of UTF-8, and with a hash of all of it where it was cut."""
    kept = "".join(one if is_kept(one) else "_" for one in unicodedata.normalize("NFC", text))
    return cut(_UNDERSCORES.sub("_", kept), bytes_max, text)


def named(text: str) -> str:
    """Cleaned pieces and what stands between them, as the name of one file (without its extension) or folder."""
    name = cut(unicodedata.normalize("NFC", text).lstrip(_FIRST_NEVER), NAME_BYTES_MAX, text).rstrip(".")
    if not name or unicodedata.category(name[0])[0] == "M" or _is_device(name):
        name = f"_{name}"
    return name


def _is_device(name: str) -> bool:
    return name.partition(".")[0].casefold() in _DEVICES


def cut(text: str, bytes_max: int, whole: str) -> str:
    """At most so many bytes. What is cut ends in a hash of the `whole`, so that two long texts stay two names."""
    content = text.encode()
    if len(content) <= bytes_max:
        return text
    digest = hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_DIGITS]
    start = content[: bytes_max - _HASH_DIGITS - 1].decode("utf-8", "ignore").rstrip(f"{SIGNS} ")
    return f"{start}-{digest}"


def folded(path: str) -> str:
    """What two names share that are one on a disk which does not tell capitals, or ways to write an accent, apart."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path.casefold()).casefold())
