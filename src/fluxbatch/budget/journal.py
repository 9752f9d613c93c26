"""Many who write, one commit: whatever waits while the disk syncs is done in the next durable transaction.

A commit costs a sync; with hundreds of pictures in flight a sync each would queue. The thread takes all that waits,
runs it in one transaction, and only when that is on the disk tells each caller. An operation that raises one of our
errors has written nothing (the rule in `ledger.py`), so the others stand; anything else undoes the batch, and each
operation is run again by itself so that only the guilty one fails.
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

from fluxbatch.budget.store import Store
from fluxbatch.errors import FluxbatchError, LedgerError

T = TypeVar("T")
BATCH_MAX = 256
COMPANY_S = 0.01


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

    def __init__(self, store: Store) -> None:
        self._store = store
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
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
            while not last and (job := self._jobs.get()) is not None:
                batch, last = self._take(job)
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
            rest = []
            while not self._jobs.empty():
                job = self._jobs.get()
                rest += [job] if job is not None else []
        _fail(rest, self._broken or RuntimeError("the journal is closed: nobody would do this"))
        _tell_all(rest)

    def _take(self, first: _Job) -> tuple[list[_Job], bool]:
        """All that waits, and whether the end was among it. Who may wait does, for a moment: a request that is about
        to leave then need not queue behind the booking of one that has come back, and one sync does for both."""
        batch = [first]
        until = time.monotonic() + COMPANY_S
        while len(batch) < BATCH_MAX:
            patience_s = until - time.monotonic() if all(job.may_wait for job in batch) else 0.0
            try:
                job = self._jobs.get(timeout=patience_s) if patience_s > 0 else self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                return batch, True
            batch.append(job)
        batch.sort(key=lambda job: job.may_wait)
        return batch, False

    def _commit(self, batch: list[_Job]) -> None:
        if self._broken is not None:
            _fail(batch, self._broken)
            return
        try:
            with self._store.transaction() as tx:
                for job in batch:
                    _run(job, tx)
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
