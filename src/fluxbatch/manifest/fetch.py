"""The bytes of a picture at an address that was judged: one GET, and nothing that HTTP would do besides.

No redirect is followed, no cookie kept, nothing decompressed, no proxy and no .netrc of the environment used, no
credentials sent. Time, size and type are bounded: one deadline over name, connection, head and body; a cap on the body
and one on all that comes in; and the first bytes say whether it is a picture, whatever the header says.

A connection an address rather than a pool, because then what was judged, pinned and bounded is one picture's own.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import httpcore  # noqa: TID251 - one of the two modules that fetch references

from fluxbatch.manifest.address import DOWNLOAD, Address, public
from fluxbatch.manifest.connect import Limits, PinnedBackend, Wire
from fluxbatch.manifest.places import BYTES_MAX
from fluxbatch.manifest.trouble import Unfetched
from fluxbatch.plain import plain

DEADLINE_S: Final = 60.0
"""For one try in all."""
AROUND_BYTES_MAX: Final = 4_000_000
"""What may come in besides the body: TLS is not counted; heads, and the marks of chunks."""
WAITS_S: Final = (1.0, 4.0)
"""Before the second and the third try."""
WAIT_S_MAX: Final = 30.0
"""The longest wait that a server's Retry-After is given."""
MARK_BYTES: Final = 12

_HEADERS: Final = (
    (b"Accept", b"image/jpeg, image/png, image/webp"),
    (b"Accept-Encoding", b"identity"),
    (b"User-Agent", b"fluxbatch"),
    (b"Connection", b"close"),
)
_PROXIES: Final = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


def fetch(address: Address, wire: Wire, deadline_s: float = DEADLINE_S) -> bytes:
    """The picture's bytes: JPEG, PNG or WebP by its first bytes, at most `places.BYTES_MAX`.

    Tried three times where another try may help (no answer, 429, 5xx). Unfetched says what is wrong and what to do.
    Blocks; for a thread of its own.
    """
    for wait_s in WAITS_S:
        try:
            return _try(address, wire, deadline_s)
        except Unfetched as failure:
            if not failure.again:
                raise
            wire.pause(max(wait_s, failure.after_s))
    return _try(address, wire, deadline_s)


def _try(address: Address, wire: Wire, deadline_s: float) -> bytes:
    limits = Limits(wire.now() + deadline_s, BYTES_MAX + AROUND_BYTES_MAX)
    url = httpcore.URL(scheme=b"https", host=address.host.encode(), port=address.port, target=address.target.encode())
    with (
        _told(address, deadline_s),
        httpcore.ConnectionPool(wire.trust(), max_connections=1, network_backend=PinnedBackend(wire, limits)) as pool,
        pool.stream("GET", url, headers=[(b"Host", address.origin.encode()), *_HEADERS]) as answer,
    ):
        _check_status(answer.status, _header(answer, b"location"), _header(answer, b"retry-after"))
        _check_head(_header(answer, b"content-encoding"), _header(answer, b"content-length"))
        return _body(answer.iter_stream())


@contextmanager
def _told(address: Address, deadline_s: float) -> Iterator[None]:
    """What the network and the other side can cause becomes Unfetched, with the host's name and what to do."""
    host = address.origin
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        why = plain(error.verify_message, 100)
        remedy = f"have the host's certificate mended, or {DOWNLOAD}"
        raise Unfetched(f"the certificate of {host} is not good ({why})", remedy, of_host=True) from None
    except TimeoutError:
        raise Unfetched(
            f"{host} gave no whole answer within {deadline_s:g} s", DOWNLOAD, again=True, of_host=True
        ) from None
    except ssl.SSLError as error:
        why = plain(error.reason or type(error).__name__, 100)
        raise Unfetched(f"{host} does not speak TLS properly ({why})", DOWNLOAD, again=True, of_host=True) from None
    except OSError as error:
        why = plain(error.strerror or type(error).__name__, 100)
        raise Unfetched(f"{host} cannot be reached ({why})", _reach_remedy(), again=True, of_host=True) from None
    except httpcore.RemoteProtocolError as error:
        raise Unfetched(
            f"the answer of {host} broke off or is no HTTP ({plain(str(error), 100)})", DOWNLOAD, again=True
        ) from None


def _reach_remedy() -> str:
    if any(os.environ.get(name) for name in _PROXIES):
        return f"pictures are fetched directly, not through the proxy of the environment: {DOWNLOAD}"
    return f"look at the network, or {DOWNLOAD}"


def _check_status(status: int, location: str, retry_after: str) -> None:
    if status == 200:
        return
    if 300 <= status < 400:
        problem = f"the answer is a redirect (HTTP {status}) to {public(location) or 'nowhere'}"
        raise Unfetched(problem, f"no redirect is followed: write the final address and allow its host, or {DOWNLOAD}")
    if status in (401, 403):
        remedy = (
            f"no credentials are ever sent: give an address that is public (or signed, and not run out), or {DOWNLOAD}"
        )
        raise Unfetched(f"the host does not give it out (HTTP {status})", remedy)
    if status in (404, 410):
        raise Unfetched(f"there is no such picture (HTTP {status})", "correct the address")
    again = status == 429 or status >= 500
    after_s = min(float(retry_after), WAIT_S_MAX) if retry_after.isascii() and retry_after.isdigit() else 0.0
    raise Unfetched(f"the host answers HTTP {status}", f"try later, or {DOWNLOAD}", again=again, after_s=after_s)


def _check_head(encoding: str, length: str) -> None:
    if encoding.lower() not in ("", "identity"):
        raise Unfetched(f"the picture comes compressed ({plain(encoding, 40)}), unasked", DOWNLOAD)
    if length.isascii() and length.isdigit() and int(length) > BYTES_MAX:
        raise _too_large()


def _body(pieces: Iterable[bytes]) -> bytes:
    """The body, given up as soon as it is too large or cannot be a picture."""
    content = bytearray()
    looked = False
    for piece in pieces:
        content += piece
        if len(content) > BYTES_MAX:
            raise _too_large()
        if not looked and len(content) >= MARK_BYTES:
            _check_type(content)
            looked = True
    _check_type(content)
    return bytes(content)


def _check_type(content: bytes | bytearray) -> None:
    start = bytes(content[:MARK_BYTES])
    if start.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")) or (start[:4] == b"RIFF" and start[8:] == b"WEBP"):
        return
    if not start:
        raise Unfetched("the answer is empty", "correct the address")
    page = start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"<", b"{", b"["))
    what = "leads to a page or a text, not to a picture" if page else "leads to no JPEG, PNG or WebP picture"
    raise Unfetched(f"the address {what}", "give the address of the picture itself")


def _too_large() -> Unfetched:
    return Unfetched(f"the picture has more than {BYTES_MAX // 10**6} MB", "make it smaller")


def _header(answer: httpcore.Response, name: bytes) -> str:
    """Every value that the header has, or an empty text. Bytes of any kind may stand in it."""
    return ", ".join(value.decode("latin-1") for key, value in answer.headers if key.lower() == name)
