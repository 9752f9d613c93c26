"""When the ledger's server is away: whoever needs it waits, says so once, and goes on when it is back.

Only a server can come back. With a file any failure is final: what its pages hold after a failed sync is not known.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from fluxbatch.errors import LedgerAway, LedgerBusy, LedgerError

log = logging.getLogger(__name__)

T = TypeVar("T")
FIRST_S = 0.1
MOST_S = 5.0
BUSY_S = 60.0
"""Somebody who is in the way is waited for this long at least, and is worth a word after BUSY_TOLD_S only."""
BUSY_TOLD_S = 5.0


def wait_of(tries: int, chance: float) -> float:
    """Seconds before the next try: min(MOST_S, FIRST_S * 2 ** tries), of which a part up to a half is left to chance,
    so that many who lost the same server do not come back at the same moment."""
    most_s = min(MOST_S, FIRST_S * 2.0 ** min(tries, 16))
    return most_s * (1 - chance / 2)


@dataclass(slots=True)
class Outages:
    """One for a store, whichever thread meets the outage."""

    patience_s: float = 0.0
    """So long a server may be away; then it is a LedgerError like any other."""
    wait: Callable[[float], object] = time.sleep
    clock: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random
    _told: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def through(self, attempt: Callable[[], T], is_wanted: Callable[[], bool] = lambda: True) -> T:
        """What `attempt` returns, tried again while the ledger is away or busy. It has to be fit to be repeated.

        LedgerError when patience has run out, when nobody waits for it any more, or for what does not pass.
        """
        since_s, tries = None, 0
        while True:
            try:
                result = attempt()
            except LedgerAway as error:
                since_s = self.clock() if since_s is None else since_s
                if not is_wanted():
                    raise LedgerError(str(error)) from error
                self._note(error, self.clock() - since_s)
                self.wait(wait_of(tries, self.chance()))
                tries += 1
            else:
                if since_s is not None:
                    self._back(self.clock() - since_s)
                return result

    def _note(self, error: LedgerAway, away_s: float) -> None:
        is_busy = isinstance(error, LedgerBusy)
        if away_s >= max(self.patience_s, BUSY_S if is_busy else 0.0):
            waited = f", and was waited for {away_s / 60:.3g} minutes" if away_s else ""
            raise LedgerError(
                f"{error}{waited}; run the same command again when it is back: nothing is paid twice"
            ) from error
        with self._lock:
            if self._told or (is_busy and away_s < BUSY_TOLD_S):
                return
            self._told = True
        log.warning("%s; waiting, nothing is sent", error)

    def _back(self, away_s: float) -> None:
        with self._lock:
            told, self._told = self._told, False
        if told:
            log.warning("the ledger is back after %.1f s: sending goes on", away_s)
