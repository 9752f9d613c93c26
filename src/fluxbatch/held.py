"""One run at a time in a dataset: a lock on its disk for this machine, a lease in the ledger for all others.

The lock says at once that its holder is dead; a lease says so after a while without a heartbeat. Both are held from the
recovery to the close.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from fluxbatch.budget import lease
from fluxbatch.budget.here import here, is_gone
from fluxbatch.budget.journal import Journal
from fluxbatch.budget.lease import Busy, Lease, Taken, Transaction
from fluxbatch.budget.store import Store
from fluxbatch.dataset.catalogue import Dataset, lock_file
from fluxbatch.dataset.lock import in_use
from fluxbatch.errors import DatasetInUse, LeaseLost, LedgerError, UsageError

log = logging.getLogger(__name__)

ASK_AGAIN_S = 1.0


@dataclass(slots=True)
class Hold:
    """A dataset that is this run's. `now_us` is a clock of one's own; without one, time is the database's."""

    store: Store
    dataset: str
    run: str
    length_s: float = lease.LENGTH_S
    now_us: Callable[[], int] | None = None
    _end: threading.Event = field(default_factory=threading.Event)

    @property
    def every_s(self) -> float:
        """The time from one heartbeat to the next."""
        return self.length_s / lease.BEATS

    def check(self) -> None:
        """LeaseLost when another run has taken the dataset over: nothing may be written into it then."""

        def look() -> None:
            with self.store.transaction() as tx:
                self.checked(tx)

        self.store.outages.through(look)  # a picture that was paid waits for a ledger that is away

    def checked(self, tx: Transaction) -> None:
        """The same within a transaction; nobody takes the dataset over before that has ended."""
        lease.check(tx, self.dataset, self.run)

    async def beat(self, journal: Journal) -> None:
        """One heartbeat, with whatever else is committed just now. LeaseLost when another run has the dataset."""
        self._end.set()  # from here on by the journal: no more connections than there are
        await journal.do(self._renew)

    def _renew(self, tx: Transaction) -> None:
        lease.renew(tx, self.dataset, self.run, self.length_s, None if self.now_us is None else self.now_us())

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Heartbeats while there is no journal yet: a recovery, or a plan of millions of rows, takes its time."""
        if self.now_us is not None:  # whoever has a clock of their own has no use for a thread in real time
            yield
            return
        thread = threading.Thread(target=self._beat_alone, name="fluxbatch-lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._end.set()
            thread.join()

    def _beat_alone(self) -> None:
        while not self._end.wait(self.every_s):
            try:
                with self.store.transaction() as tx:
                    self._renew(tx)
            except LeaseLost as error:  # what the run itself does next meets the same, and ends it
                log.warning("%s", error)
                return
            except LedgerError as error:  # it may be back for the next
                log.warning("the lease could not be renewed: %s", error)


@contextmanager
def holding(
    dataset: Dataset,
    store: Store,
    run: str,
    length_s: float = lease.LENGTH_S,
    *,
    holder: str | None = None,
    seat: str | None = None,
    now_us: Callable[[], int] | None = None,
) -> Iterator[Hold]:
    """Keep all others out for the block, on this machine and on every other. DatasetInUse says who holds it.

    `holder` and `seat`: of a chunk, the run whose batch it is, and the name of the chunk.
    """
    with dataset.hold():
        hold = Hold(store, dataset.id, run, length_s, now_us)
        taken = _take(hold, dataset, holder, seat)
        if isinstance(taken, Busy):
            left = f"or is taken for dead after {taken.left_s:.0f} s of silence"
            raise in_use(dataset.folder, f"{taken.by}, which is alive by its lease {left},")
        for other in taken.over:
            log.warning("taken over from %s, of which nothing more was heard", other)
        try:
            with hold.beating():
                yield hold
        finally:
            _release(hold)


def check_batch(store: Store, dataset: str, batch: str) -> None:
    """UsageError when the batch of a chunk has ended: nobody would take in what it makes."""
    with store.reading() as tx:
        if all(one.run != batch for one in lease.leases_of(tx, dataset)):
            raise UsageError(f"the batch {batch} has ended, and this chunk of it with it; begin the batch again")


def _take(hold: Hold, dataset: Dataset, holder: str | None, seat: str | None) -> Taken | Busy:
    me = here(lock_file(dataset.folder))

    def is_dead(other: Lease) -> bool:
        return is_gone(other.where, me)

    now = None if hold.now_us is None else hold.now_us()
    with hold.store.transaction() as tx:
        whose = {"holder": holder, "seat": seat}
        return lease.take(tx, dataset.id, hold.run, me, hold.length_s, **whose, is_dead=is_dead, now_us=now)


def _release(hold: Hold) -> None:
    # A ledger that has failed was told of already, and the dead are recognised.
    with suppress(LedgerError), hold.store.transaction() as tx:
        lease.release(tx, hold.dataset, hold.run)


def when_free(take: Callable[[], None], *, wait: bool, pause: Callable[[float], None] = time.sleep) -> bool:
    """Take what another run may hold, as soon as it is free if it is to be waited for. Whether it was waited for.

    DatasetInUse when it is not. Ctrl-C ends the waiting.
    """
    told = ""
    while True:
        try:
            take()
        except DatasetInUse as error:
            if not wait:
                raise
            if error.by.split(",")[0] != told:
                told = error.by.split(",")[0]
                log.warning("waiting until %s is done with this dataset (--if-running wait); Ctrl-C to leave", told)
            pause(ASK_AGAIN_S)
        else:
            return bool(told)
