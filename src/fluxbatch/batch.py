"""One run under way: its shards, what becomes of their pictures, and its close."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from fluxbatch.budget import ledger
from fluxbatch.budget import store as side
from fluxbatch.budget.entries import USED_UP, Balance, Denied, End, History
from fluxbatch.budget.journal import Journal
from fluxbatch.budget.plan import with_histories
from fluxbatch.budget.rounds import Rounds
from fluxbatch.budget.selection import Picked
from fluxbatch.dataset.failures import TOO_DEAR, FailureWriter
from fluxbatch.dataset.header import Part
from fluxbatch.dataset.made import refresh_card
from fluxbatch.dataset.place import put_atomic
from fluxbatch.dataset.shards import seal
from fluxbatch.dataset.spool import Spooled
from fluxbatch.dispatch.ahead import Ahead, Line
from fluxbatch.dispatch.engine import Due, Ended, Engine
from fluxbatch.dispatch.retry import is_due
from fluxbatch.dispatch.stop import Stop, StoppedBy
from fluxbatch.dispatch.tally import Tally
from fluxbatch.errors import LeaseLost, LedgerError, StorageError
from fluxbatch.manifest.reader import Rejected
from fluxbatch.manifest.request import ImageRequest
from fluxbatch.models.money import ZERO, Money, exact
from fluxbatch.prepare import Prepared, histories_of, now_text
from fluxbatch.report import REPORT, to_markdown
from fluxbatch.steered import Live
from fluxbatch.summary import Summary, summaries_of, summarise

Asked = tuple[ImageRequest, History]


@dataclass(slots=True)
class Shard:
    """A contiguous slice of the manifest: the unit that is watched, and sealed into a part."""

    number: int
    first_row: int
    last_row: int
    due: list[Due] = field(default_factory=list)
    waiting: list[Spooled] = field(default_factory=list)
    """Pictures of this slice that are booked and in the spool: from an earlier run, or made in this one."""
    line: Line = field(default_factory=lambda: Ahead().line(()))
    """The rows that have not started."""


@dataclass(slots=True)
class Batch:
    """`tally` is live; `summary` stands when the batch is closed."""

    prepared: Prepared
    journal: Journal
    engine: Engine
    failures: FailureWriter
    started_s: float
    live: Live
    summary: Summary | None = None
    is_cut_off: bool = False
    """The lease is lost, or nobody can say whether it is."""
    _unsealed: dict[str, Spooled] = field(default_factory=dict)
    _reached: Money = ZERO
    """What the due pictures that have ended should have cost: the rest is what is left to pay."""
    _open: int = 0
    """Pictures that were given to a shard and have not ended."""
    _settled: asyncio.Event = field(default_factory=asyncio.Event)
    _sealing: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def stop(self) -> Stop:
        return self.engine.stop

    @property
    def tally(self) -> Tally:
        return self.engine.tally

    async def shards(self) -> AsyncIterator[Shard]:
        """The slices that have something to send or to seal, in order."""
        self._unsealed = dict(self.prepared.recovery.unsealed)
        plan = self.prepared.plan
        if not plan.due and not plan.ended and not plan.too_dear and not self._unsealed:
            return  # all is made: the manifest need not be read again to find nothing
        rounds = None if plan.order is None else plan.order.rounds()
        is_first, is_more = True, rounds is not None and rounds.begin(self._free_nano_usd) is not None
        while is_first or is_more:
            slices = enumerate(self._slices(rounds, is_first))
            while (found := await self.engine.behind(next, slices, None)) is not None:
                shard = self._shard(*found)
                if shard.due or shard.waiting:
                    shard.line = self.engine.ahead.line(one.request.model.id for one in shard.due)
                    yield shard
            is_first, is_more = False, rounds is not None and await self._has_room(rounds)

    async def _has_room(self, rounds: Rounds) -> bool:
        """Begin another round with what this one has left, when all of it has ended. Ends the run when nothing fits."""
        while self._open:
            self._settled.clear()
            await self._settled.wait()
        if not self.stop.is_set and rounds.begin(self._free_nano_usd) is not None:
            return True
        if rounds.left or self.engine.passed_over:
            self.stop.request(StoppedBy.BUDGET, self._used_up())
        return False

    @property
    def _free_nano_usd(self) -> int:
        """What a round may take: what the dataset has left, less what another budget had less than it at the start."""
        plan = self.prepared.plan
        return self.tally.balance.free_nano_usd - (plan.balance.free_nano_usd - plan.room_nano_usd)

    def _used_up(self) -> str:
        binds = self.prepared.plan.binds
        if binds is None or binds.cap_nano_usd is None:
            return USED_UP
        gone = Money(binds.cap_nano_usd - self._free_nano_usd)
        return Denied(Balance(binds.cap_nano_usd, gone, ZERO, ZERO), binds.window).reason

    async def work(self, shard: Shard) -> None:
        """Send what the shard still lacks, then seal what it has."""

        def ended(one: Ended) -> None:
            self._ended(shard, one)

        await self.engine.send_all(shard.due, ended, shard.line)
        await self._seal(shard.waiting)

    async def close(self) -> Summary:
        """Seal what no shard has taken, write down the failures, and sum up."""
        self.engine.lanes.close()
        await self._seal(list(self._unsealed.values()))
        if self.stop.error is None:
            self._disk(self.failures.close)
        if await self._is_ours():
            report = to_markdown(self._summary(), self.prepared.job.manifest.name).encode()
            self._disk(lambda: put_atomic(self.prepared.dataset.folder / REPORT, report))
            await self._refresh_card()
        await self._write_down(self._summary())
        self.summary = self._summary()  # only now: what went wrong on the way here is told as well
        return self.summary

    async def _refresh_card(self) -> None:
        try:
            await self.engine.behind(refresh_card, self.prepared.dataset)
        except StorageError as error:
            self.stop.request(StoppedBy.PLATFORM, str(error), error)

    async def _is_ours(self) -> bool:
        """Whether the dataset is still this run's to write into: not when another has taken it over."""
        try:
            await self.journal.do(self.prepared.hold.checked)
        except LeaseLost as error:
            self.stop.request(StoppedBy.PLATFORM, str(error), error)
            return False
        except LedgerError:  # a ledger that has failed says nothing about who has the dataset
            pass
        return True

    def _slices(self, rounds: Rounds | None, is_first: bool) -> Iterator[list[Asked | Rejected]]:
        prepared = self.prepared
        chunk: list[Asked | Rejected] = []
        picked = Picked(prepared.manifest.rows(), prepared.plan.selection)
        for row in with_histories(picked, histories_of(prepared.store, prepared.dataset.id)):
            if rounds is None or self._is_in(row, rounds, is_first):
                chunk.append(row)
            if len(chunk) >= prepared.job.settings.rows_per_shard:
                yield chunk
                chunk = []
        if chunk:
            yield chunk

    def _is_in(self, row: Asked | Rejected, rounds: Rounds, is_first: bool) -> bool:
        """What is not due is seen to by the first round; of what is due each round has its own."""
        if isinstance(row, Rejected):
            return is_first
        is_due = self._is_due(*row)
        return rounds.takes(row[0], is_due) or (is_first and not is_due)

    def _is_due(self, request: ImageRequest, history: History) -> bool:
        return is_due(history, self.engine.policy) and not self.prepared.plan.selection.is_too_dear(request)

    def _shard(self, number: int, rows: Sequence[Asked | Rejected]) -> Shard:
        asked = [row for row in rows if not isinstance(row, Rejected)]
        if not asked:
            return Shard(number, 0, 0)
        shard = Shard(number, asked[0][0].row, asked[-1][0].row)
        for request, history in asked:
            if (spooled := self._unsealed.pop(request.key, None)) is not None:
                shard.waiting.append(spooled)
            if self._is_due(request, history):
                shard.due.append(Due(request, history))
            elif is_due(history, self.engine.policy):
                self._note_too_dear(request, history)
            elif not history.made:
                past = (history.attempts, history.code, history.message, history.unknown)
                self._note_failure(request, history.end, *past)
        self._open += len(shard.due)
        return shard

    def _ended(self, shard: Shard, one: Ended) -> None:
        self._open -= 1
        if not self._open:
            self._settled.set()
        if one.end is None:
            return
        self._reached += one.request.quote.expected
        if one.kept is not None:
            shard.waiting.append(one.kept)
        else:
            self.tally.ended[one.end] += 1
            self._note_failure(one.request, one.end, one.attempts, one.code, one.message, one.unknown)

    def _note_failure(
        self,
        request: ImageRequest,
        end: End | None,
        attempts: int,
        code: str | None,
        message: str | None,
        unknown: Money,
    ) -> None:
        assert end is not None, "a row that is neither made nor due has ended"
        self._disk(lambda: self.failures.add(request, end.value, code, message, attempts, unknown))

    def _note_too_dear(self, request: ImageRequest, history: History) -> None:
        message = f"it may cost ${exact(request.quote.bound.usd)}, more than was allowed for a picture"
        self._disk(lambda: self.failures.add(request, TOO_DEAR, None, message, history.attempts, history.unknown))

    def _disk(self, write: Callable[[], object]) -> None:
        try:
            write()
        except StorageError as error:
            self.stop.request(StoppedBy.PLATFORM, str(error), error)

    async def _seal(self, entries: list[Spooled]) -> None:
        if not entries or self.stop.error is not None:
            return
        async with self._sealing:
            try:
                for part in await self.engine.behind(self._write_parts, entries):
                    await self._mark(part)
            except (StorageError, LedgerError) as error:
                self.stop.request(StoppedBy.PLATFORM, str(error), error)

    def _write_parts(self, entries: list[Spooled]) -> list[Part]:
        prepared = self.prepared

        def still_ours(step: str) -> None:
            if step == "part":  # it is on the disk, and about to be listed
                prepared.hold.check()

        prepared.hold.check()  # who woke up after a take-over writes nothing into what is another's now
        return seal(
            prepared.dataset, prepared.spool, entries, run_id=prepared.run, sealed_at=now_text(), after=still_ours
        )

    async def _mark(self, part: Part) -> None:
        dataset = self.prepared.dataset.id
        await self.journal.do(lambda tx: ledger.mark_part_booked(tx, dataset, part.sha256))

    def _summary(self) -> Summary:
        prepared = self.prepared
        return summarise(
            self.tally,
            self.stop,
            expected=prepared.plan.expected,
            left_expected=prepared.plan.expected - self._reached,
            spare=prepared.plan.spare,
            rejected=prepared.plan.rejected_rows,
            not_selected=prepared.plan.not_selected,
            seconds=time.monotonic() - self.started_s,
            dataset=prepared.dataset.folder,
            spent_before=prepared.recovery.balance.spent,
            models=summaries_of(self.engine.lanes),
            rate_per_minute=prepared.job.settings.rate or None,
        )

    async def _write_down(self, summary: Summary) -> None:
        job, run, ended_us = self.prepared.job, self.prepared.run, self.prepared.job.now_us()
        learned = [(model.id, lane.learned()) for model, lane in self.engine.lanes if lane.made]
        try:
            await self.journal.do(lambda tx: side.close_run(tx, run, summary.stopped_by, summary.to_json(), ended_us))
            for model, what in learned:
                await self.journal.do(partial(side.remember, account=job.account, model=model, what=what))
        except LedgerError as error:
            self.stop.request(StoppedBy.PLATFORM, str(error), error)
