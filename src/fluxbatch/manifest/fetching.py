"""The addresses of a run: each is judged, fetched once, and kept; many at once, and few of one host.

An address is judged each time, also when its picture is kept: what is not allowed is not used, whoever fetched it. What
is kept goes by a name without the query, which may hold a signature.

A kept picture is not asked for again: its key, and with it what was paid, hangs on its content. `again` fetches each
address anew, once in a run.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Final

from fluxbatch.manifest.address import HOSTS_TOLD_MAX, Address, Allowed, Refusal, judge, refused
from fluxbatch.manifest.connect import Wire
from fluxbatch.manifest.fetch import fetch
from fluxbatch.manifest.places import Kept
from fluxbatch.manifest.references import checked
from fluxbatch.manifest.trouble import Unfetched
from fluxbatch.manifest.turns import Turns
from fluxbatch.manifest.values import Unusable

log = logging.getLogger(__name__)

AT_ONCE: Final = 16
PER_HOST: Final = 8
HOST_FAILURES_MAX: Final = 3
"""After so many pictures in a row that failed for their host's sake, its others are not tried."""
LOG_EVERY: Final = 250
ASKED_MAX: Final = 100_000

_Found = Path | bytes | Refusal


class Fetching:
    """What `places.Addresses` promises, over the network. For any thread."""

    def __init__(self, allowed: Allowed, kept: Kept, wire: Wire | None = None, *, again: bool = False) -> None:
        self._allowed = allowed
        self._kept = kept
        self._wire = Wire() if wire is None else wire
        self._again = again
        self._turns: Turns[_Found] = Turns(AT_ONCE, PER_HOST)
        self._lock = threading.Lock()
        self._asked: dict[str, Future[_Found]] = {}
        self._silent: Counter[str] = Counter()
        self._refused: dict[str, None] = {}
        self._tried = 0

    @property
    def hosts_refused(self) -> tuple[str, ...]:
        """The hosts that were asked for and are not allowed, in the order they were met; the first hundred."""
        return tuple(self._refused)

    def original(self, text: str) -> Path | bytes:
        """The picture at an address: where it is kept, or its bytes. Unusable says why there is none."""
        address = self._judged(text)
        try:
            found = self._promised(address).result()
        except KeyboardInterrupt:
            self._wire.stop.set()
            self._turns.close()
            raise
        if isinstance(found, Refusal):
            raise Unusable(found.problem, found.remedy)
        return found

    def ahead(self, texts: Iterable[str]) -> None:
        """Begin to fetch what will be asked for; returns at once. What is refused is told when it is asked for."""
        for text in texts:
            judged = judge(text, self._allowed)
            if isinstance(judged, Address):
                self._promised(judged)

    def _judged(self, text: str) -> Address:
        judged = judge(text, self._allowed)
        if isinstance(judged, Address):
            return judged
        if judged.host is not None and len(self._refused) < HOSTS_TOLD_MAX:
            self._refused[judged.host] = None
        raise refused(text, judged)

    def _promised(self, address: Address) -> Future[_Found]:
        name = address.name
        with self._lock:
            if (known := self._asked.get(name)) is not None:
                return known
        kept = None if self._again else self._kept.find(name)
        with self._lock:
            if (known := self._asked.get(name)) is None:
                call = partial(self._found, address)
                known = self._asked[name] = self._turns.submit(address.origin, call) if kept is None else _done(kept)
                self._forget_some()
            return known

    def _forget_some(self) -> None:
        """What is kept is found again on disk. What was fetched anew must not be fetched anew twice."""
        oldest = next(iter(self._asked))
        if len(self._asked) > ASKED_MAX and not self._again and self._asked[oldest].done():
            del self._asked[oldest]

    def _found(self, address: Address) -> Path | bytes | Refusal:
        host = address.origin
        if self._silent[host] >= HOST_FAILURES_MAX:
            problem = f"{host} failed for {HOST_FAILURES_MAX} pictures in a row, so this one was not tried"
            return _about(address, problem, "look at what was said of the others, then run the same command again")
        try:
            content = fetch(address, self._wire)
            sha256 = checked(content)
            path = self._kept.keep(address.name, content, sha256)
        except Unusable as failure:
            self._count(host, isinstance(failure, Unfetched) and failure.of_host)
            return _about(address, failure.problem, failure.remedy)
        self._count(host, is_silent=False)
        return content if path is None else path

    def _count(self, host: str, is_silent: bool) -> None:
        with self._lock:
            self._silent[host] = self._silent[host] + 1 if is_silent else 0
            self._tried += 1
            if self._tried % LOG_EVERY == 0:
                log.info("%s references fetched so far", f"{self._tried:,}")


def _about(address: Address, problem: str, remedy: str) -> Refusal:
    return Refusal(f"{str(address)!r}: {problem}", remedy)


def _done(value: _Found) -> Future[_Found]:
    future: Future[_Found] = Future()
    future.set_result(value)
    return future
