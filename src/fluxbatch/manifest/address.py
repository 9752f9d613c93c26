"""A picture's address: what it says, and whether it may be asked for. Pure.

What is taken is much less than what a browser would take, because a check is passed by whatever two readers read
differently. So nothing is mended here: an address is plain, or it is refused with the way to write it. What is sent is
built anew from the parts that were judged, and no second reader sees the text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from urllib.parse import quote

from fluxbatch.errors import UsageError
from fluxbatch.manifest.values import Unusable
from fluxbatch.plain import plain

ADDRESS_CHARACTERS_MAX: Final = 8_000
HOST_CHARACTERS_MAX: Final = 253
SHOWN_MAX: Final = 200
HOSTS_TOLD_MAX: Final = 100
HTTPS_PORT: Final = 443

_IS_ADDRESS = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]+):")
_HTTPS = re.compile(r"https://", re.IGNORECASE)
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_OTHER_DOTS = "\u3002\uff0e\uff61"
_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
_EVERY_ASCII = "".join(map(chr, range(0x21, 0x7F)))

DOWNLOAD: Final = "download the picture and give its path"


class Refusal(NamedTuple):
    """Why an address is not asked for, and what to do. `host` is given when allowing it is all that is missing."""

    problem: str
    remedy: str
    host: str | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """Where a picture is: host in lower case and ASCII (A-labels), port, and path with query, percent-encoded.

    As text it is fit to be shown and kept: without its query, which may hold a signature. `whole` is the identity.
    """

    host: str
    port: int
    target: str = field(repr=False)

    @property
    def origin(self) -> str:
        return self.host if self.port == HTTPS_PORT else f"{self.host}:{self.port}"

    @property
    def whole(self) -> str:
        """The address with its query: a secret."""
        return f"https://{self.origin}{self.target}"

    @property
    def name(self) -> str:
        """What the picture is kept under: tells two queries apart, and does not say them."""
        return f"{self} {hashlib.sha256(self.whole.encode()).hexdigest()}"

    def __str__(self) -> str:
        return public(self.whole)


@dataclass(frozen=True, slots=True)
class Allowed:
    """The hosts that may be asked, each with its port: exact ones, and those under a suffix. Nobody by default."""

    exact: frozenset[tuple[str, int]] = frozenset()
    suffixes: frozenset[tuple[str, int]] = frozenset()

    @classmethod
    def read(cls, entries: Iterable[str]) -> Allowed:
        """From `images.example.com`, `*.example.com` (all below it, not itself), `host:8443`. UsageError names every
        entry that is none of these."""
        exact: set[tuple[str, int]] = set()
        suffixes: set[tuple[str, int]] = set()
        wrong = []
        for entry in entries:
            found = _read_entry(entry)
            if isinstance(found, Refusal):
                wrong.append(f"--allow-host {plain(entry, SHOWN_MAX)!r}: {found.problem}; {found.remedy}")
            else:
                (suffixes if entry.startswith("*.") else exact).add(found)
        if wrong:
            raise UsageError("; ".join(wrong))
        return cls(frozenset(exact), frozenset(suffixes))

    def __contains__(self, place: tuple[str, int]) -> bool:
        host, port = place
        labels = host.split(".")
        above = (".".join(labels[index:]) for index in range(1, len(labels)))
        return place in self.exact or any((suffix, port) in self.suffixes for suffix in above)

    def __bool__(self) -> bool:
        return bool(self.exact or self.suffixes)


def is_address(text: str) -> bool:
    """Whether a cell's text is meant as an address rather than as a path."""
    return _IS_ADDRESS.match(text) is not None


def judge(text: str, allowed: Allowed) -> Address | Refusal:
    """The address that a text says, if it may be asked for; or what is wrong with it. Nothing is looked up."""
    wrong = _misfit(text)
    if wrong is not None:
        return wrong
    authority, target = _parted(text)
    if not authority:
        return Refusal("the address names no host", "write it like https://images.example.com/cat.png")
    place = _read_authority(authority)
    if isinstance(place, Refusal):
        return place
    found = Address(*place, quote(target, safe=_EVERY_ASCII))
    if place not in allowed:
        problem = f"the host {found.origin} is not allowed"
        return Refusal(problem, f"allow it with --allow-host {found.origin}, or {DOWNLOAD}", found.origin)
    return found


def refused(text: str, why: Refusal) -> Unusable:
    """The refusal as it is raised, with the address it is about."""
    return Unusable(f"{public(text)!r} is an address that is not fetched: {why.problem}", why.remedy)


def public(text: str) -> str:
    """An address that may be shown, logged and kept: without query, fragment, user and password; on one line."""
    bare = re.split(r"[?#]", text, maxsplit=1)[0]
    cut = "" if bare == text else "?…"
    scheme, mark, rest = bare.partition(":")
    slashes = len(rest) - len(rest.lstrip("/\\"))
    authority, slash, path = rest[slashes:].partition("/")
    if "@" in authority:
        authority = f"…@{authority.rpartition('@')[2]}"
    return plain(f"{scheme}{mark}{rest[:slashes]}{authority}{slash}{path}", SHOWN_MAX) + cut


def _misfit(text: str) -> Refusal | None:
    """What is wrong with the text as a whole, before it is taken apart."""
    if len(text) > ADDRESS_CHARACTERS_MAX:
        return Refusal(f"the address has {len(text)} characters", f"take one of at most {ADDRESS_CHARACTERS_MAX}")
    if " " in text or not text.isprintable():
        return Refusal("the address has a space or a character that does not show", "remove it (in a name: %20)")
    if "\\" in text:
        return Refusal("the address has a backslash", "write / in its place")
    scheme = text.partition(":")[0].lower()
    if scheme != "https":
        remedy = f"write https://…, or {DOWNLOAD}"
        return Refusal(f"only https is fetched, and this is {plain(scheme, 20)}", remedy)
    if not _HTTPS.match(text):
        return Refusal("the address does not begin with https://", "write it like https://images.example.com/cat.png")
    if "#" in text:
        return Refusal("the address has a fragment (#…), which is never sent", "remove it (in a name: %23)")
    return None


def _parted(text: str) -> tuple[str, str]:
    """Authority and target of a text that begins with https://."""
    rest = text[len("https://") :]
    authority = re.split("[/?]", rest, maxsplit=1)[0]
    target = rest[len(authority) :]
    return authority, target if target.startswith("/") else f"/{target}"


def _read_entry(entry: str) -> tuple[str, int] | Refusal:
    if "://" in entry or "/" in entry:
        return Refusal("this is more than a host", "give the host alone, like images.example.com")
    host = entry.removeprefix("*.")
    if "*" in host:
        return Refusal("a star stands for all that is below a host", "write it like *.example.com")
    return _read_authority(host) if host else Refusal("no host is given", "write it like images.example.com")


def _read_authority(authority: str) -> tuple[str, int] | Refusal:
    """Host and port. Whatever could be read as another host by another reader is refused."""
    if "@" in authority:
        return Refusal("the address has a user or a password (…@)", "remove it: none is ever sent")
    if "%" in authority:
        return Refusal("the host is percent-encoded", "write it plainly")
    if "[" in authority or "]" in authority or authority.count(":") > 1:
        return _ip_refused()
    host, colon, digits = authority.partition(":")
    if colon and not (_PORT.fullmatch(digits) and int(digits) <= 0xFFFF):
        return Refusal("the port is no number from 1 to 65535", "correct it, or leave it out")
    name = _ascii_host(host)
    if isinstance(name, Refusal):
        return name
    return name, int(digits) if colon else HTTPS_PORT


def _ascii_host(host: str) -> str | Refusal:
    """The host in lower case and in A-labels, as it is looked up and compared."""
    name = host.translate(_LOWER)  # not lower(): that makes a plain k of the Kelvin sign
    if not name.isascii() or "xn--" in name:
        encoded = _a_labels(name)
        if encoded is None:
            return Refusal("the host has characters that no host name has", "write it plainly, or in its xn-- form")
        name = encoded
    if name.endswith("."):
        return Refusal("the host ends in a dot", "remove the dot")
    if len(name) > HOST_CHARACTERS_MAX:
        return Refusal(f"the host has {len(name)} characters", f"a host name has at most {HOST_CHARACTERS_MAX}")
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _ip_refused()
    if wrong := [label for label in labels if not _LABEL.fullmatch(label)]:
        what = f"{plain(wrong[0], 70)!r}" if wrong[0] else "nothing between two dots"
        return Refusal(f"the host has {what} in it, which no host name has", "correct it")
    if len(labels) == 1:
        return Refusal("the host is a single word, a name of this network", f"give a public host, or {DOWNLOAD}")
    return name


def _ip_refused() -> Refusal:
    return Refusal("the host is an IP address", f"give a host's name, or {DOWNLOAD}")


def _a_labels(name: str) -> str | None:
    """By IDNA 2008 and without any mapping: full-width digits, soft hyphens and other dots are no host names."""
    import idna  # half a megabyte of tables, for the few hosts that need them

    if any(dot in name for dot in _OTHER_DOTS):
        return None
    try:
        encoded = idna.encode(name, std3_rules=True).decode("ascii")
    except UnicodeError:  # idna.IDNAError is one
        return None
    return None if "" in name.split(".") else encoded
