"""A batch in chunks: how a manifest is cut, and how what its chunks have made becomes one dataset again.

    prepared(job)        the dataset is held, the manifest sound, the plan made: nobody has paid anything yet
      begun(ready, 4)    contiguous slices with as many due pictures each
        made(job, chunk) each by a run of its own, in any process that reaches ledger and dataset
      joined(ready, …)   their parts are moved into the dataset and listed, their failures and figures put together

Money, pace and what is learned are in the ledger, which all of them share; each has rooms of its own in the dataset.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fluxbatch.budget import ledger
from fluxbatch.budget import store as side
from fluxbatch.budget.entries import Balance, End
from fluxbatch.budget.lease import Transaction, clock_us, leases_of
from fluxbatch.budget.plan import Plan, make_plan, with_histories
from fluxbatch.budget.selection import Picked
from fluxbatch.dataset.chunks import chunks_of
from fluxbatch.dataset.failures import FAILURES, join_failures
from fluxbatch.dataset.made import refresh_card
from fluxbatch.dataset.place import put_atomic
from fluxbatch.dataset.shards import seal
from fluxbatch.dispatch.stop import Stop, StoppedBy
from fluxbatch.dispatch.tally import Tally
from fluxbatch.errors import UsageError
from fluxbatch.job import Chunk, Job
from fluxbatch.manifest.reader import Rejected
from fluxbatch.prepare import Prepared, budgets_of, due_rule, histories_of, now_text, prepared, recovered
from fluxbatch.report import REPORT, to_markdown
from fluxbatch.run import drive, open_batch
from fluxbatch.summary import ModelSummary, Summary, summarise

CHUNKS_MAX = 1_000
_WORST_FIRST = (StoppedBy.ACCOUNT, StoppedBy.PLATFORM, StoppedBy.SIGNAL, StoppedBy.BUDGET)


def check(job: Job, count: int) -> None:
    """UsageError when a job cannot be made in so many chunks."""
    if not 1 <= count <= CHUNKS_MAX:
        raise UsageError(f"chunks: {count} is not from 1 to {CHUNKS_MAX:,}")
    s = job.settings
    given = [name for name in ("limit", "sample", "preview") if getattr(s, name) is not None]
    given += [] if s.on_budget == "stop" else [f"on_budget {s.on_budget}"]
    if given:
        raise UsageError(
            f"chunks and {', '.join(given)} exclude each other: a chunk sees its own rows only; run it without chunks, "
            "or write what you want of it to a manifest of its own"
        )


def begun(ready: Prepared, count: int) -> list[Chunk]:
    """Note that the batch has begun; its chunks."""
    with ready.store.transaction() as tx:
        side.open_run(tx, ready.run, ready.dataset.id, str(ready.job.manifest), ready.job.now_us())
    return cut(ready, count)


def cut(ready: Prepared, count: int) -> list[Chunk]:
    """Contiguous slices that hold the whole manifest, each with as many due pictures as the others; fewer where fewer
    pictures are due, and none where none is."""
    total = ready.plan.due
    if not total:
        return []
    count = min(count, total)
    starts: list[int] = []
    due, last = 0, 1
    for row, is_due in _rows(ready):
        if is_due and due * count >= len(starts) * total and (not starts or row > starts[-1]):
            starts.append(row)  # never within a row: its samples are one chunk's
        due, last = due + is_due, row
    starts[:1] = [1]
    ends = [*(start - 1 for start in starts[1:]), last]
    return [_chunk(ready.run, number, *span) for number, span in enumerate(zip(starts, ends, strict=True), start=1)]


def _rows(ready: Prepared) -> Iterator[tuple[int, bool]]:
    """Each row of the manifest that can be sent, and whether it is due."""
    selection, due = ready.plan.selection, due_rule(ready.job)
    for one in with_histories(Picked(ready.manifest.rows(), selection), histories_of(ready.store, ready.dataset.id)):
        if not isinstance(one, Rejected):
            request, history = one
            yield request.row, due(history) and not selection.is_too_dear(request)


def _chunk(batch: str, number: int, first: int, last: int) -> Chunk:
    return again(Chunk(f"{number:04d}", first, last, batch, ""), 1)


def again(chunk: Chunk, number: int) -> Chunk:
    """The chunk as it is begun for the `number`th time, as a run of its own."""
    return replace(chunk, run=f"{chunk.batch}-{chunk.name}-{number}")


def made(job: Job, chunk: Chunk) -> Summary:
    """The run of one chunk in this process, from its start to its close: what a task of any other orchestrator does."""

    async def run() -> Summary:
        with prepared(replace(job, chunk=chunk)) as ready:
            async with open_batch(ready) as batch:
                await drive(batch, batch.work)
        assert batch.summary is not None
        return batch.summary

    return asyncio.run(run())


@dataclass(frozen=True, slots=True)
class Sign:
    """What the ledger knows of a chunk's run."""

    summary: Mapping[str, Any] | None
    """How it ended; None while it has not, or when it died."""
    has_begun: bool
    is_silent: bool
    """It holds the dataset by its lease and was not heard of for longer than that lasts."""


def sign_of(ready: Prepared, chunk: Chunk) -> Sign:
    """Ask the ledger, which is where a chunk's run tells of itself wherever it works."""

    def look(tx: Transaction) -> Sign:
        found = side.run_of(tx, chunk.run)
        lease = next((one for one in leases_of(tx, ready.dataset.id) if one.run == chunk.run), None)
        silent = lease is not None and lease.expires_at_us < clock_us(tx)
        return Sign(None if found is None else found.summary, found is not None or lease is not None, silent)

    return ready.store.read(look)


def pictures_of(ready: Prepared, chunk: Chunk | None = None) -> int:
    """How many pictures the ledger has booked for the dataset, or for one run of a chunk."""
    run = None if chunk is None else chunk.run
    return ready.store.read(lambda tx: ledger.pictures(tx, ready.dataset.id, run))


def balance_of(ready: Prepared) -> Balance:
    """The dataset's money now, over all its chunks."""
    found = ready.store.read(lambda tx: ledger.balance(tx, ready.dataset.id))
    assert found is not None
    return found


@dataclass(slots=True)
class Ends:
    """How the chunks have ended, as far as they have: a summary each, or why there is none."""

    summaries: list[Mapping[str, Any]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    began_s: float = field(default_factory=time.monotonic)

    def stop(self, own: Stop) -> Stop:
        """What has ended the batch: who stopped it, or the worst that a chunk says."""
        told = [(StoppedBy.PLATFORM, reason) for reason in self.lost]
        told += [(StoppedBy(one["stopped_by"]), one["reason"]) for one in self.summaries if one["stopped_by"]]
        by = next((who for who in _WORST_FIRST if any(who is said for said, _ in told)), None)
        stop = Stop()
        if own.is_set and own.by is not None:
            stop.request(own.by, own.reason or "")
        elif by is not None:
            stop.request(by, "; ".join(dict.fromkeys(reason for said, reason in told if said is by)))
        return stop


def joined(ready: Prepared, ends: Ends, own: Stop) -> Summary:
    """Take in what the chunks have made, write down what they could not make, and sum up. While one of them is still
    at work, all of it is left where it is, for the next start."""
    stop = ends.stop(own)
    job, dataset = ready.job, ready.dataset
    alive = [one.run for one in ready.store.read(lambda tx: leases_of(tx, dataset.id)) if one.run != ready.run]
    if alive:
        stop.request(StoppedBy.PLATFORM, f"still at work: {', '.join(alive)}; run it again when they are done")
    else:
        sources = [chunk.folder / FAILURES for chunk in chunks_of(dataset)]
        join_failures(dataset.folder / FAILURES, sources)
        _take_in(ready)
    plan = _plan_again(ready)
    summary = _summed_up(ready, plan, ends, stop)
    put_atomic(dataset.folder / REPORT, to_markdown(summary, job.manifest.name).encode())
    refresh_card(dataset)
    with ready.store.transaction() as tx:
        side.close_run(tx, ready.run, summary.stopped_by, summary.to_json(), job.now_us())
    return summary


def _take_in(ready: Prepared) -> None:
    """The ordinary start once more: it moves the parts in, and what the dead have left. That is sealed."""
    ready.hold.check()
    recovery = recovered(ready.job, ready.store, ready.dataset, ready.spool, ready.hold)
    entries = list(recovery.unsealed.values())
    if not entries:
        return
    for part in seal(ready.dataset, ready.spool, entries, run_id=ready.run, sealed_at=now_text()):
        with ready.store.transaction() as tx:
            ledger.mark_part_booked(tx, ready.dataset.id, part.sha256)


def _plan_again(ready: Prepared) -> Plan:
    """The manifest against the ledger as it stands now."""
    job, dataset = ready.job, ready.dataset
    given = (histories_of(ready.store, dataset.id), due_rule(job), ready.plan.selection)
    standings = budgets_of(job, ready.store, ready.run)
    return make_plan(ready.manifest.rows(), ready.manifest.complaints, balance_of(ready), *given, standings)


def _summed_up(ready: Prepared, plan: Plan, ends: Ends, stop: Stop) -> Summary:
    ended = plan.ended.copy()
    # What has failed without being billed is due again, and has failed all the same.
    ended[End.FAILED] = max(ended[End.FAILED], _sum(ends, "failed"))
    before = ready.plan.already
    tally = Tally(plan.balance, plan.asked, before, plan.already - before, ended, too_dear=plan.too_dear)
    tally.requests, tally.refusals = _sum(ends, "requests"), _sum(ends, "refusals")
    tally.peak_in_flight = _sum(ends, "peak_in_flight")
    tally.codes = sum((Counter(one["codes"]) for one in ends.summaries), Counter())
    return summarise(
        tally,
        stop,
        expected=ready.plan.expected,
        left_expected=plan.expected,
        spare=plan.spare,
        rejected=plan.rejected_rows,
        seconds=time.monotonic() - ends.began_s,
        dataset=ready.dataset.folder,
        spent_before=ready.recovery.balance.spent,
        models=tuple(_models(one["models"] for one in ends.summaries)),
        rate_per_minute=ready.job.settings.rate or None,
    )


def _sum(ends: Ends, name: str) -> int:
    return sum(int(one[name]) for one in ends.summaries)


def _models(told: Iterable[Sequence[Mapping[str, Any]]]) -> Iterator[ModelSummary]:
    """Each model once, over all chunks. A latency is that of its pictures, wherever they were made."""
    each: dict[str, list[ModelSummary]] = {}
    for models in told:
        for model in models:
            each.setdefault(model["name"], []).append(ModelSummary(**model))
    for name, of in each.items():
        counts = {what: sum(getattr(one, what) for one in of) for what in _COUNTS}
        timed = [(one.latency_s, one.made) for one in of if one.latency_s is not None and one.made]
        made = sum(count for _, count in timed)
        latency_s = sum(latency_s * count for latency_s, count in timed) / made if made else None
        yield ModelSummary(
            name, **counts, latency_s=latency_s, given_up=next((o.given_up for o in of if o.given_up), None)
        )


_COUNTS = ("made", "requests", "refusals", "peak_in_flight", "limit", "not_reached")
