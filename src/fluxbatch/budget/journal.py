"""Many who write, one commit: whatever waits while the disk syncs is done in the next durable transaction.

A commit costs a sync; with hundreds of pictures in flight a sync each would queue. The thread takes all that waits,
runs it in one transaction, and only when that is on the disk tells each caller. An operation that raises one of our
errors has written nothing (the rule in `ledger.py`), so the others stand; anything else undoes the batch, and each
operation is run again by itself so that only the guilty one fails.

Where the ledger has a server that goes away, the batch waits for it and is run again, unless its mark says that it was
committed and only the answer was lost (`marks.py`). So an operation may be run several times, and counts once.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from sqlalchemy.engine import Connection

from fluxbatch.budget.marks import Marks
from fluxbatch.budget.outages import Outages
from fluxbatch.budget.store import Store
from fluxbatch.errors import FluxbatchError, LedgerError

T = TypeVar("T")
BATCH_MAX = 256
PATIENCE_S = 0.05
"""So long a booking waits for company."""


class Journal(Protocol):
    """Runs an operation in a durable transaction; when it returns, the result is on the disk."""

    async def do(self, operation: Callable[[Connection], T], *, may_wait: bool = False) -> T:
        """`may_wait`: nobody is held up by it, so it may keep others company."""
        ...


@dataclass(slots=True)
class _Job:
    operation: Callable[[Connection], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    may_wait: bool
    result: Any = None
    error: BaseException | None = None


class ThreadJournal:
    """A thread with the only writing connection of this process."""

    def __init__(self, store: Store, outages: Outages | None = None) -> None:
        """`outages` says how long the ledger's server may be away; None: not at all."""
        self._store = store
        self._outages = outages or Outages()
        self._marks = Marks()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._patient: list[_Job] = []
        self._due_s = 0.0
        self._broken: LedgerError | None = None
        self._closed = False
        self._entry = threading.Lock()
        """Held by who puts a job in, and by who ends: so nothing is put in behind the end, where nobody would do it."""
        self._thread = threading.Thread(target=self._work, name="fluxbatch-ledger", daemon=True)
        self._thread.start()

    async def do(self, operation: Callable[[Connection], T], *, may_wait: bool = False) -> T:
        """Run the operation and wait until it is durable. LedgerError once the database has failed: it stays so."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._entry:
            if self._broken is not None:
                raise self._broken
            if self._closed:
                raise RuntimeError("the journal is closed: nobody would do this")
            self._jobs.put(_Job(operation, loop, future, may_wait))
        return await future

    def close(self) -> None:
        """Finish what waits, then end the thread."""
        with self._entry:
            self._closed = True
            self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        try:
            last = False
            while not last:
                hurried, last = self._gather()
                if batch := self._chosen(hurried, last):
                    self._do_and_tell(batch)
        finally:
            self._refuse_the_rest()

    def _do_and_tell(self, batch: list[_Job]) -> None:
        """Whatever happens, nobody waits for ever; what was not seen to be committed is never told as done."""
        committed = False
        try:
            self._commit(batch)
            committed = True
        finally:
            if not committed:
                self._broken = LedgerError("the ledger's thread was ended in the middle of its work; run it again")
                _fail(batch, self._broken)
            _tell_all(batch)

    def _refuse_the_rest(self) -> None:
        with self._entry:
            self._closed = True
            rest, self._patient = self._patient, []
            while not self._jobs.empty():
                job = self._jobs.get()
                rest += [job] if job is not None else []
        _fail(rest, self._broken or RuntimeError("the journal is closed: nobody would do this"))
        _tell_all(rest)

    def _gather(self) -> tuple[list[_Job], bool]:
        """Whoever is in a hurry and came by now, and whether the end was among it. Who may wait is put aside."""
        hurried: list[_Job] = []
        timeout_s = max(0.0, self._due_s - time.monotonic()) if self._patient else None
        for count in range(BATCH_MAX):
            try:
                job = self._jobs.get_nowait() if count else self._jobs.get(timeout=timeout_s)
            except queue.Empty:
                break
            if job is None:
                return hurried, True
            if not job.may_wait:
                hurried.append(job)
                continue
            if not self._patient:
                self._due_s = time.monotonic() + PATIENCE_S
            self._patient.append(job)
        return hurried, False

    def _chosen(self, hurried: list[_Job], last: bool) -> list[_Job]:
        """The next batch. A request that is about to leave does not queue behind the booking of those that came back;
        these are done together when the first of them has waited long enough."""
        if not last and time.monotonic() < self._due_s and len(self._patient) < BATCH_MAX:
            return hurried
        batch, self._patient = [*hurried, *self._patient], []
        return batch

    def _commit(self, batch: list[_Job]) -> None:
        if self._broken is not None:
            _fail(batch, self._broken)
            return
        try:
            self._outages.through(lambda: self._once(batch), lambda: self._is_wanted(batch))
        except LedgerError as error:  # the database itself: what an operation raises is told to its caller alone
            # A full disk or a failed sync: what the pages hold now is not known, so nothing more is promised.
            self._broken = error
            _fail(batch, self._broken)
        except Exception as error:  # noqa: BLE001 - a bug in one operation must not be laid on the others
            if len(batch) == 1:
                _fail(batch, error)
            else:
                for job in batch:
                    self._commit([job])

    def _is_wanted(self, batch: list[_Job]) -> bool:
        """An end at once (a second Ctrl-C) waits for no server that is away: the next start finds what it left."""
        return not (self._closed and all(job.future.cancelled() for job in batch))

    def _once(self, batch: list[_Job]) -> None:
        with self._store.transaction() as tx:
            if self._marks.begins(tx):  # else it stands, and so do the results of when it was run
                for job in batch:
                    _run(job, tx)
        self._marks.committed()


def _run(job: _Job, tx: Connection) -> None:
    job.result = job.error = None
    try:
        job.result = job.operation(tx)
    except FluxbatchError as error:
        job.error = error


def _fail(batch: list[_Job], error: BaseException) -> None:
    for job in batch:
        job.error = error


def _tell_all(batch: list[_Job]) -> None:
    for loop in {job.loop for job in batch}:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            loop.call_soon_threadsafe(_tell, [job for job in batch if job.loop is loop])


def _tell(batch: list[_Job]) -> None:
    for job in batch:
        if job.future.done():  # its caller was cancelled; the entry stands all the same
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)
